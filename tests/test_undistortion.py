"""Undistorted frames: what a pixel shows lies where the pinhole says, and the mask knows what was never seen."""

import numpy as np
import pytest
import torch

from depthscope.errors import BadInputError
from depthscope.evaluation import DENSE
from depthscope.evaluation.depth_folders import at_pixels
from depthscope.formats import camera_file, depth_maps
from depthscope.geometry import Brown, Camera, KannalaBrandt, NoDistortion
from depthscope.geometry.depth import pixel_grid
from depthscope.video import undistorted, undistortion_maps


def test_a_spot_lands_where_the_pinhole_puts_it():
    camera = Camera((200, 160), (150.0, 150.0), (101.0, 79.5), Brown((-0.25, 0.05, 0.0, 0.0)))
    point = torch.tensor([[0.35, -0.25, 1.0]], dtype=torch.float64)
    y, x = torch.meshgrid(torch.arange(160) + 0.5, torch.arange(200) + 0.5, indexing="ij")
    u, v = camera.project(point)[0].tolist()
    spot = (
        (250 * torch.exp(-((x - u) ** 2 + (y - v) ** 2) / 18)).to(torch.uint8)[..., None].expand(-1, -1, 3).contiguous()
    )
    picture, target, seen = undistorted(spot, camera)
    weight = picture[..., 0].double()
    found = torch.stack([(weight * x).sum(), (weight * y).sum()]) / weight.sum()
    assert (found - target.project(point)[0]).abs().max() < 0.5
    assert (camera.project(point) - target.project(point)).norm() > 2  # or the test would see nothing
    assert target.distortion == NoDistortion() and bool(seen[80, 100])


def test_pixels_that_the_camera_never_saw_are_told():
    camera = Camera((200, 160), (150.0, 150.0), (100.0, 80.0), Brown((0.3, 0.0, 0.0, 0.0)))
    _, _, seen = undistorted(torch.full((160, 200, 3), 200, dtype=torch.uint8), camera)
    assert not bool(seen[0, 0]) and bool(seen[80, 100])


def test_maps_are_made_once_for_a_camera_and_cannot_be_changed():
    camera = Camera((64, 48), (60.0, 60.0), (32.0, 24.0), Brown((-0.2, 0.05, 0.0, 0.0)))
    first, again = (undistortion_maps(camera, camera.undistorted()) for _ in range(2))
    assert first[0] is again[0]
    with pytest.raises(ValueError, match="read-only"):
        first[0][0, 0] = 1.0
    other = Camera((64, 48), (60.0, 60.0), (32.0, 24.0), Brown((-0.1, 0.05, 0.0, 0.0)))
    assert not np.array_equal(undistortion_maps(other, other.undistorted())[0], first[0])


def test_truth_is_measured_where_predictions_lie(tmp_path):
    """A plane that a distorting camera recorded: right predictions, recorded or undistorted, have no error."""
    camera = Camera((120, 100), (70.0, 70.0), (60.0, 50.0), Brown((-0.2, 0.02, 0.0, 0.0)))
    normal = torch.tensor([0.5, 0.3, 1.0], dtype=torch.float64)
    pixels = pixel_grid(100, 120, torch.zeros(1, dtype=torch.float64)).reshape(-1, 2)

    def plane(seen_by: Camera) -> torch.Tensor:
        """z-depth of n.x = 10 along the rays (x, y, 1)."""
        rays = seen_by.unproject(pixels)
        return (10 / (rays / rays[:, 2:] @ normal)).reshape(100, 120).float()

    recorded, prediction, export = (tmp_path / name for name in ("recorded", "prediction", "export"))
    for folder, seen_by in ((recorded, camera), (prediction, camera), (export, camera.undistorted())):
        (folder / "depth").mkdir(parents=True)
        depth_maps.write(folder / "depth" / "0000.tiff", plane(seen_by))
    camera_file.write(camera, recorded / "camera.yaml")
    camera_file.write(camera.undistorted(), export / "camera.yaml")
    as_recorded, _ = at_pixels(prediction, recorded, DENSE)
    assert as_recorded.per_frame_median.abs_rel == 0
    unsaid, _ = at_pixels(export, recorded, DENSE)  # taken for maps on the recorded frame
    (export / "result.json").write_text('{"undistorted": true, "depth": "z", "unit": "sfm"}')
    said, _ = at_pixels(export, recorded, DENSE)
    assert said.per_frame_median.abs_rel < 1e-3 < 20e-3 < unsaid.per_frame_median.abs_rel


def test_distances_along_the_ray_are_compared_with_distances(tmp_path):
    """Maps of a wide lens hold distances and say so; the truth holds z."""
    camera = Camera((120, 100), (50.0, 50.0), (60.0, 50.0), KannalaBrandt((0.01, 0.0, 0.0, 0.0)))
    z = 5 + torch.rand(100, 120, generator=torch.Generator().manual_seed(0))
    recorded, prediction = tmp_path / "recorded", tmp_path / "prediction"
    for folder, depth in ((recorded, z), (prediction, (z / camera.rays[..., 2]).float())):
        (folder / "depth").mkdir(parents=True)
        depth_maps.write(folder / "depth" / "0000.tiff", depth)
    camera_file.write(camera, recorded / "camera.yaml")
    (prediction / "result.json").write_text('{"undistorted": false, "depth": "distance"}')
    found, figures = at_pixels(prediction, recorded, DENSE)
    assert found.per_frame_median.abs_rel < 1e-6 and figures["depth"] == "distance"
    (prediction / "result.json").write_text('{"undistorted": false, "depth": "z"}')
    wrong, figures = at_pixels(prediction, recorded, DENSE)
    assert wrong.per_frame_median.abs_rel > 0.1
    assert "fits better as distance along the ray" in figures["warnings"][0]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ('{"depth": "sideways"}', "sideways.*z or distance"),
        ('{"undistorted": true}', "undistorted; expected their camera"),
    ],
)
def test_what_maps_cannot_be_is_told(tmp_path, said, words):
    (tmp_path / "result.json").write_text(said)
    with pytest.raises(BadInputError, match=words):
        depth_maps.grid_of(tmp_path)


def test_truth_that_is_not_of_its_camera_is_told(tmp_path):
    (tmp_path / "depth").mkdir()
    depth_maps.write(tmp_path / "depth" / "0000.tiff", torch.ones(10, 20))
    camera_file.write(Camera((40, 20), (30.0, 30.0), (20.0, 10.0)), tmp_path / "camera.yaml")
    with pytest.raises(BadInputError, match="20 x 10 pixels; expected 40 x 20"):
        depth_maps.true_maps(tmp_path)["0000"]
