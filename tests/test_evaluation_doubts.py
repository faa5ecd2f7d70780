"""What evaluate tells beside the errors: the scale it applied, units that cannot be, distances in place of depth."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from depthscope.agreement import ray_lengths
from depthscope.cli import main
from depthscope.errors import BadInputError
from depthscope.evaluation import DEPTH_PROTOCOLS, along_ray, along_ray_at
from depthscope.evaluation.depth_folders import at_pixels, at_pixels_of_split, at_points, rays_at_points
from depthscope.evaluation.frame_names import same_frames
from depthscope.evaluation.unit_mistakes import scale_warning
from depthscope.formats import camera_file, depth_maps, read_sequence, read_truth
from depthscope.geometry import Camera
from miniatures.dataset_folders import (
    truth_of,
    write_hamlyn,
    write_nerfstudio,
    write_scared,
    write_servct,
    write_simcol3d,
)
from miniatures.jhu_folder import write_jhu
from miniatures.kitti_folder import DAY, DRIVE, LIDAR_AHEAD_M, write_lidar, write_raw
from miniatures.scene import SIZE

DENSE = DEPTH_PROTOCOLS[0]
WIDE = Camera((80, 60), (40.0, 40.0), (41.0, 29.0))


def wall(tilt: float = 0.3) -> torch.Tensor:
    """Depth of a tilted wall, in mm."""
    lengths = ray_lengths(WIDE)
    x = torch.arange(80, dtype=torch.float64).expand(60, 80)
    return (40 + tilt * x + 0 * lengths).float()


def predicted(folder: Path, maps: dict[str, torch.Tensor], unit: str = "mm") -> Path:
    (folder / "depth").mkdir(parents=True)
    for name, depth in maps.items():
        depth_maps.write(folder / "depth" / f"{name}.tiff", depth)
    (folder / "result.json").write_text(json.dumps({"unit": unit}))
    return folder


def result(prediction: Path, truth: Path, out: Path) -> dict:
    assert main(["evaluate", str(prediction), str(truth), "--out", str(out)]) == 0
    return json.loads((out / "result.json").read_text("utf-8"))


def test_the_scale_is_stored_and_told_and_doubted_in_mm(tmp_path, capsys):
    write_scared(tmp_path / "clip")
    clip = read_truth(tmp_path / "clip")
    maps = {name: clip.depth_of(n) for n, name in enumerate(clip.frame_names)}
    half = predicted(tmp_path / "half", {name: depth / 2 for name, depth in maps.items()})
    found = result(half, tmp_path / "clip", tmp_path / "out")
    assert found["scale"]["per_sequence"] == pytest.approx(2) and found["warnings"] == []
    assert found["scale"]["per_frame_median"]["least"] == pytest.approx(2)
    assert found["depth_agreement"] < 0.01
    shown = " ".join(capsys.readouterr().out.split())
    assert "scaled by 2, frame by frame by 2 to 2" in shown and "differs between its frames by" in shown
    metres = predicted(tmp_path / "metres", {name: depth / 1000 for name, depth in maps.items()})
    found = result(metres, tmp_path / "clip", tmp_path / "out")
    assert found["scale"]["per_sequence"] == pytest.approx(1000) and "metres and millimetres" in found["warnings"][0]
    assert "warning: both say mm" in capsys.readouterr().out
    (metres / "result.json").write_text(json.dumps({"unit": "sfm"}))
    assert result(metres, tmp_path / "clip", tmp_path / "out")["warnings"] == []


def test_truth_that_contradicts_its_poses_is_told(tmp_path, capsys):
    write_scared(tmp_path / "clip")
    clip = read_truth(tmp_path / "clip")
    maps = {name: clip.depth_of(n) for n, name in enumerate(clip.frame_names)}
    for path in (tmp_path / "clip/data/frame_data").iterdir():
        entry = json.loads(path.read_text("utf-8"))
        entry["camera-pose"] = np.linalg.inv(np.array(entry["camera-pose"])).tolist()
        path.write_text(json.dumps(entry))
    found = result(predicted(tmp_path / "p", maps), tmp_path / "clip", tmp_path / "out")
    assert len(found["warnings"]) == 1 and "poses inverted" in found["warnings"][0]
    assert "warning: depth maps of different frames" in capsys.readouterr().out
    assert main(["inspect", str(tmp_path / "clip"), "--out", str(tmp_path / "verdict")]) in (0, 2, 3)
    assert "poses inverted" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("scale", "words"),
    [(1.0, None), (2.9, None), (1 / 2.9, None), (3.2, ""), (10.3, "centimetres"), (1 / 990, "metres and mill"),
     (250.0, "256"), (655.0, "16-bit levels"), (50.0, "")],
)  # fmt: skip
def test_only_factors_beyond_three_are_doubted(scale, words):
    found = scale_warning(scale)
    assert found == [] if words is None else (len(found) == 1 and "both say mm" in found[0] and words in found[0])


@pytest.mark.parametrize("which", ["PREDICTION", "TRUTH", None])
def test_distances_are_told_and_it_is_told_whose(tmp_path, which, capsys):
    z, lengths = wall(), ray_lengths(WIDE).float()
    generator = torch.Generator().manual_seed(0)
    maps = {f"{n:03d}": z * (1 + 0.01 * torch.randn(60, 80, generator=generator)) for n in range(3)}
    truth = predicted(tmp_path / "t", dict.fromkeys(maps, z * lengths if which == "TRUTH" else z))
    camera_file.write(WIDE, truth / "camera.yaml")
    along = {name: depth * lengths for name, depth in maps.items()} if which == "PREDICTION" else maps
    found = result(predicted(tmp_path / "p", along), truth, tmp_path / "out")
    if which is None:
        assert found["warnings"] == [] and found["along_ray"]["as_read"] < 0.01
    else:
        assert found["warnings"][0].startswith(f"{which} fits better as distance along the ray")
        assert "fits better as distance" in capsys.readouterr().out


def scared(place: Path) -> Path:
    write_scared(place)
    return place


def hamlyn(place: Path) -> Path:
    write_hamlyn(place)
    return place


def servct(place: Path) -> Path:
    write_servct(place)
    return place


def nerfstudio(place: Path) -> Path:
    write_nerfstudio(place)
    return place


def simcol3d(place: Path) -> Path:
    place.mkdir()
    return write_simcol3d(place)[0]


def annotated_kitti(place: Path) -> Path:
    write_raw(place)
    maps = place / DAY / DRIVE / "proj_depth/groundtruth/image_02"
    maps.mkdir(parents=True)
    for number, depth in enumerate(truth_of().depth):  # a mm becomes a decimetre: a street, not a cavity
        assert cv2.imwrite(str(maps / f"{number:010d}.png"), np.round(depth / 10 * 256).astype(np.uint16))
    return place / DAY / DRIVE


def lidar_kitti(place: Path) -> Path:
    """A sparse scan, 8 to 40 m away, in the lower half of the frames."""
    write_raw(place)
    rows, columns = range(SIZE[1] // 2, SIZE[1] - 2, 3), range(3, SIZE[0] - 3, 2)
    write_lidar(place, [(c + 1, r + 1, 8 + 32 * (SIZE[1] - r) / SIZE[1]) for r in rows for c in columns])
    return place / DAY / DRIVE


WITH_DEPTH = (scared, hamlyn, servct, nerfstudio, simcol3d, annotated_kitti, lidar_kitti)


@pytest.mark.parametrize("along", [True, False])
@pytest.mark.parametrize("make", WITH_DEPTH, ids=lambda make: make.__name__)
def test_distances_are_told_whatever_the_truth_is_stored_as(tmp_path, make, along):
    """Depth maps of every layout, and points of a lidar, which lie sparse and count from the lidar."""
    clip = read_truth(folder := make(tmp_path / "clip"))
    assert clip.cameras is not None
    behind = 1000 * LIDAR_AHEAD_M if make is lidar_kitti else 0.0  # published figures compare with the lidar's own
    lengths = ray_lengths(clip.cameras[0]).float() if along else torch.ones(())
    generator, maps = torch.Generator().manual_seed(0), {}
    for number, name in enumerate(clip.frame_names):
        z = (clip.depth_of(number) - behind).clamp_min(0)
        maps[name] = z * lengths * (1 + 0.01 * torch.randn(z.shape, generator=generator))
    prediction = predicted(tmp_path / "p", maps, "relative")
    _, beside = at_pixels(prediction, folder, DENSE)
    assert beside["along_ray"]["as_read"] is not None
    found = [warning for warning in beside["warnings"] if "distance along the ray" in warning]
    assert bool(found) == along and all(warning.startswith("PREDICTION fits better") for warning in found)


def test_a_truth_of_kitti_along_the_ray_is_told(tmp_path):
    drive = annotated_kitti(tmp_path / "clip")
    clip = read_truth(drive)
    assert clip.cameras is not None
    maps = {name: clip.depth_of(number) for number, name in enumerate(clip.frame_names)}
    lengths = ray_lengths(clip.cameras[0]).numpy()
    for path in (drive / "proj_depth/groundtruth/image_02").iterdir():
        levels = np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)) * lengths
        assert cv2.imwrite(str(path), np.round(levels).astype(np.uint16))
    _, beside = at_pixels(predicted(tmp_path / "p", maps, "relative"), drive, DENSE)
    assert [warning[:5] for warning in beside["warnings"]] == ["TRUTH"]


def test_distances_are_told_over_a_list_of_drives_with_lidar(tmp_path):
    drive = lidar_kitti(tmp_path / "kitti")
    clip = read_truth(drive)
    assert clip.cameras is not None
    lengths = ray_lengths(clip.cameras[0]).float()
    maps = {name: clip.depth_of(number) * lengths for number, name in enumerate(clip.frame_names)}
    predicted(tmp_path / "p" / DAY / DRIVE, maps, "relative")
    split = tmp_path / "test_files.txt"
    split.write_text("\n".join(f"{DAY}/{DRIVE} {number} l" for number in range(len(clip))))
    _, beside = at_pixels_of_split(tmp_path / "p", tmp_path / "kitti", split, DENSE)
    assert [warning[:10] for warning in beside["warnings"]] == ["PREDICTION"]


@pytest.mark.parametrize("which", ["PREDICTION", None])
def test_distances_are_told_at_the_points_of_structure_from_motion_too(tmp_path, which):
    write_jhu(tmp_path / "clip")
    clip = read_sequence(tmp_path / "clip", "world_from_camera")
    wide = replace(clip.cameras[0], focal_px=(150.0, 150.0))  # the same points, seen by a wider lens
    clip = replace(clip, cameras=(wide,) * len(clip))
    maps, (width, height) = {}, wide.size_px
    for number, name in enumerate(clip.frame_names):
        points = clip.observed_points[clip.observations.frame == number]
        column, row = wide.project(points).floor().long().T
        depth = torch.zeros(height, width)
        value = points.norm(dim=-1) if which else points[:, 2]
        for down in range(-2, 3):  # a patch, so that sampling between pixels finds the value itself
            for right in range(-2, 3):
                depth[(row + down).clamp(0, height - 1), (column + right).clamp(0, width - 1)] = value.float()
        maps[name] = depth
    folder = predicted(tmp_path / "p", maps) / "depth"
    found = along_ray_at(rays_at_points(depth_maps.listed(folder), clip))
    assert found.as_read is not None
    assert found.warning.startswith("PREDICTION fits better as distance") if which else found.warning == ""


def test_a_bad_prediction_is_not_called_a_distance():
    """Depth that bends the other way than the truth, as a network that knows nothing of the rim predicts it."""
    z, lengths = wall(), ray_lengths(WIDE)
    flat = torch.full_like(z, 50.0) + 3 * torch.randn(60, 80, generator=torch.Generator().manual_seed(1))
    assert along_ray([("a", flat, wall(1.5))], lambda _: lengths).warning == ""


def test_counts_from_zero_and_from_one_are_not_paired():
    truths, maps = [f"frame_{n:04d}" for n in range(1, 6)], [f"{n:06d}" for n in range(5)]
    with pytest.raises(BadInputError, match="count from 1, those of PREDICTION .* from 0"):
        same_frames(truths, maps)
    assert same_frames(truths, maps[1:]) == {f"frame_{n:04d}": f"{n:06d}" for n in range(1, 5)}
    assert same_frames(["0003_depth", "0004_depth"], ["3_color", "4_color"])["0004_depth"] == "4_color"


def test_a_dataset_is_matched_by_number_where_names_differ(tmp_path):
    write_scared(tmp_path / "clip")
    clip = read_truth(tmp_path / "clip")
    for path in (tmp_path / "clip/image_02/data").iterdir():
        if path.stem not in ("0000000002", "0000000005"):
            path.unlink()
    maps = {f"frame_{n + 1:04d}": clip.depth_of(n) for n in range(6)}
    found = result(predicted(tmp_path / "p", maps), tmp_path / "clip", tmp_path / "out")
    assert found["frames"] == 2 and found["alignment"]["per_sequence"]["abs_rel"] < 1e-6
    assert found["scale"]["per_sequence"] == pytest.approx(1)


def test_the_truth_in_another_unit_than_its_layout_is_refused(tmp_path, capsys):
    truth = write_hamlyn(tmp_path / "clip")
    for path in (tmp_path / "clip/depth01").iterdir():
        cv2.imwrite(str(path), (np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), float) * 256).astype(np.uint16))
    maps = {f"{n:010d}": torch.from_numpy(depth).float() for n, depth in enumerate(truth.depth)}
    prediction = predicted(tmp_path / "p", maps)
    assert main(["evaluate", str(prediction), str(tmp_path / "clip"), "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert "depth01" in told and "in another unit" in told and told.count("\n") == 1


@pytest.mark.parametrize("aligned", [True, False])
def test_maps_that_were_brought_to_the_points_are_not_judged_at_them_unsaid(tmp_path, aligned):
    write_jhu(tmp_path / "clip")
    clip = read_sequence(tmp_path / "clip", "world_from_camera")
    width, height = clip.size_px
    place = predicted(
        tmp_path / "p", {name: torch.full((height, width), 50.0) for name in clip.frame_names}, "relative"
    )
    (place / "result.json").write_text(json.dumps({"unit": "relative", "aligned_to_points": aligned}))
    _, beside = at_points(place / "depth", tmp_path / "clip", None, gap=1)
    assert any("these very points: give --run" in warning for warning in beside["warnings"]) == aligned


def test_points_are_matched_by_number_where_names_differ(tmp_path):
    write_jhu(tmp_path / "clip")
    clip = read_sequence(tmp_path / "clip", "world_from_camera")
    width, height = clip.size_px
    numbers = [int(name[-4:]) for name in clip.frame_names]
    maps = {name: torch.full((height, width), 50.0 + n) for n, name in enumerate(clip.frame_names)}
    same, _ = at_points(predicted(tmp_path / "p", maps, "relative") / "depth", tmp_path / "clip", None, gap=1)
    renamed = {f"{number:09d}": depth for number, depth in zip(numbers, maps.values(), strict=True)}
    found, _ = at_points(predicted(tmp_path / "q", renamed, "relative") / "depth", tmp_path / "clip", None, gap=1)
    assert found.rows == same.rows and found.frames == len(clip)


# Maps that are wrong as a whole


def refused(prediction: Path, truth: Path, out: Path, capsys, *words: str) -> None:
    capsys.readouterr()
    assert main(["evaluate", str(prediction), str(truth), "--out", str(out)]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and all(word in told for word in words), told


def noisy(depth: torch.Tensor) -> torch.Tensor:
    return depth * (1 + 0.01 * torch.randn(depth.shape, generator=torch.Generator().manual_seed(0)))


def test_disparities_are_told(tmp_path):
    truth = predicted(tmp_path / "t", {"a": wall()})
    found = result(predicted(tmp_path / "p", {"a": 1 / noisy(wall())}, "relative"), truth, tmp_path / "out")
    assert [warning[:39] for warning in found["warnings"]] == ["PREDICTION fits better as inverse depth"]
    flat = predicted(tmp_path / "f", {"a": noisy(torch.full((60, 80), 50.0))}, "relative")  # knows nothing either way
    assert result(flat, truth, tmp_path / "out")["warnings"] == []
    assert result(predicted(tmp_path / "g", {"a": noisy(wall())}), truth, tmp_path / "out")["warnings"] == []


def test_maps_of_another_shape_are_told_and_turned_ones_refused(tmp_path, capsys):
    truth = predicted(tmp_path / "t", {"a": wall()})
    turned = predicted(tmp_path / "turned", {"a": wall().T.contiguous()})
    refused(turned, truth, tmp_path / "out", capsys, "a.tiff is 60 x 80 pixels", "80 x 60", "transpose")
    square = predicted(tmp_path / "square", {"a": torch.full((64, 64), 50.0)})
    found = result(square, truth, tmp_path / "out")
    assert len(found["warnings"]) == 1 and "stretched to it by different factors" in found["warnings"][0]
    smaller = predicted(tmp_path / "smaller", {"a": noisy(wall())[::4, ::4].contiguous()})
    assert result(smaller, truth, tmp_path / "out")["warnings"] == []


@pytest.mark.parametrize("value", [0.0, -5.0, float("nan")])
def test_maps_without_any_depth_are_named(tmp_path, value, capsys):
    truth, empty = predicted(tmp_path / "t", {"a": wall()}), torch.full((60, 80), value)
    nothing = predicted(tmp_path / "nothing", {"a": empty})
    refused(nothing, truth, tmp_path / "out", capsys, "nothing: no map has a depth above 0", "negative and NaN")
    refused(predicted(tmp_path / "p", {"a": wall()}), nothing, tmp_path / "out", capsys, "nothing: no map has")
    halves = wall(), wall()
    halves[0][:30], halves[1][30:] = 0, 0
    one, other = (predicted(tmp_path / f"half{n}", {"a": half}) for n, half in enumerate(halves))
    refused(one, other, tmp_path / "out", capsys, "no pixel has depth in both", "half0", "half1")


def test_what_is_no_folder_of_maps_is_called_by_what_it_is(tmp_path, capsys):
    good, png = predicted(tmp_path / "good", {"a": wall()}), tmp_path / "png"
    png.mkdir()
    assert cv2.imwrite(str(png / "a.png"), np.zeros((60, 80), np.uint16))
    refused(
        png, good, tmp_path / "out", capsys, "png holds no depth maps that are read, but 1 files like a.png", "level"
    )
    refused(good, png, tmp_path / "out", capsys, "png holds no depth maps that are read")
    assert any("is PREDICTION and TRUTH" in note for note in result(good, good, tmp_path / "same")["notes"])
    refused(tmp_path / "no", good, tmp_path / "out", capsys, "PREDICTION", "no is missing")
    refused(good, tmp_path / "no", tmp_path / "out", capsys, "TRUTH", "no is missing")
    refused(good, png / "a.png", tmp_path / "out", capsys, "a.png is a file", "true depth")


def test_a_protocol_of_another_data_set_is_told(tmp_path):
    write_scared(tmp_path / "clip")
    clip = read_truth(tmp_path / "clip")
    maps = {name: clip.depth_of(n) for n, name in enumerate(clip.frame_names)}
    prediction = predicted(tmp_path / "p", maps)
    named = {protocol.name: protocol for protocol in DEPTH_PROTOCOLS}
    _, beside = at_pixels(prediction, tmp_path / "clip", named["hamlyn-edm"])
    assert beside["warnings"][0].startswith("protocol hamlyn-edm is for another data set than SCARED")
    for own in ("scared-af", "dense-1"):
        assert at_pixels(prediction, tmp_path / "clip", named[own])[1]["warnings"] == []
