"""What hides the tissue in single frames is not learned from, though the network sees it."""

import json
from dataclasses import replace

import pytest
import torch

from depthscope.cli import main
from depthscope.formats import depth_maps, ply
from depthscope.networks import DepthPrediction
from depthscope.objectives import Siamese
from depthscope.objectives.photometric import ViewSynthesis
from depthscope.recipes import MONODEPTH2_M, to_yaml
from depthscope.runs import prepared, prepared_snippets
from depthscope.supervision import Holdout
from depthscope.training import Augmentation, PairDraws, SnippetAugmentation, SnippetDraws
from depthscope.training.augmentation import mirrored
from depthscope.training.snippet_augmentation import mirrored_snippets, zoomed
from depthscope.unposed_clip import UnposedClip
from depthscope.video import read_image
from depthscope.video.class_masks import Classes, MaskClass, read_mask_folder, write_classes, write_mask
from scenes import motion, stacked
from stereo import shrunk, wall_clip
from textured import predicted
from tiny_runs import TINY, TUBE, tiny, tube_clip

CLASSES = Classes((MaskClass(0, "tissue", tissue=True), MaskClass(1, "instrument")))
HIDDEN = 2
"""The frame that the instrument is in: it covers the left half."""


def masks_of(clip, folder):
    """A folder of masks in which one frame is half hidden."""
    width, height = clip.size_px
    folder.mkdir(parents=True)
    for number, name in enumerate(clip.frame_names):
        ids = torch.zeros(height, width, dtype=torch.uint8)
        if number == HIDDEN:
            ids[:, : width // 2] = 1
        write_mask(folder / f"{name}.png", ids)
    write_classes(CLASSES, folder)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A sequence folder, its sequence, and a folder of masks."""
    place = tmp_path_factory.mktemp("masked")
    sequence = tube_clip(place / "tube", replace(TUBE, frames=8))
    return place / "tube", sequence, masks_of(sequence, place / "masks")


@pytest.fixture(scope="module")
def clips(data, tmp_path_factory):
    """The clip without and with its masks."""
    _, sequence, masks = data
    store = tmp_path_factory.mktemp("store")
    (plain,), _ = prepared([sequence], TINY, store)
    (masked,), _ = prepared([replace(sequence, foreign=read_mask_folder(masks))], TINY, store)
    return plain, masked


def test_points_on_an_instrument_are_left_out_of_that_frame_alone(clips):
    plain, masked = clips
    assert plain.store.tissue is None and masked.store.tissue is not None
    hidden = masked.store.mask & ~masked.store.tissue[HIDDEN]
    columns = hidden.any(0).nonzero().flatten()
    assert columns.min() == masked.store.mask.any(0).nonzero().min() and len(columns) < hidden.shape[1] * 0.6
    for frame in range(len(plain)):
        counts = [int((one.points.weight[frame] > 0).sum()) for one in clips]
        if frame == HIDDEN:
            pixels = masked.points.pixels[frame][masked.points.weight[frame] > 0].floor().long()
            assert 0 < counts[1] < counts[0]
            assert not bool(hidden[pixels[:, 1], pixels[:, 0]].any())
        else:
            assert counts[0] == counts[1]
            assert torch.equal(masked.store.tissue[frame], plain.store.mask)
    assert masked.dropped > plain.dropped


@pytest.mark.parametrize("flip", [False, True])
def test_depth_behind_an_instrument_has_no_gradient_but_is_seen(clips, flip):
    _, masked = clips
    draws = PairDraws((masked,))
    numbers = [n for n in range(len(draws)) if HIDDEN in draws.pair(n)[1:]][:2]
    assert len(numbers) == 2
    batch = draws.batch(numbers)
    seen = Augmentation()(batch, 0).images
    assert bool((seen[~batch.mask[:, :, None].expand_as(seen)] > 0).any())  # the tool itself
    if flip:
        batch = mirrored(batch, torch.ones(2, dtype=torch.bool))
    frames, height, width = 2 * len(batch), *batch.mask.shape[-2:]
    log_depth = torch.randn(frames, height, width, generator=torch.Generator().manual_seed(0)) * 0.1
    log_depth.requires_grad_()
    Siamese(consistency_weight=1.0)(DepthPrediction(log_depth), batch)["loss"].backward()
    gradient, mask = log_depth.grad, batch.mask.transpose(0, 1).flatten(0, 1)
    away = torch.nn.functional.max_pool2d(mask[:, None].float(), 3, 1, 1)[:, 0] == 0  # samples reach one pixel over
    inside = away & batch.content.transpose(0, 1).flatten(0, 1)
    assert bool(inside[:, :, : width // 3].any()) != flip and bool(inside[:, :, -width // 3 :].any()) == flip
    assert gradient is not None and float(gradient[away].abs().max()) == 0
    assert float(gradient[mask].abs().max()) > 0


def test_view_synthesis_does_not_look_at_an_instrument(tmp_path):
    wall = wall_clip(tmp_path / "wall")
    recipe = shrunk(MONODEPTH2_M)
    recipe = replace(recipe, supervision=replace(recipe.supervision, holdout=Holdout(points=0.0)))
    masked = replace(wall, foreign=read_mask_folder(masks_of(wall, tmp_path / "masks")))
    (clip,), _ = prepared_snippets([masked], recipe, tmp_path / "store")
    assert not clip.whole
    batch = SnippetDraws((clip,)).batch(range(len(clip.snippets)))
    rows = (clip.snippets == HIDDEN).any(1)
    assert bool(rows.any()) and batch.mask is not None and batch.content is not None
    order = [SnippetDraws((clip,)).snippet(n)[1] for n in range(len(clip.snippets))]
    at = [(n, int((frames == HIDDEN).nonzero()[0])) for n, frames in enumerate(order) if HIDDEN in frames.tolist()]
    for n, frame in at:
        assert 0.3 < float((~batch.mask[n, frame] & batch.content[n, frame]).float().mean()) < 0.6
    used, seen = SnippetAugmentation()(batch, 0)
    assert all(float(seen[n, frame][:, ~batch.mask[n, frame]].max()) > 0 for n, frame in at)

    height, width = batch.images.shape[-2:]
    disparity = torch.full((len(batch), height, width), 0.5, requires_grad=True)
    still = stacked(*[motion((0, 0, 0), (0.02, 0, 0)), motion((0, 0, 0), (-0.02, 0, 0))]).unsqueeze(0)
    moved = type(still)(
        still.rotation.expand(len(batch), -1, -1, -1).float(), still.translation.expand(len(batch), -1, -1).float()
    )
    prediction = predicted(1 / disparity, moved)
    ViewSynthesis()(prediction, used)["view"].backward()
    (target,) = [n for n, frame in at if frame == 0]
    assert disparity.grad is not None
    hidden = ~batch.mask[target, 0]
    assert float(disparity.grad[target][hidden].abs().max()) == 0
    assert float(disparity.grad[target][~hidden].abs().max()) > 0

    turned = mirrored_snippets(used, torch.ones(len(batch), dtype=torch.bool))
    assert torch.equal(turned.content, used.content.flip(-1)) and torch.equal(turned.mask, used.mask.flip(-1))
    large = zoomed(used, torch.full((len(batch), 2), 1.5), torch.zeros(len(batch), 2))
    assert bool((large.mask <= large.content).all()) and not torch.equal(large.mask, used.mask)


def test_train_takes_masks_and_says_what_is_wrong_with_them(data, tmp_path, capsys):
    folder, sequence, masks = data
    config = tmp_path / "recipe.yaml"
    config.write_text(to_yaml(TINY))
    call = ["train", str(folder), "--config", str(config), "--steps", "2"]
    assert main([*call, "--out", str(tmp_path / "run"), "--masks", str(masks)]) == 0
    assert str(masks) in (tmp_path / "run" / "provenance.yaml").read_text("utf-8")
    assert json.loads((tmp_path / "run" / "result.json").read_text("utf-8"))["steps"] == 2
    capsys.readouterr()
    assert main([*call, "--out", str(tmp_path / "run"), "--resume"]) == 2  # the masks are part of the data
    assert "masks" in capsys.readouterr().err
    assert main([*call, "--out", str(tmp_path / "two"), "--masks", str(masks), str(masks)]) == 2
    assert "2 folders of masks for 1 inputs" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main([*call, "--out", str(tmp_path / "none"), "--masks", str(tmp_path / "empty")]) == 2
    assert "holds no masks" in capsys.readouterr().err
    masks = masks_of(sequence, tmp_path / "fewer")
    (masks / f"{sequence.frame_names[3]}.png").unlink()
    assert main([*call, "--out", str(tmp_path / "none"), "--masks", str(masks)]) == 2
    assert f"no mask for the frame {sequence.frame_names[3]}" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_a_sequence_and_its_footage_hide_the_same(data):
    _, sequence, masks = data
    masked = replace(sequence, foreign=read_mask_folder(masks))
    assert UnposedClip.of(masked).foreign is masked.foreign
    kept = torch.ones(len(sequence), dtype=torch.bool)
    kept[0] = False
    assert masked.with_frames(kept).foreign is masked.foreign
    assert (
        read_image(sequence.images[0]).shape[:2]
        == masked.foreign.not_tissue(sequence.frame_names[0], sequence.size_px).shape
    )


def test_a_tool_in_the_depth_maps_stays_out_of_the_surface(data, tmp_path):
    folder, sequence, masks = data
    prediction = tmp_path / "prediction"
    (prediction / "depth").mkdir(parents=True)
    for number, path in enumerate(depth_maps.listed(folder / "depth").values()):
        depth = depth_maps.read(path)
        if number == HIDDEN:
            depth[:, : depth.shape[1] // 2] *= 0.5
        depth_maps.write(prediction / "depth" / path.name, depth)
    call = ["fuse", str(prediction), str(folder), "--least-share", "0.0005"]
    assert main([*call, "--out", str(tmp_path / "with")]) == 0
    assert main([*call, "--out", str(tmp_path / "without"), "--masks", str(masks)]) == 0
    true = sequence.camera_from_world[HIDDEN]

    def near(out) -> int:
        """Vertices half as far as the tissue can be, before the hidden half of that frame."""
        points = true.apply(ply.read(out / "surface.ply").points.double())
        depth = depth_maps.read(depth_maps.listed(folder / "depth")[sequence.frame_names[HIDDEN]])
        pixels = sequence.cameras[HIDDEN].project(points).nan_to_num(-1.0)
        height, width = depth.shape
        inside = (pixels >= 0).all(-1) & (pixels < torch.tensor([width / 2, height])).all(-1) & (points[:, 2] > 0)
        column, row = pixels[inside].long().unbind(-1)
        return int((points[inside, 2] < 0.7 * depth[row, column]).sum())

    assert near(tmp_path / "with") > 10
    assert near(tmp_path / "without") < 0.1 * near(tmp_path / "with")


def test_masks_of_no_depth_maps_are_told(data, tmp_path, capsys):
    call = ["register", str(tmp_path), str(tmp_path), "--out", str(tmp_path / "out"), "--masks", str(data[2])]
    assert main(call) == 2
    assert "--masks alone" in capsys.readouterr().err


def test_masks_go_down_the_whole_pipeline(data, tmp_path, capsys):
    folder, _, masks = data
    config = tmp_path / "tiny.yaml"
    config.write_text(to_yaml(tiny(steps=2)))
    out = tmp_path / "case"
    call = ["run", str(folder), "--out", str(out), "--config", str(config), "--accept-rejected"]
    assert main([*call, "--masks", str(masks)]) == 0
    for stage in ("run", "surface"):
        assert str(masks) in (out / stage / "provenance.yaml").read_text("utf-8")
    capsys.readouterr()
    assert main([*call, "--masks", str(masks)]) == 0
    assert capsys.readouterr().out.count("up to date") == 5
