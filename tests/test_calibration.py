"""Calibration against cameras that are known: every lens, its standard deviations, its choice, and bad recordings."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import ROOT
from depthscope.calibration import Charuco, Chessboard, Sighting, board_of, from_field_of_view, opencv
from depthscope.calibration.choice import candidates, chosen
from depthscope.calibration.fit import BROWN_2, BROWN_4, BROWN_5, FISHEYE, PINHOLE, Measured, fitted
from depthscope.calibration.recording import seen_boards, upright
from depthscope.cli import main
from depthscope.errors import BadInputError
from depthscope.geometry import Brown, Camera, KannalaBrandt, NoDistortion, RigidMotion
from depthscope.geometry.motion import rotate
from depthscope.video import write_image

SIZE = (640, 480)
LENSES = {
    "pinhole": (NoDistortion(), PINHOLE),
    "brown2": (Brown((-0.2, 0.05, 0.0, 0.0)), BROWN_2),
    "brown4": (Brown((-0.2, 0.05, 0.002, -0.001)), BROWN_4),
    "brown5": (Brown((-0.25, 0.1, 0.002, -0.001, -0.03)), BROWN_5),
    "fisheye": (KannalaBrandt((-0.02, -0.003, 0.001, 0.0)), FISHEYE),
}


def camera(lens, focal: float = 400.0) -> Camera:
    return Camera(SIZE, (focal, focal * 1.003), (322.0, 236.5), lens)


def measured(lens, views: int = 10, noise: float = 0.0, seed: int = 0, tilt: float = 0.6, focal=400.0) -> Measured:
    draw = np.random.default_rng((seed, 5))
    grid = torch.stack(torch.meshgrid(torch.arange(9.0), torch.arange(7.0), indexing="xy"), -1).reshape(-1, 2).double()
    points = torch.cat([grid * 3, torch.zeros(63, 1, dtype=torch.float64)], -1)
    turns, shifts = [], []
    for n in range(views):
        axis = torch.tensor([np.cos(2.4 * n), np.sin(2.4 * n), 0.2 * draw.normal()], dtype=torch.float64)
        x, y, z = (axis / axis.norm() * tilt).tolist()
        spin = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64)
        turns.append(torch.linalg.matrix_exp(spin))
        middle = torch.tensor([*draw.uniform(-5, 5, 2), draw.uniform(26, 34)], dtype=torch.float64)
        shifts.append(middle - rotate(turns[-1], points.mean(0)))
    motions = RigidMotion(torch.stack(turns), torch.stack(shifts))
    view = torch.arange(views).repeat_interleave(63)
    pixels = camera(lens, focal).project(motions[view].apply(points.repeat(views, 1)))
    return Measured(
        view, points.repeat(views, 1), pixels + noise * torch.from_numpy(draw.normal(0, 1, pixels.shape)), SIZE
    )


@pytest.mark.parametrize(("lens", "model"), LENSES.values(), ids=LENSES.keys())
def test_exact_corners_give_the_exact_lens(lens, model):
    found, true = fitted(measured(lens), model), camera(lens)
    assert found.rms_px < 1e-6
    assert torch.allclose(found.camera.pinhole.focal_px, true.pinhole.focal_px, rtol=1e-6)
    assert torch.allclose(found.camera.pinhole.centre_px, true.pinhole.centre_px, rtol=1e-6)
    free = torch.tensor(lens.coefficients[: model.free])
    assert torch.allclose(torch.tensor(found.camera.distortion.coefficients[: model.free]), free, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["brown2", "fisheye"])
def test_standard_deviations_are_those_of_repeats(name):
    lens, model = LENSES[name]
    fits = [fitted(noisy(lens, seed), model) for seed in range(24)]
    spread = torch.stack([f.values[:4] for f in fits]).std(0)
    told = torch.stack([f.sd[:4] for f in fits]).mean(0)
    assert bool(((spread / told > 0.6) & (spread / told < 1.6)).all())  # 24 repeats know a spread to 15 %


def noisy(lens, seed: int) -> Measured:
    exact = measured(lens, 8)
    noise = 0.2 * torch.from_numpy(np.random.default_rng((seed, 6)).normal(0, 1, exact.pixels.shape))
    return Measured(exact.view, exact.points, exact.pixels + noise, SIZE)


@pytest.mark.parametrize("name", ["pinhole", "brown2", "fisheye"])
def test_the_model_is_chosen_by_views_not_fitted(name):
    lens, model = LENSES[name]
    focal = 240.0 if name == "fisheye" else 400.0
    best = chosen(candidates(measured(lens, 12, 0.1, focal=focal)))
    assert best.fit.model.family == model.family
    assert best.holdout_rms_px < 0.2


def test_boards_seen_from_one_side_only_leave_the_focal_length_open():
    flat = fitted(measured(NoDistortion(), 6, 0.2, tilt=0.001), PINHOLE)
    tilted = fitted(measured(NoDistortion(), 6, 0.2, tilt=0.6), PINHOLE)
    assert float(flat.sd[0] / flat.values[0]) > 0.05 > 0.01 > float(tilted.sd[0] / tilted.values[0])


def test_corners_come_in_one_order():
    grid = torch.stack(torch.meshgrid(torch.arange(5.0), torch.arange(4.0), indexing="xy"), -1)
    for other in (grid, grid.flip(0), grid.flip(1), grid.flip(0, 1)):
        assert torch.equal(upright(other.reshape(-1, 2), (5, 4)), grid.reshape(-1, 2))


def test_an_option_names_a_board():
    assert board_of("14x10", 3.0) == Chessboard((14, 10), 3.0)
    assert board_of("charuco:9x6", 4.0) == Charuco((9, 6), 4.0, 3.0)
    for wrong in ("14", "14x", "2x9", "board"):
        with pytest.raises(BadInputError):
            board_of(wrong, 3.0)
    assert abs(from_field_of_view((640, 480), 90.0).focal_px[0] - 320) < 1e-9


def drawn_board(shift: int = 0) -> torch.Tensor:
    picture = torch.full((240, 320), 230, dtype=torch.uint8)
    for row in range(6):
        for column in range(8):
            if (row + column) % 2 == 0:
                picture[40 + 25 * row : 65 + 25 * row, 40 + shift + 25 * column : 65 + shift + 25 * column] = 20
    return picture


def test_corners_are_in_our_convention():
    corners = opencv.find_chessboard(drawn_board(), (7, 5))
    assert corners is not None
    assert (upright(corners, (7, 5))[0] - torch.tensor([65.0, 65.0])).abs().max() < 0.1  # an edge between pixels


def test_a_charuco_board_is_known_by_its_parts():
    board = Charuco((7, 5), 4.0, 3.0)
    picture = opencv.draw_charuco(board, 40, 20)
    whole, part = opencv.find_charuco(picture, board), opencv.find_charuco(picture[:, 130:].contiguous(), board)
    assert whole is not None and part is not None
    assert len(whole[1]) == 24 and 6 <= len(part[1]) < 24
    assert bool((part[0][:, 0] > 0).all())


@pytest.mark.parametrize(
    ("board", "code", "words"),
    [
        ("8x6", 2, "grid of 7x5 inner corners in 2; .* --board 7x5"),
        ("7x5", 3, "pictures show the 7x5 board"),
    ],
)
def test_what_is_wrong_with_a_recording_is_told(tmp_path, capsys, board, code, words):
    folder = tmp_path / "frames"
    folder.mkdir()
    for n in range(2):
        write_image(folder / f"{n}.png", drawn_board(n))
    assert main(["calibrate", str(folder), "--board", board, "--square-mm", "3", "--out", str(tmp_path / "o")]) == code
    told = capsys.readouterr()
    assert re.search(words, (told.out + told.err).replace("\n", " "))
    assert (tmp_path / "o" / "result.json").is_file() == (code == 3)
    assert not (tmp_path / "o" / "camera.yaml").exists()


def test_no_board_sizes_and_folders_that_do_not_fit(tmp_path):
    with pytest.raises(BadInputError, match="does not exist"):
        seen_boards(tmp_path / "nowhere", Chessboard((7, 5), 3.0))
    write_image(tmp_path / "a.png", torch.zeros(240, 320, dtype=torch.uint8))
    with pytest.raises(BadInputError, match="no 7x5 board in any of 1"):
        seen_boards(tmp_path, Chessboard((7, 5), 3.0))
    write_image(tmp_path / "b.png", torch.zeros(120, 160, dtype=torch.uint8))
    with pytest.raises(BadInputError, match="one camera has one image size"):
        seen_boards(tmp_path, Chessboard((7, 5), 3.0))


def test_sightings_know_their_length():
    assert len(Sighting("a", torch.zeros(6, 2, dtype=torch.long), torch.zeros(6, 2, dtype=torch.float64))) == 6


@pytest.mark.slow
def test_nine_views_of_a_laparoscope(tmp_path):
    data = Path(os.environ.get("DEPTHSCOPE_DATA", ROOT.parent / "shared" / "data")) / "laparoscope_boards"
    if not data.is_dir():
        pytest.skip(f"the published board images are not at {data}")
    out = tmp_path / "out"
    assert main(["calibrate", str(data), "--board", "14x10", "--square-mm", "3", "--out", str(out)]) == 0
    result = json.loads((out / "result.json").read_text())
    assert result["views_found"] == result["views_used"] == 9
    assert result["model"] == "brown" and result["holdout_rms_px"] < 0.56
    errors = []
    for path in sorted((out / "corners").glob("*.txt")):
        ours, theirs = np.loadtxt(path)[:, 2:4], np.loadtxt(data / f"{path.stem}.png.points.txt") + 0.5
        errors.append(np.linalg.norm(ours[:, None] - theirs[None], axis=-1).min(1))
    assert np.median(np.concatenate(errors)) < 0.3
