"""Protocols by name: values that closed forms give, and for each one a case in which it differs from its neighbour."""

import json
from dataclasses import replace
from math import log, sqrt

import pytest
import torch

from depthscope.cli import main
from depthscope.errors import BadInputError
from depthscope.evaluation import (
    DEPTH_PROTOCOLS,
    PATH_PROTOCOLS,
    SURFACE_PROTOCOLS,
    DepthMetrics,
    MedianProtocol,
    evaluated,
)
from depthscope.evaluation.path_protocols import scale_drift, summed_over_count
from depthscope.formats import depth_maps, ply
from depthscope.geometry import RigidMotion, Surface

ALL = {protocol.name: protocol for protocol in (*DEPTH_PROTOCOLS, *PATH_PROTOCOLS, *SURFACE_PROTOCOLS)}


def maps(*rows):
    """Pairs of one row of pixels each: (prediction, truth)."""
    return [
        (f"f{n}", torch.tensor([d], dtype=torch.float32), torch.tensor([g], dtype=torch.float32))
        for n, (d, g) in enumerate(rows)
    ]


def measured(name, pairs):
    protocol = ALL[name]
    return evaluated([protocol.frame(*pair) for pair in pairs], name, protocol.clamp)


def test_golden_truth_at_the_ends_of_scared_af_does_not_count_and_predictions_are_clamped_not_dropped():
    pairs = maps(([10.0, 10.0, 10.0, 10.0, 1000.0], [10.0, 10.0, 150.0, 1e-3, 100.0]))
    frame = ALL["scared-af"].frame(*pairs[0])
    assert frame.truth.tolist() == [10.0, 10.0, 100.0]
    found = measured("scared-af", pairs)  # the ratio of medians is 1; 1000 becomes 150
    assert found.per_frame_median.abs_rel == pytest.approx(0.5 / 3)
    assert found.per_frame_median.rmse == pytest.approx(50 / sqrt(3))
    assert evaluated([frame], "x").per_frame_median.abs_rel == pytest.approx(9 / 3)


def test_golden_two_frames_at_one_scale_are_clamped_after_it():
    pairs = maps(([1.0, 1.0], [100.0, 100.0]), ([1.0, 1.0], [144.0, 144.0]), ([2.0, 2.0], [120.0, 120.0]))
    found = measured("scared-af", pairs)  # factors 100, 144, 60: the middle of their logs is 100
    assert found.per_frame_median.abs_rel == pytest.approx(0, abs=1e-6)
    assert found.per_sequence.abs_rel == pytest.approx((0 + 44 / 144 + (150 - 120) / 120) / 3)
    assert found.scale_drift == pytest.approx(torch.tensor([100.0, 144, 60]).std(correction=0).item() / 100)


def test_golden_kitti_by_eigen_counts_a_part_of_the_frame_and_the_improved_truth_all_of_it():
    truth = torch.full((100, 200), 10e3)
    truth[0], truth[60, 100] = 20e3, 90e3  # above the crop; beyond 80 m
    depth = torch.full((100, 200), 5e3)
    frame = ALL["kitti-eigen"].frame("f", depth, truth)
    rows, columns = int(0.99189189 * 100) - int(0.40810811 * 100), int(0.96405229 * 200) - int(0.03594771 * 200)
    assert len(frame.truth) == rows * columns - 1 and set(frame.truth.tolist()) == {10e3}
    found = measured("kitti-eigen", [("f", depth, truth)])
    assert found.per_frame_median.abs_rel == pytest.approx(0, abs=1e-6)
    every = measured("kitti-eigen-improved", [("f", depth, truth)])
    assert every.frames == 1 and len(ALL["kitti-eigen-improved"].frame("f", depth, truth).truth) == 20_000
    assert every.per_frame_median.abs_rel == pytest.approx((200 * 0.5 + 80 / 90) / 20_000, rel=1e-4)


def test_the_ranges_of_hamlyn_and_servct_and_c3vd_differ():
    truth = [0.5, 1.0, 99.0, 120.0, 160.0, 200.0, 300.0, 400.0]
    pair = maps((truth, truth))[0]
    counted = {name: ALL[name].frame(*pair).truth.tolist() for name in ("hamlyn-edm", "hamlyn-endodac", "servct")}
    assert counted["hamlyn-edm"] == truth[1:7]
    assert counted["hamlyn-endodac"] == truth[:4]
    assert counted["servct"] == truth[:5]
    assert ALL["dense-1"].frame(*pair).truth.tolist() == truth


def test_crops_are_those_of_the_published_sizes():
    truth = torch.ones(1080, 1350)
    truth[180:900, 200:1150] = 2.0
    frame = ALL["c3vd-endodac"].frame("a", torch.ones(1080, 1350), truth)
    assert frame.truth.unique().tolist() == [2.0] and len(frame.truth) == 720 * 950
    with pytest.raises(BadInputError, match="1350 x 1080"):
        ALL["c3vd-endodac"].frame("a", torch.ones(540, 675), torch.ones(540, 675))
    wide = torch.ones(288, 720)
    wide[:, 180:590] = 2.0
    assert ALL["hamlyn-endodac-cropped"].frame("a", wide, wide).truth.unique().tolist() == [2.0]
    assert len(ALL["hamlyn-endodac"].frame("a", wide, wide).truth) == 288 * 720
    with pytest.raises(BadInputError, match="any x 288"):
        ALL["hamlyn-endodac-cropped"].frame("a", torch.ones(480, 720), torch.ones(480, 720))


def test_golden_the_challenge_of_scared_scales_nothing_and_leaves_out_frames_with_little_truth():
    sparse = [0.0] * 19 + [50.0]
    pairs = maps(([52.0, 47.0], [50.0, 50.0]), ([60.0, 60.0], [50.0, 0.0]), ([90.0] * 20, sparse))
    found = ALL["scared-challenge"].figures(pairs)
    assert found == {"mae_mm": pytest.approx((2.5 + 10.0) / 2), "frames_with_little_truth": 1}
    assert measured("scared-challenge", pairs).skipped == ("f2",)
    assert measured("dense-1", pairs).skipped == ()


def test_golden_simcol_takes_one_scale_from_mean_depths():
    # Means p 1, 2 and g 20 mm, 60 mm: with p in 0..1 by its largest value 2, s = sum(pg) / sum(pp) brings 1 to 28 mm.
    pairs = maps(([1.0, 1.0], [20.0, 20.0]), ([2.0, 2.0], [60.0, 60.0]))
    found = ALL["simcol3d"].figures(pairs)
    assert found["l1_cm"] == pytest.approx((0.8 + 0.4) / 2, rel=1e-3)
    assert found["rmse_cm"] == pytest.approx(0.6, rel=1e-3)
    assert found["median_relative_percent"] == pytest.approx(100 * (8 / 20 + 4 / 60) / 2, rel=1e-3)
    doubled = [(name, 7 * d, g) for name, d, g in pairs]
    assert ALL["simcol3d"].figures(doubled)["l1_cm"] == pytest.approx(found["l1_cm"], rel=1e-3)
    assert measured("dense-1", pairs).per_frame_median.abs_rel == 0  # which hides what the first one sees
    per_frame = [(name, d * (n + 1), g) for n, (name, d, g) in enumerate(pairs)]
    assert ALL["simcol3d"].figures(per_frame)["l1_cm"] != pytest.approx(found["l1_cm"], rel=1e-2)


def test_golden_ppsnet_counts_unknown_truth_and_its_a1_is_another_one():
    truth = torch.full((20, 30), 50.0)
    truth[:, 15:18] = 54.0  # inside the middle square of columns 5 to 24: 8 % off, 3 columns of 20
    truth[:, 20:21] = 60.0  # 17 % off, within a factor of 1.25
    depth = torch.full((20, 30), 3.0)
    found = replace(ALL["c3vd-ppsnet"], side_px=20).figures([("a", depth, truth)])
    # The median of squares is least where most pixels are exact.
    assert found["abs_rel"] == pytest.approx((3 * 4 / 54 + 10 / 60) / 20, rel=1e-2)
    assert found["within_10_percent"] == pytest.approx(19 / 20)
    assert found["rmse_m"] == pytest.approx(sqrt((3 * 16 + 100) / 20) / 1000, rel=1e-2)
    assert measured("dense-1", [("a", depth, truth)]).per_frame_median.delta1 == 1
    truth[:, 20:21] = 0.0
    hole = replace(ALL["c3vd-ppsnet"], side_px=20).figures([("a", depth, truth)])
    assert hole["abs_rel"] > 1000  # 50 mm over 1e-6: why its numbers are not comparable


def test_the_phantom_is_also_judged_without_scaling():
    pairs = maps(([2.0, 4.0], [1.0, 2.0]))
    protocol = ALL["phantom"]
    frames = [protocol.frame(*pair) for pair in pairs]
    found = evaluated(frames, "phantom", protocol.clamp, metric=True)
    assert found.metric is not None and found.metric.abs_rel == pytest.approx(1)
    assert found.per_frame_median.abs_rel == 0
    assert evaluated(frames, "phantom").metric is None


@pytest.mark.parametrize("name", [p.name for p in DEPTH_PROTOCOLS if isinstance(p, MedianProtocol) and p.crop is None])
def test_masked_pixels_never_matter_and_scale_per_frame_hides_nothing_else(name):
    generator = torch.Generator().manual_seed(3)
    truth = 20 + 60 * torch.rand(3, 6, 8, generator=generator)
    depth = truth * (0.9 + 0.2 * torch.rand(3, 6, 8, generator=generator))
    truth[:, :2], depth[:, :, :1] = 0.0, 0.0
    pairs = [(str(n), depth[n], truth[n]) for n in range(3)]
    found = measured(name, pairs)
    scaled = [(n, k * d, g) for k, (n, d, g) in zip((0.5, 1.0, 1.5), pairs, strict=True)]
    assert measured(name, scaled).per_frame_median.abs_rel == pytest.approx(found.per_frame_median.abs_rel, rel=1e-5)
    assert measured(name, scaled).per_sequence.abs_rel > found.per_sequence.abs_rel
    slow = [slow_abs_rel(d, g, ALL[name]) for _, d, g in pairs]
    assert found.per_frame_median.abs_rel == pytest.approx(sum(slow) / 3, rel=1e-5)


def slow_abs_rel(depth, truth, protocol) -> float:
    """The same again, pixel by pixel."""
    rows = [
        (d, g)
        for d, g in zip(depth.flatten().tolist(), truth.flatten().tolist(), strict=True)
        if d > 0 and g > 0 and protocol.nearest < g < protocol.farthest
    ]
    middle = [
        sorted(values)[len(rows) // 2] + sorted(values)[(len(rows) - 1) // 2] for values in zip(*rows, strict=True)
    ]
    low, high = protocol.clamp or (0.0, float("inf"))
    scaled = [(min(max(d * middle[1] / middle[0], low), high), g) for d, g in rows]
    return sum(abs(d - g) / g for d, g in scaled) / len(scaled)


def along(centres) -> RigidMotion:
    places = torch.tensor(centres, dtype=torch.float64)
    return RigidMotion(torch.eye(3, dtype=torch.float64).expand(len(places), 3, 3), -places)


def test_golden_five_errors_of_a_millimetre():
    assert summed_over_count(torch.ones(5)) == pytest.approx(0.4472, abs=1e-4)


def test_golden_snippets_of_a_line_with_one_frame_off():
    truth = [(float(x), 0.0, 0.0) for x in range(5)]
    found = ALL["scared-pose-af"].figures(along([(2 * x, y, z) for x, y, z in truth]), along(truth))
    assert found["ate"] == pytest.approx(0, abs=1e-12) and found["snippets"] == 3 and found["frames"] == 5
    off = [*truth[:4], (4.0, 3.0, 0.0)]
    # Snippets from frames 0, 1, 2: scales sum(pq) / sum(pp), p with the last place lifted by 3.
    expected = []
    for start in range(3):
        p = [(x - start, y) for x, y, _ in off[start:]]
        q = [x - start for x, _, _ in truth[start:]]
        s = sum(a * b for (a, _), b in zip(p, q, strict=True)) / sum(a * a + y * y for a, y in p)
        squares = sum((s * a - b) ** 2 + (s * y) ** 2 for (a, y), b in zip(p, q, strict=True))
        expected.append(sqrt(squares) / len(q))
    found = ALL["scared-pose-af"].figures(along(off), along(truth))
    assert found["ate"] == pytest.approx(sum(expected) / 3, rel=1e-9)
    assert found["ate"] < found["ate_rmse"]


def turned(angles) -> RigidMotion:
    """World from camera turned about z by these angles, the centres on a line."""
    z = torch.zeros(len(angles), dtype=torch.float64)
    half = torch.tensor(angles, dtype=torch.float64) / 2
    quaternion = torch.stack([half.cos(), z, z, half.sin()], 1)
    places = torch.stack([torch.arange(len(angles), dtype=torch.float64) * 10, z, z], 1)
    return RigidMotion.from_quaternion(quaternion, places).inverse()


def test_golden_rotations_of_snippets_are_means_and_of_simcol_medians():
    truth, estimate = turned([0.0, 0.0, 0.0]), turned([0.0, 0.1, 0.4])
    found = ALL["scared-pose-af"].figures(estimate, truth)
    assert found["rotation_rad"] == pytest.approx((0.1 + 0.4) / 3)
    found = ALL["simcol3d-pose"].figures(estimate, truth)  # steps are off by 0.1 and 0.3
    assert found["rot_deg"] == pytest.approx(torch.rad2deg(torch.tensor(0.2)).item(), rel=1e-5)


def test_golden_simcol_poses_have_one_scale_and_medians_in_cm():
    truth = along([(10.0 * n, 0, 0) for n in range(5)])
    found = ALL["simcol3d-pose"].figures(along([(5.0 * n + 3, 1, 1) for n in range(5)]), truth)
    assert found["scale"] == pytest.approx(2) and found["ate_cm"] == pytest.approx(0, abs=1e-12)
    # The last frame steps aside by 5: s = (3 * 100 + 100) / (3 * 100 + 125); all others keep a small error of scale.
    aside = along([(0, 0, 0), (10, 0, 0), (20, 0, 0), (30, 0, 0), (40, 5, 0)])
    found = ALL["simcol3d-pose"].figures(aside, truth)
    s = 400 / 425
    assert found["scale"] == pytest.approx(s)
    assert found["ate_cm"] == pytest.approx((1 - s) * 20 / 10) and found["rte_cm"] == pytest.approx((1 - s) * 10 / 10)
    assert ALL["path-1"].figures(aside, truth)["ate"] / 10 != pytest.approx(found["ate_cm"], rel=0.05)


def test_the_scale_of_a_path_drifts_by_what_its_second_half_is_stretched():
    truth = along([(float(n), 0, 0) for n in range(21)])
    even = along([(3.0 * n, 0, 0) for n in range(21)])
    assert scale_drift(even, truth, 10) == pytest.approx(0, abs=1e-12)
    stretched = along([(float(n if n <= 10 else 10 + 2 * (n - 10)), 0, 0) for n in range(21)])
    assert scale_drift(stretched, truth, 10) == pytest.approx(log(2))
    assert scale_drift(truth[:4], truth[:4], 10) is None


def test_no_two_protocols_have_one_name():
    names = [p.name for p in (*DEPTH_PROTOCOLS, *PATH_PROTOCOLS, *SURFACE_PROTOCOLS)]
    assert len(set(names)) == len(names) >= 15


@pytest.fixture
def folders(tmp_path):
    for name, factor in (("found", 0.5), ("true", 1.0)):
        (tmp_path / name / "depth").mkdir(parents=True)
        for n in range(3):
            depth = factor * (40 + n + torch.arange(48, dtype=torch.float32).reshape(6, 8))
            depth_maps.write(tmp_path / name / "depth" / f"{n:04d}.tiff", depth)
    return tmp_path


@pytest.mark.parametrize("name", ["dense-1", "phantom", "scared-af", "simcol3d", "hamlyn-edm", "c3vd-ppsnet", "servct"])
def test_every_protocol_leaves_what_the_contract_says(folders, name):
    out = folders / "out"
    given = ["evaluate", str(folders / "found"), str(folders / "true"), "--out", str(out), "--protocol", name]
    assert main(given) == 0
    found = json.loads((out / "result.json").read_text("utf-8"))
    assert found["protocol"] == name and found["frames"] == 3 and found["scale_drift"] == pytest.approx(0, abs=1e-6)
    for alignment in ("per_frame_median", "per_sequence"):
        assert set(found["alignment"][alignment]) == set(DepthMetrics.__dataclass_fields__)
        assert found["alignment"][alignment]["abs_rel"] == pytest.approx(0, abs=1e-6)
    assert ("metric" in found["alignment"]) == (name in ("phantom", "hamlyn-edm"))
    if "metric" in found["alignment"]:
        assert found["alignment"]["metric"]["abs_rel"] == pytest.approx(0.5)
    if name == "simcol3d":
        assert set(found["as_published"]) == {"l1_cm", "median_relative_percent", "rmse_cm"}


def test_metres_are_not_claimed_for_predictions_in_other_units(folders, capsys):
    (folders / "found" / "result.json").write_text(json.dumps({"unit": "sfm"}))
    given = ["evaluate", str(folders / "found"), str(folders / "true"), "--out", str(folders / "out"), "--protocol"]
    assert main([*given, "phantom"]) == 0
    assert "metric" not in json.loads((folders / "out" / "result.json").read_text("utf-8"))["alignment"]
    assert main([*given, "scared-challenge"]) == 2
    assert "millimetres" in capsys.readouterr().err


def test_an_unknown_protocol_lists_the_known_ones(folders, capsys):
    given = ["evaluate", str(folders / "found"), str(folders / "true"), "--out", str(folders / "out")]
    assert main([*given, "--protocol", "kitti"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "no protocol 'kitti'" in told
    assert all(name in told for name in (*ALL, "sfm-points-1", "auto"))
    assert not (folders / "out").exists()


def test_the_crop_of_another_size_is_told(folders, capsys):
    given = ["evaluate", str(folders / "found"), str(folders / "true"), "--out", str(folders / "out")]
    assert main([*given, "--protocol", "c3vd-endodac"]) == 2
    assert "1350 x 1080" in capsys.readouterr().err and not (folders / "out").exists()


def square(z: float, unit: str = "mm") -> Surface:
    points = torch.tensor([[0.0, 0, z], [10, 0, z], [10, 10, z], [0, 10, z]])
    return Surface(points, None, None, torch.tensor([[0, 1, 2], [0, 2, 3]]), unit)


def test_golden_parallel_squares_by_the_surface_protocols(tmp_path):
    ply.write(square(0.75), tmp_path / "found.ply")
    ply.write(square(0.0), tmp_path / "true.ply")
    given = ["evaluate", str(tmp_path / "found.ply"), str(tmp_path / "true.ply"), "--out", str(tmp_path / "out")]
    assert main(given) == 0
    found = json.loads((tmp_path / "out" / "result.json").read_text("utf-8"))
    assert found["protocol"] == "surface-1" and found["completeness_over"] == "all"
    for key in ("chamfer", "hausdorff", "hausdorff_p95"):
        assert found[key] == pytest.approx(0.75, abs=0.01)
    assert found["f_scores"] == {"0.5": 0.0, "1.0": 1.0, "2.0": 1.0}
    assert found["normal_consistency"] == pytest.approx(1) and found["facing"] == 1
    assert main([*given, "--protocol", "sinus-ct"]) == 0
    found = json.loads((tmp_path / "out" / "result.json").read_text("utf-8"))
    assert found["residual"]["mean"] == pytest.approx(0.75, abs=0.01)
    assert found["residual"]["std"] == pytest.approx(0, abs=0.01) and "completeness" not in found


def test_turned_faces_are_told_by_the_side_they_look_to(tmp_path):
    turned_over = replace(square(0.5), faces=square(0.5).faces.flip(1))
    found = ALL["surface-1"].figures(turned_over, square(0.0), None)
    assert found["normal_consistency"] == pytest.approx(1) and found["facing"] == 0


def test_a_path_as_a_file_against_another_one(tmp_path, capsys):
    rows = [(n, 10.0 * n, 5.0 * (n % 2), float(n * n)) for n in range(6)]
    for name, factor in (("found.txt", 0.5), ("true.txt", 1.0)):
        lines = (f"{n} {factor * x} {factor * y} {factor * z} 0 0 0 1" for n, x, y, z in rows)
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines))
    given = ["evaluate", str(tmp_path / "found.txt"), str(tmp_path / "true.txt"), "--out", str(tmp_path / "out")]
    assert main([*given, "--protocol", "path-1"]) == 0
    found = json.loads((tmp_path / "out" / "result.json").read_text("utf-8"))
    assert found["protocol"] == "path-1" and found["frames"] == 6 and found["registered_share"] == 1
    assert found["ate"] == pytest.approx(0, abs=1e-9) and found["scale"] == pytest.approx(2)
    assert found["scale_drift"] == pytest.approx(0, abs=1e-9) and found["relative"][0]["median_translation"] < 1e-9
    (tmp_path / "found.txt").write_text("".join(f"{n} {x} {y} {z} 0 0 0 1\n" for n, x, y, z in rows[:4]))
    assert main([*given, "--protocol", "simcol3d-pose"]) == 0
    found = json.loads((tmp_path / "out" / "result.json").read_text("utf-8"))
    assert found["frames"] == 4 and found["registered_share"] == pytest.approx(4 / 6)
    assert main([*given[:2], str(tmp_path / "true.txt"), *given[3:], "--protocol", "surface-1"]) == 2
    assert "error: " in capsys.readouterr().err
