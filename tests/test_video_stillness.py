"""Stills that pretend to be videos: noticed, and refused where learning needs motion."""

import numpy as np
import pytest

from depthscope.corpus import CorpusOptions, read_corpus
from depthscope.errors import BadInputError, NoAnswerError
from depthscope.video import open_frames, survey
from depthscope.video.stillness import shows_one_picture
from moving_pictures import disc, encode, pan


def still(count: int = 30, noise: float = 3.0, flicker: float = 0.0) -> list[np.ndarray]:
    """One picture with noise, and with a lamp that is not steady."""
    rng, picture = np.random.default_rng(0), pan(1)[0].astype(float)
    return [
        (picture * (1 + flicker * np.sin(n)) + rng.normal(0, noise, picture.shape)).clip(0, 255).astype(np.uint8)
        for n in range(count)
    ]


@pytest.mark.parametrize(("noise", "flicker"), [(0.0, 0.0), (3.0, 0.0), (6.0, 0.05)])
def test_one_picture_with_noise_is_a_still(noise, flicker):
    assert shows_one_picture(still(12, noise, flicker))


@pytest.mark.parametrize("step", [0.5, 2.0])
def test_what_moves_is_none(step):
    assert not shows_one_picture(pan(12, step=step))
    assert not shows_one_picture(pan(12, step=step, inside=disc()), disc())


def test_a_part_that_moves_is_enough_and_one_frame_says_nothing():
    frames = [frame.copy() for frame in still(10)]
    for number, frame in enumerate(frames):
        frame[100:120, 20 * number : 20 * number + 20] = 200
    assert not shows_one_picture(frames)
    assert not shows_one_picture(frames[:1])
    assert not shows_one_picture(frames, np.zeros((240, 320), bool))


@pytest.mark.parametrize("kind", ["video", "folder"])
def test_no_corpus_is_made_of_a_still(tmp_path, kind):
    from depthscope.video import write_image
    from moving_pictures import tensors

    if kind == "video":
        path = encode(tmp_path / "still.mp4", still(50))
    else:
        path = tmp_path / "still"
        path.mkdir()
        for number, image in enumerate(tensors(still(12))):
            write_image(path / f"{number:03d}.png", image)
    with pytest.raises(BadInputError, match="still.*shows one picture in all of its 1?[0-9]+ frames.*leave it out"):
        read_corpus([path], CorpusOptions(every_s=0.2), tmp_path / "store")
    moving = encode(tmp_path / "moving.mp4", pan(30))
    assert len(read_corpus([moving], CorpusOptions(every_s=0.2), tmp_path / "store").names) > 3


def test_structure_from_motion_says_why_a_still_is_none(tmp_path):
    with pytest.raises(NoAnswerError, match="nothing moves"):
        survey(encode(tmp_path / "still.mp4", still(50)))
    assert open_frames(tmp_path / "still.mp4").count == 50
