"""Unlabelled video as bytes: windows and the way back, spacing, what is kept from training."""

from pathlib import Path

import numpy as np
import pytest
import torch

from depthscope.corpus import CorpusOptions, Window, corpus_of, read_corpus
from depthscope.corpus.corpus import held_out
from depthscope.errors import BadInputError
from depthscope.video import write_image, write_video


def frames_of(count: int, height: int = 48, width: int = 64, seed: int = 0) -> torch.Tensor:
    coarse = torch.rand(count, 3, 6, 8, generator=torch.Generator().manual_seed(seed))
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")
    return (smooth.permute(0, 2, 3, 1) * 200 + 40).byte()


def folder_of(place: Path, count: int, seed: int = 0) -> Path:
    place.mkdir(parents=True)
    for number, frame in enumerate(frames_of(count, seed=seed)):
        write_image(place / f"{number:04d}.png", frame)
    return place


SMALL = CorpusOptions(size_px=(32, 32), divisor=32)


def test_a_folder_becomes_bytes_once(tmp_path: Path) -> None:
    source, told = folder_of(tmp_path / "clip", 6), []
    corpus = read_corpus([source], SMALL, tmp_path / "store", told.append)
    again = read_corpus([source], SMALL, tmp_path / "store", told.append)
    assert corpus.frames.shape == (6, 32, 32, 3) and corpus.size_px == (32, 32)
    assert corpus.names == tuple(f"{n:04d}" for n in range(6)) and corpus.time_s.tolist() == [0, 1, 2, 3, 4, 5]
    assert len(told) == 6 and torch.equal(corpus.frames, again.frames)
    write_image(source / "0003.png", frames_of(1, seed=9)[0])
    assert not torch.equal(read_corpus([source], SMALL, tmp_path / "store").frames[3], corpus.frames[3])
    assert not list((tmp_path / "store").glob(".*"))


def test_frames_are_thinned_to_the_spacing(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", iter(frames_of(50)), fps=25)
    corpus = read_corpus([tmp_path / "a.mp4"], CorpusOptions(size_px=(32, 32), every_s=0.4), tmp_path / "store")
    assert corpus.time_s.tolist() == pytest.approx([0.0, 0.4, 0.8, 1.2, 1.6], abs=0.021)
    most = CorpusOptions(size_px=(32, 32), every_s=0.0, most=10)
    assert len(read_corpus([tmp_path / "a.mp4"], most, tmp_path / "store")) == 10


def test_videos_of_other_shapes_share_one_size(tmp_path: Path) -> None:
    wide = folder_of(tmp_path / "wide", 3)
    tall = tmp_path / "tall"
    tall.mkdir()
    for number, frame in enumerate(frames_of(3, 80, 40)):
        write_image(tall / f"{number}.png", frame)
    corpus = read_corpus([wide, tall], CorpusOptions(size_px=(64, 64)), tmp_path / "store")
    assert corpus.frames.shape == (6, 64, 64, 3) and corpus.video.tolist() == [0, 0, 0, 1, 1, 1]
    beyond = ~corpus.content[1]
    assert beyond.any() and int(corpus.frames[4][beyond].max()) <= 60  # black beside a tall frame, but for the seam


def test_pixels_go_to_the_video_and_back() -> None:
    window = Window(-3, 5, (90, 60), (80, 70), (60, 40))
    pixels = torch.rand(20, 2) * 40
    assert torch.allclose(window.from_source(window.in_source(pixels)), pixels, atol=1e-4)
    assert window.in_source(torch.zeros(1, 2)).tolist() == [[-3, 5]]
    marked = np.zeros((70, 80, 3), np.uint8)
    marked[29:32, 39:42] = 255  # around (40.5, 30.5)
    cut = torch.from_numpy(window.cut(marked)).float().sum(-1)
    rows, columns = torch.meshgrid(torch.arange(40) + 0.5, torch.arange(60) + 0.5, indexing="ij")
    centre = torch.stack([(columns * cut).sum(), (rows * cut).sum()]) / cut.sum()
    assert torch.allclose(window.in_source(centre), torch.tensor([40.5, 30.5]), atol=0.3)


def test_a_map_lies_where_its_window_is() -> None:
    window = Window(-10, 0, (100, 60), (80, 60), (50, 30))
    ramp = torch.arange(50).float().expand(1, 30, 50)
    spread = window.map_in_source(ramp, fill=-1.0)
    assert spread.shape == (1, 60, 80)
    expected = window.from_source(torch.stack([torch.arange(80) + 0.5, torch.full((80,), 30.0)], -1))[:, 0] - 0.5
    assert torch.allclose(spread[0, 30], expected, atol=1e-3)


def test_what_is_kept_from_training_is_not_beside_it() -> None:
    one = held_out(torch.zeros(40, dtype=torch.int64), torch.arange(40).double(), 0.1)
    assert one[0].nonzero().flatten().tolist() == [36, 37, 38, 39]
    assert one[1].nonzero().flatten().tolist() == [32, 33, 34, 35]
    kept, apart = held_out(torch.arange(40) // 10, torch.zeros(40, dtype=torch.float64), 0.1)
    assert int(kept.sum()) == 10 and not apart.any() and len(set((torch.arange(40) // 10)[kept].tolist())) == 1


def test_images_and_masks_of_a_corpus() -> None:
    content = torch.zeros(2, 48, 64, dtype=torch.bool)
    content[0, :, :10], content[1, 5:] = True, True
    corpus = corpus_of(frames_of(6), video=torch.tensor([0, 0, 0, 1, 1, 1]), content=content)
    assert torch.equal(corpus.masks([0, 5]), content)
    assert torch.allclose(corpus.images([2])[0].permute(1, 2, 0) * 255, corpus.frames[2].float(), atol=1e-3)
    assert corpus.of_video(1).tolist() == [3, 4, 5]


def test_bad_input_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="is missing"):
        read_corpus([tmp_path / "none.mp4"], SMALL, tmp_path)
    with pytest.raises(BadInputError, match="no inputs"):
        read_corpus([], SMALL, tmp_path)
    with pytest.raises(BadInputError, match="multiples of 32"):
        CorpusOptions(size_px=(33, 32))
    with pytest.raises(BadInputError, match="shows no tissue"):
        corpus_of(frames_of(2), content=torch.zeros(1, 48, 64, dtype=torch.bool))
