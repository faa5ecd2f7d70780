"""Files of poses as others write them: the right columns, all digits of the times, and a word on what looks wrong."""

import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from depthscope.cli import main
from depthscope.errors import BadInputError
from depthscope.evaluation import associated, path_warnings
from depthscope.formats import trajectory
from depthscope.geometry import RigidMotion

FRAMES = 12


def way(frames: int = FRAMES) -> tuple[np.ndarray, np.ndarray]:
    """Positions and quaternions x y z w of a camera that moves and turns, in mm."""
    t = np.arange(frames)
    place = np.stack([8 * np.sin(0.3 * t), 3 * np.cos(0.5 * t), 1.7 * t - 20], 1)
    turn = Rotation.from_rotvec(np.stack([0.1 * np.sin(t), 0.3 + 0.05 * t, 0.02 * t], 1))
    return place, turn.as_quat()


def written(path: Path, rows, header: str = "", between: str = " ") -> Path:
    lines = [header] if header else []
    lines += [between.join(str(cell) for cell in row) for row in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


def tum_rows(times, factor: float = 1.0, order=(0, 1, 2, 3)):
    place, turn = way(len(times))
    return [(t, *(factor * p).tolist(), *q[list(order)].tolist()) for t, p, q in zip(times, place, turn, strict=True)]


W_FIRST = (3, 0, 1, 2)

HEADERS = {
    "EuRoC's own, with velocities": (
        "#timestamp, p_RS_R_x [m], p_RS_R_y [m], p_RS_R_z [m], q_RS_w [], q_RS_x [], q_RS_y [], q_RS_z [], "
        "v_RS_R_x [m s^-1], v_RS_R_y [m s^-1], v_RS_R_z [m s^-1], b_w_RS_S_x [rad s^-1], b_w_RS_S_y [rad s^-1], "
        "b_w_RS_S_z [rad s^-1], b_a_RS_S_x [m s^-2], b_a_RS_S_y [m s^-2], b_a_RS_S_z [m s^-2]",
        W_FIRST, ",", 9,
    ),
    "EuRoC without a header": ("", W_FIRST, ",", 9),
    "evaluated EuRoC": (
        "#timestamp [ns],p_RS_R_x [m],p_RS_R_y [m],p_RS_R_z [m],q_RS_w [],q_RS_x [],q_RS_y [],q_RS_z []",
        W_FIRST, ",", 0,
    ),
    "short": ("#timestamp,p_x,p_y,p_z,q_w,q_x,q_y,q_z", W_FIRST, ",", 0),
    "a plain line": ("time,x,y,z,qw,qx,qy,qz", W_FIRST, ",", 0),
    "a comment before TUM's": ("# timestamp tx ty tz qx qy qz qw", (0, 1, 2, 3), " ", 0),
    "w first in a comment": ("# timestamp tx ty tz qw qx qy qz", W_FIRST, " ", 0),
    "ROS": (
        "timestamp;pose.position.x;pose.position.y;pose.position.z;pose.orientation.x;pose.orientation.y;"
        "pose.orientation.z;pose.orientation.w",
        (0, 1, 2, 3), ";", 0,
    ),
    "no header": ("", (0, 1, 2, 3), " ", 0),
    "commas for blanks": ("", (0, 1, 2, 3), ",", 0),
}  # fmt: skip


@pytest.mark.parametrize("name", HEADERS)
def test_the_header_says_where_w_stands(tmp_path, name):
    header, order, between, more = HEADERS[name]
    times = [1403636579763555584 + n * 50_000_000 for n in range(FRAMES)]
    rows = [(*row, *[0.25] * more) for row in tum_rows(times, order=order)]
    found = trajectory.read(written(tmp_path / "poses.csv", rows, header, between))
    place, turn = way()
    world_from_camera = found.camera_from_world.inverse()
    assert np.abs(world_from_camera.translation.numpy() - place).max() < 1e-12
    assert np.abs(world_from_camera.rotation.numpy() - Rotation.from_quat(turn).as_matrix()).max() < 1e-12
    assert found.times_s[0] == Decimal("1403636579.763555584")  # all nineteen digits
    assert found.times_s[1] - found.times_s[0] == Decimal("0.05")


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["1305031102.175304", "1305031102.211214"], ["1305031102.175304", "1305031102.211214"]),
        (["1305031102.175304123", "1305031102.175304124"], ["1305031102.175304123", "1305031102.175304124"]),
        (["1403636579763555584", "1403636579813555456"], ["1403636579.763555584", "1403636579.813555456"]),
        (["1.403636579763555584e+18", "1.403636579813555456e+18"], ["1403636579.763555584", "1403636579.813555456"]),
        (["1403636579763555", "1403636579813555"], ["1403636579.763555", "1403636579.813555"]),
        (["1403636579763", "1403636579813"], ["1403636579.763", "1403636579.813"]),
        (["100000000000", "100100000000"], ["100", "100.1"]),
        (["0", "33333"], ["0", "0.033333"]),
        (["0.04", "0.08"], ["0.04", "0.08"]),
        (["0", "1"], ["0", "1"]),
        (["17", "42"], ["17", "42"]),
    ],
)
def test_times_keep_their_digits_and_find_their_unit(tmp_path, texts, expected):
    found = trajectory.read(written(tmp_path / "t.txt", tum_rows(texts)))
    assert found.times_s == tuple(Decimal(text) for text in expected)  # decimals compare without rounding


def test_a_header_names_the_unit_of_time(tmp_path):
    header = "timestamp [us],tx,ty,tz,qx,qy,qz,qw"
    found = trajectory.read(written(tmp_path / "t.csv", tum_rows([0, 40, 80]), header, ","))
    assert [str(time) for time in found.times_s] == ["0.000000", "0.000040", "0.000080"]


@pytest.mark.parametrize(
    ("header", "rows", "match"),
    [
        ("tX,tY,tZ,rX,rY,rZ,time", [(0, 0, 0, 0, 0, 0, 1)] * 2, "line 1: .*not all of them known.*rW"),
        ("time,x,y,z,roll,pitch,yaw,speed", [(0, 0, 0, 0, 0, 0, 1, 1)] * 2, "line 1: .*not all of them known"),
        ("timestamp,tx,ty,tz,qx,qy,qz,qw", [(0, 0, 0, 0, 0, 0, 0, 1), (1, 0, 0, "nan", 0, 0, 0, 1)], "line 3"),
        ("timestamp,tx,ty,tz,qx,qy,qz,qw", [(0, 0, 0, 0, 0, 0, 0, 1), (1, 0, 0)], "line 3"),
        ("timestamp,tx,ty,tz,qx,qy,qz,qw", [(0, 0, 0, 0, 0, 0, 0, 1), (1, 0, 0, 0, 0, 0, 0, 0)], "norm 0"),
        ("timestamp,tx,ty,tz,qx,qy,qz,qw", [], "no numbers"),
        ("timestamp,tx,ty,tz,qx,qy,qz,qw", [(1, 0, 0, 0, 0, 0, 0, 1), (0, 0, 0, 0, 0, 0, 0, 1)], "do not rise"),
    ],
)
def test_damaged_tables(tmp_path, header, rows, match):
    with pytest.raises(BadInputError, match=match) as caught:
        trajectory.read(written(tmp_path / "t.csv", rows, header, ","))
    assert str(tmp_path / "t.csv") in str(caught.value) and "\n" not in str(caught.value)


def test_kitti_s_matrices_are_read_as_poses(tmp_path):
    place, turn = way()
    matrices = np.concatenate([Rotation.from_quat(turn).as_matrix(), place[:, :, None] / 1000], -1).reshape(FRAMES, 12)
    found = trajectory.read(written(tmp_path / "09.txt", matrices.tolist()))
    assert found.unit == "mm" and np.abs(found.camera_from_world.origin.numpy() - place).max() < 1e-9
    assert found.names is not None and found.names[3] == "000003"


def test_one_rotation_for_all_poses_is_told(tmp_path):
    rows = [(*row[:4], 0.5, 0.5, 0.5, 0.5) for row in tum_rows(range(FRAMES))]
    found = trajectory.read(written(tmp_path / "t.txt", rows))
    assert any("one and the same rotation" in note for note in found.notes)
    rows = [(row[0], 1, 2, 3, *row[4:]) for row in tum_rows(range(FRAMES))]
    found = trajectory.read(written(tmp_path / "t.txt", rows))
    assert any("are in one place" in note for note in found.notes)
    assert not trajectory.read(written(tmp_path / "t.txt", tum_rows(range(FRAMES), 0.001))).notes
    wide = trajectory.read(written(tmp_path / "t.txt", tum_rows(range(FRAMES))))
    assert len(wide.notes) == 1 and "no endoscope's in metres" in wide.notes[0]


def test_a_first_pose_of_no_turn_with_w_in_front_is_told(tmp_path):
    place, turn = way()
    relative = Rotation.from_quat(turn[0]).inv() * Rotation.from_quat(turn)
    rows = [(n, *p, *q[list(W_FIRST)]) for n, (p, q) in enumerate(zip(place, relative.as_quat(), strict=True))]
    found = trajectory.read(written(tmp_path / "t.txt", rows))
    assert any("w stands first" in note and "qw qx qy qz" in note for note in found.notes)
    named = trajectory.read(written(tmp_path / "t.txt", rows, "# timestamp tx ty tz qw qx qy qz"))
    assert not any("half a turn" in note for note in named.notes)


def test_metres_that_are_millimetres():
    place, _ = way()
    mm, said = trajectory.millimetres(place, "poses.csv")
    assert np.array_equal(mm, place) and "taken as millimetres" in said
    mm, said = trajectory.millimetres(place / 1000, "poses.csv")
    assert np.allclose(mm, place) and "taken as metres" in said
    slow = place * 0.02  # half a millimetre at most, in mm: as metres it is 80 cm across but jumps 3 cm a frame
    assert "taken as metres" in trajectory.millimetres(slow / 1000, "poses.csv")[1]


# Association


def decimals(*texts: str) -> tuple[Decimal, ...]:
    return tuple(Decimal(text) for text in texts)


def test_the_nearest_in_time_within_the_limit():
    first, second = decimals("0", "0.1", "0.2", "0.3"), decimals("0.004", "0.097", "0.24", "0.319")
    found = associated(first, second)
    assert found.pairs == ((0, 0), (1, 1), (3, 3)) and found.limit_s == Decimal("0.02")
    assert found.largest_s == Decimal("0.019")
    assert associated(first, second, Decimal("0.005")).pairs == ((0, 0), (1, 1))
    assert associated(first, second, Decimal("0.1")).pairs == ((0, 0), (1, 1), (2, 2), (3, 3))


def test_no_pose_is_used_twice_and_fast_clocks_have_a_narrower_limit():
    first, second = decimals(*(f"{n / 1000:.3f}" for n in range(20))), decimals("0.0031", "0.0102")
    found = associated(first, second)
    assert found.pairs == ((3, 0), (10, 1)) and found.limit_s == Decimal("0.0005")


def test_nanoseconds_of_unix_times_are_told_apart():
    """A float has no digit for a tenth of a microsecond at these times."""
    first = decimals("1700000000.0000000", "1700000000.0000004")
    found = associated(first, decimals("1700000000.0000001", "1700000000.0000005"))
    assert found.pairs == ((0, 0), (1, 1)) and found.largest_s == Decimal("0.0000001")


# The verb


def evaluated(prediction: Path, truth: Path, out: Path, *more: str) -> dict:
    given = ["evaluate", str(prediction), str(truth), "--protocol", "path-1", "--out", str(out), *more]
    assert main(given) == 0
    return json.loads((out / "result.json").read_text("utf-8"))


def test_recordings_of_other_times_are_not_matched_by_their_digits(tmp_path, capsys):
    late = written(tmp_path / "late.txt", tum_rows([f"0.{4 * n:02d}" for n in range(1, 9)]))
    ref = written(tmp_path / "ref.txt", tum_rows([f"7.{4 * n:02d}" for n in range(1, 9)]))
    given = ["evaluate", str(late), str(ref), "--protocol", "path-1", "--out", str(tmp_path / "out")]
    assert main(given) == 2
    told = capsys.readouterr().err
    assert "late.txt" in told and "within 0.02 s" in told and "--time-offset-s 7" in told and told.count("\n") == 1
    found = evaluated(late, ref, tmp_path / "out", "--time-offset-s", "7")
    assert found["frames"] == 8 and found["ate"] < 1e-9
    assert found["association"] == {"by": "time", "limit_s": 0.02, "largest_difference_s": 0.0, "offset_s": 7.0}
    assert main([*given, "--time-offset-s", "seven"]) == 2
    assert "--time-offset-s seven" in capsys.readouterr().err


def test_other_rates_and_units_meet_by_time(tmp_path):
    truth = tum_rows([f"{n * 5}000000" for n in range(400, 412)], order=W_FIRST)
    table = written(tmp_path / "t.csv", truth, "#timestamp [ns],p_x,p_y,p_z,q_w,q_x,q_y,q_z", ",")
    part = [row for n, row in enumerate(tum_rows([f"{(n * 5 + 2000) / 1000:.4f}" for n in range(12)])) if n % 2]
    found = evaluated(written(tmp_path / "e.txt", part), table, tmp_path / "out")
    assert found["frames"] == 6 and found["ate"] < 1e-9 and found["rotation_deg"] < 1e-6
    assert found["association"]["limit_s"] == 0.0025


def test_numbers_of_frames_are_no_times(tmp_path, capsys):
    count = written(tmp_path / "count.txt", tum_rows([f"{n}.0" for n in range(12)]))
    clock = written(tmp_path / "clock.txt", tum_rows([f"{n / 4}" for n in range(12)]))
    given = ["evaluate", str(count), str(clock), "--protocol", "path-1", "--out", str(tmp_path / "out")]
    assert main(given) == 2
    assert "count.txt counts frames" in capsys.readouterr().err
    assert evaluated(count, count, tmp_path / "out")["frames"] == 12


def test_metres_against_millimetres_are_told(tmp_path, capsys):
    mm = written(tmp_path / "mm.txt", tum_rows(range(12)))
    metres = written(tmp_path / "m.txt", tum_rows(range(12), 0.001))
    found = evaluated(metres, mm, tmp_path / "out")
    assert "metres and the other one in millimetres" in found["warnings"][0]
    assert "warning: the truth is 1000 times" in capsys.readouterr().out
    assert evaluated(mm, mm, tmp_path / "out")["warnings"] == []


def motions(order=(0, 1, 2, 3)) -> RigidMotion:
    place, turn = way()
    quaternion = torch.from_numpy(turn[:, [3, 0, 1, 2]])[:, list(order)]
    return RigidMotion.from_quaternion(quaternion, torch.from_numpy(place)).inverse()


@pytest.mark.parametrize(
    ("estimate", "told"),
    [
        (motions(), None),
        (motions().inverse(), "other way round"),
        (motions((3, 0, 1, 2)), "stores w"),
        (RigidMotion(torch.diag(torch.tensor([1.0, -1, -1], dtype=torch.float64)) @ motions().rotation,
                     motions().translation * torch.tensor([1.0, -1, -1])), "OpenGL"),
    ],
)  # fmt: skip
def test_conventions_that_fit_better_are_named(estimate, told):
    found = path_warnings(estimate, motions())
    assert found == () if told is None else (len(found) == 1 and told in found[0])


def test_a_noisy_path_is_not_blamed_on_its_convention():
    generator = torch.Generator().manual_seed(3)
    noise = 8 * torch.randn(FRAMES, 3, generator=generator, dtype=torch.float64)
    turns = RigidMotion.from_axis_angle(0.5 * torch.randn(FRAMES, 3, generator=generator, dtype=torch.float64), noise)
    assert path_warnings(turns @ motions(), motions()) == ()
