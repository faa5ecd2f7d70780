"""Corners of drawn boards, whose places are known: what light, lens, processor and codec do must not pull them."""

import numpy as np
import pytest
import torch

from depthscope.calibration.saddle import refined
from depthscope.geometry import Brown, Camera, NoDistortion
from depthscope.video import read_video, write_video
from photographed import chessboard_print, photographed, poses

SIZE, SIDE = (9, 7), 3.0
GRID = torch.stack(torch.meshgrid(torch.arange(9), torch.arange(7), indexing="xy"), -1).reshape(-1, 2)
POINTS = torch.cat([GRID.double() * SIDE, torch.zeros(63, 1, dtype=torch.float64)], -1)
CAMERA = Camera((320, 240), (240.0, 240.0), (161.0, 118.5), Brown((-0.2, 0.04, 0.0, 0.0)))
LIGHTS = {
    "even": {"falloff": 0.0, "gamma": 1.0},
    "lamp": {"falloff": 1.0},
    "lamp twice as steep": {"falloff": 2.0},
    "saturated": {"gain": 1.4},
    "blurred": {"blur": 1.6},
    "sharpened": {"sharpening": 0.8},
    "noisy": {"noise": 4.0},
    "all": {"gain": 1.2, "blur": 1.0, "sharpening": 0.5, "noise": 2.0},
}


def views(**how) -> list[tuple[torch.Tensor, torch.Tensor]]:
    shown = []
    for n, motion in enumerate(poses(POINTS.mean(0), 4, 31.0)):
        picture = photographed(CAMERA, motion, chessboard_print(SIZE), 40 / SIDE, 2.5 * SIDE, seed=n, **how)
        shown.append((picture, CAMERA.project(motion.apply(POINTS))))
    return shown


def errors(shown) -> tuple[torch.Tensor, torch.Tensor]:
    """Errors of all corners, and the direction from the middle of the picture, where the lamp is."""
    found, outward = [], []
    for n, (picture, true) in enumerate(shown):
        start = true + 0.25 * torch.from_numpy(np.random.default_rng((n, 3)).normal(0, 1, true.shape))
        result = refined(picture, GRID, start)
        assert bool(result.good.all())
        found.append(result.pixels - true)
        away = true - torch.tensor(CAMERA.centre_px)
        outward.append(away / away.norm(dim=-1, keepdim=True))
    return torch.cat(found), torch.cat(outward)


@pytest.mark.parametrize("how", LIGHTS.values(), ids=LIGHTS.keys())
def test_corners_are_not_pulled(how):
    error, outward = errors(views(**how))
    assert float((error * outward).sum(-1).mean().abs()) < 0.03
    assert float(error.mean(0).abs().max()) < 0.03
    assert float(error.square().sum(-1).mean().sqrt()) < 0.12


def test_a_codec_pulls_no_corner(tmp_path):
    shown = views(noise=2.0)
    path = write_video(tmp_path / "a.mp4", (p[..., None].expand(-1, -1, 3).contiguous() for p, _ in shown), 5)
    read = [f[..., 1].contiguous() for f in read_video(path)]
    error, outward = errors([(p, t) for p, (_, t) in zip(read, shown, strict=True)])
    assert float((error * outward).sum(-1).mean().abs()) < 0.03


def test_what_is_no_corner_is_left_where_it_was():
    start = torch.tensor([[20.0, 20.0], [40.0, 20.0], [20.0, 40.0], [40.0, 40.0]], dtype=torch.float64)
    grid = torch.tensor([[0, 0], [1, 0], [0, 1], [1, 1]])
    noise = torch.from_numpy(np.random.default_rng(0).integers(0, 255, (60, 60)).astype(np.uint8))
    for picture in (torch.full((60, 60), 90, dtype=torch.uint8), noise):
        result = refined(picture, grid, start)
        assert not bool(result.good.any()) and torch.equal(result.pixels, start)


def test_blur_is_measured():
    camera = Camera((320, 240), (240.0, 240.0), (161.0, 118.5), NoDistortion())
    motion = poses(POINTS.mean(0), 1, 25.0, tilt=0.01)[0]
    for blur in (0.8, 1.6):
        ink = chessboard_print(SIZE)
        picture = photographed(camera, motion, ink, 40 / SIDE, 2.5 * SIDE, falloff=0.0, gamma=1.0, blur=blur)
        found = refined(picture, GRID, camera.project(motion.apply(POINTS))).blur_px.median()
        pixel = (blur**2 + 1 / 12) ** 0.5
        assert abs(float(found) / pixel - 1) < 0.1


def test_corners_beyond_the_picture_are_left_out():
    picture, true = views()[0]
    cut = picture[:, : int(true[:, 0].median())].contiguous()
    result = refined(cut, GRID, true)
    assert not bool(result.good[true[:, 0] > cut.shape[1] - 1].any())
    assert bool(result.good[true[:, 0] < cut.shape[1] - 15].all())
