"""Golden values of whole losses: each photometric recipe as it is shipped, at four scales, against plain NumPy."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import golden_view_synthesis as golden
from depthscope.geometry import Pinhole
from depthscope.networks import SnippetPrediction
from depthscope.networks.pose import Motions
from depthscope.objectives.photometric import EverySource
from depthscope.recipes import ENDOSCOPY_PHOTOMETRIC, MONODEPTH2_M, MONODEPTH2_MS, MONODEPTH2_S, SFMLEARNER
from depthscope.supervision import SparsePoints
from golden_view_synthesis import Scene
from scenes import motion, pinhole, stacked
from textured import MOVES, batch_of

WIDTH, HEIGHT, SCALES = 32, 24, 4
NEARBY = motion((0.0, 0.01, 0.0), (-0.04, 0.003, 0.002))
"""The other eye."""


def scene_of(moves, *, masked: bool, seed: int = 0) -> Scene:
    """Smooth images without any relation to depth, so that no term vanishes; a highlight, and a rim if masked."""
    random = np.random.default_rng(seed)
    frames = 1 + len(moves)
    coarse = random.uniform(0.15, 0.75, (frames, 3, 6, 8))
    images = golden.resized(coarse, (HEIGHT, WIDTH)) + 0.02 * random.standard_normal((frames, 3, HEIGHT, WIDTH))
    images[:, :, 9:11, 18:20] = 0.97
    masks = np.ones((frames, HEIGHT, WIDTH), bool)
    if masked:
        masks[:, :3], masks[:, :, -4:] = False, False
        images[~np.repeat(masks[:, None], 3, 1)] = 0.5  # what is outside must not matter
    base = golden.resized(random.uniform(0.7, 1.3, (4, 5)), (HEIGHT, WIDTH))
    disparities = [
        golden.blocks(base, (HEIGHT >> s, WIDTH >> s)) * random.uniform(0.97, 1.03, (HEIGHT >> s, WIDTH >> s))
        for s in range(SCALES)
    ]
    camera = pinhole(WIDTH, HEIGHT)
    return Scene(
        images=images,
        masks=masks,
        disparities=disparities,
        motions=[(move.rotation.numpy(), move.translation.numpy()) for move in moves],
        focal=camera.focal_px[0].numpy(),
        centre=camera.centre_px[0].numpy(),
    )


def found_by(recipe, scene: Scene, *, stereo=None, temporal=MOVES, known: bool = False) -> dict[str, float]:
    """What the recipe's objective says of the scene."""
    batch = batch_of(torch.tensor(scene.images)[None])
    camera = pinhole(WIDTH, HEIGHT)
    frames = len(scene.images)
    batch = replace(
        batch,
        camera=Pinhole(camera.focal_px.expand(1, frames, 2), camera.centre_px.expand(1, frames, 2)),
        mask=None if scene.masks.all() else torch.tensor(scene.masks)[None],
        stereo=None if stereo is None else stereo.unsqueeze(0),
    )
    moved = stacked(*temporal).unsqueeze(0) if temporal else None
    motions = None
    if moved is not None and known:
        points = (torch.tensor(np.stack(part))[None] for part in zip(*scene.points, strict=True))
        batch = replace(batch, temporal=moved, points=SparsePoints(*points))
    elif moved is not None:
        explained = tuple(torch.tensor(one)[None] for one in scene.logits)
        motions = Motions(moved.rotation, moved.translation, explained)
    prediction = SnippetPrediction(
        tuple(torch.tensor(one)[None] for one in scene.disparities),
        None if scene.source_disparities is None else torch.tensor(scene.source_disparities)[None],
        motions,
    )
    return {name: float(value) for name, value in recipe.objective(prediction, batch).items()}


def check(found: dict[str, float], expected: dict[str, float]) -> None:
    for name, value in expected.items():
        assert value > 1e-5, name  # no term is there in name only
        assert found[name] == pytest.approx(value, rel=1e-9), name
    terms = [value for name, value in expected.items() if name not in ("loss", "seen")]
    assert found["loss"] == pytest.approx(sum(terms), rel=1e-9)


@pytest.mark.parametrize("masked", [False, True])
def test_sfmlearner(masked):
    scene = scene_of(MOVES, masked=masked)
    check(found_by(SFMLEARNER, scene), golden.sfmlearner(scene))


def test_sfmlearner_with_its_explainability():
    scene = scene_of(MOVES, masked=False)
    random = np.random.default_rng(3)
    scene.logits = [random.standard_normal((2, 2, *size)) for size in golden.sizes(scene)]
    objective = replace(
        SFMLEARNER.objective,
        motion=replace(SFMLEARNER.objective.motion, explainability=True),
        reprojection=EverySource(0.2),
    )
    check(found_by(replace(SFMLEARNER, objective=objective), scene), golden.sfmlearner(scene, explainability=0.2))


@pytest.mark.parametrize("masked", [False, True])
def test_monodepth2_from_video(masked):
    scene = scene_of(MOVES, masked=masked)
    check(found_by(MONODEPTH2_M, scene), golden.monodepth2(scene))


def test_monodepth2_from_two_eyes():
    scene = scene_of((NEARBY,), masked=False)
    check(found_by(MONODEPTH2_S, scene, stereo=NEARBY, temporal=()), golden.monodepth2(scene))


def test_monodepth2_from_video_of_two_eyes():
    scene = scene_of((*MOVES, NEARBY), masked=True)
    check(found_by(MONODEPTH2_MS, scene, stereo=NEARBY), golden.monodepth2(scene))


@pytest.mark.parametrize("masked", [False, True])
def test_endoscopy(masked):
    scene = scene_of(MOVES, masked=masked)
    random = np.random.default_rng(5)
    shape = (len(MOVES), HEIGHT, WIDTH)
    scene.source_disparities = np.stack([scene.disparities[0]] * 2) * random.uniform(0.9, 1.1, shape)
    factors = 1.0, 1.3, 0.8
    for disparity, factor in zip([scene.disparities[0], *scene.source_disparities], factors, strict=True):
        pixels = random.uniform([4, 5], [WIDTH - 6, HEIGHT - 3], (10, 2))
        off = np.linspace(-0.01, 0.01, 10)  # none is far enough from the median to be left out
        depth = np.array([factor / golden.at(disparity, x, y) for x, y in pixels]) * np.exp(off)
        scene.points.append((pixels, depth, random.uniform(0.3, 1.0, 10)))
    check(found_by(ENDOSCOPY_PHOTOMETRIC, scene, known=True), golden.endoscopy(scene))
