"""Prediction: depth lands on the right pixels of the whole frame, in the right unit, with what belongs to it."""

import math
from dataclasses import replace
from pathlib import Path

import cv2
import pytest
import torch

from depthscope.errors import BadInputError
from depthscope.formats import camera_file, depth_maps
from depthscope.geometry import Brown, Camera, KannalaBrandt
from depthscope.geometry.depth import pixel_grid
from depthscope.pipeline.recordings import open_recording, with_scale_of
from depthscope.prediction import (
    DepthMap,
    Recording,
    along_axis,
    cloud,
    frame_scales,
    in_world,
    load_model,
    points_of,
    predict,
    sampled_at,
    undistorted_map,
)
from depthscope.recipes import FAST, to_yaml
from depthscope.training import BEST, LAST, save_checkpoint
from depthscope.video import write_video
from tiny_runs import TINY, TUBE, Wall, tube_clip, wall_run

SIZE = (96, 80)
BOX = (16, 8, 80, 56)  # the shape of the network's 40 x 30 pixels
WALL = Wall(inverse=0.4, across=0.3, down=-0.2)
CAMERA = Camera(SIZE, (80.0, 82.0), (47.0, 41.0))


def content() -> torch.Tensor:
    left, top, right, bottom = BOX
    mask = torch.zeros(SIZE[1], SIZE[0], dtype=torch.bool)
    mask[top:bottom, left:right] = True
    return mask


def frames(count: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (count, SIZE[1], SIZE[0], 3), generator=torch.Generator().manual_seed(0)).byte()


def recording(mask=None, camera=CAMERA, **fields) -> Recording:
    return Recording(("a", "b", "c"), iter(frames()), SIZE, camera, content() if mask is None else mask, **fields)


def true_depth(pixels: torch.Tensor, wall: Wall = WALL) -> torch.Tensor:
    """Depth of the wall at pixels of the whole frame."""
    left, top, right, bottom = BOX
    share = (pixels - pixels.new_tensor([left, top])) / pixels.new_tensor([right - left, bottom - top])
    return 1 / (wall.inverse + wall.across * share[..., 0] + wall.down * share[..., 1])


def grid_of(depth: torch.Tensor) -> torch.Tensor:
    """The pixel centres of a result in pixels of the whole frame."""
    height, width = depth.shape
    return pixel_grid(height, width, depth) * depth.new_tensor([SIZE[0] / width, SIZE[1] / height])


def inside(pixels: torch.Tensor, rim: float) -> torch.Tensor:
    """Which pixels of the whole frame lie this far within the content."""
    left, top, right, bottom = BOX
    low, high = pixels.new_tensor([left, top]), pixels.new_tensor([right, bottom])
    return ((pixels > low + rim) & (pixels < high - rim)).all(-1)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(wall_run(tmp_path_factory.mktemp("wall"), WALL))


@pytest.fixture(scope="module")
def maps(model):
    return list(predict(model, recording(), batch=2))


def test_depth_covers_the_whole_frame_and_nothing_outside_the_content(maps):
    assert [depth_map.name for depth_map in maps] == ["a", "b", "c"]
    for depth_map in maps:
        assert depth_map.depth.shape == (50, 60)  # 96 x 80 at the network's scale of 40 / 64
        assert depth_map.image.shape == (50, 60, 3)
        assert depth_map.camera.size_px == (60, 50)
        pixels = grid_of(depth_map.depth)
        assert bool((depth_map.depth[inside(pixels, 0)] > 0).all())
        # The mask of a resized frame is widened by a pixel, so that no depth at its rim is mixed with 0.
        assert not bool(depth_map.depth[~inside(pixels, -2 * 1.6)].any())
        assert not bool(depth_map.content[~inside(pixels, 0)].any())


def test_depth_stands_at_the_right_pixels(maps):
    pixels = grid_of(maps[0].depth)
    well_inside = inside(pixels, 2 * 1.6)  # the network's own rim pixel takes the value of its neighbour
    assert int(well_inside.sum()) > 800
    # Bilinear in inverse depth is exact on a plane; single precision.
    torch.testing.assert_close(maps[0].depth[well_inside], true_depth(pixels)[well_inside], atol=1e-5, rtol=0)
    rim = (maps[0].depth > 0) & ~well_inside
    # A pixel to each side at a slope of at most 0.3 over 40 pixels in inverse depth, where depth is at most 5.
    assert float((1 / maps[0].depth - 1 / true_depth(pixels))[rim].abs().max()) < 3 * 0.3 / 40 + 3 * 0.2 / 30


def test_depth_between_pixels_is_that_of_the_wall(maps):
    points = torch.rand(50, 2, generator=torch.Generator().manual_seed(1)) * torch.tensor([50.0, 34.0])
    points = points + torch.tensor([BOX[0] + 6.0, BOX[1] + 6.0])
    at_result = points * 60 / 96
    torch.testing.assert_close(
        sampled_at(maps[0].depth[None], at_result[None])[0], true_depth(points), rtol=1e-3, atol=0
    )


def test_a_network_may_return_plain_depth(tmp_path, maps):
    plain = load_model(wall_run(tmp_path, replace(WALL, plain=True)))
    (first, *_) = predict(plain, recording())
    torch.testing.assert_close(first.depth, maps[0].depth, rtol=1e-6, atol=1e-6)  # exp(log(x)) in single precision


def test_the_batch_does_not_matter(model, maps):
    for one, other in zip(predict(model, recording(), batch=3), maps, strict=True):
        assert torch.equal(one.depth, other.depth) and torch.equal(one.image, other.image)


def test_standard_deviation_grows_with_depth(tmp_path, maps):
    assert maps[0].std is None
    telling = load_model(wall_run(tmp_path, replace(WALL, log_std=math.log(0.1))))
    (first, *_) = predict(telling, recording())
    torch.testing.assert_close(first.std, 0.1 * first.depth, rtol=1e-5, atol=0)  # single precision


def test_clouds_lie_on_the_wall(maps):
    surface = cloud(maps[0])
    assert len(surface.points) == int(maps[0].content.sum()) and surface.unit == "relative"
    assert torch.equal(surface.colours, maps[0].image[maps[0].content])
    assert len(cloud(maps[0], stride=4).points) < len(surface.points) / 12
    # 1/z affine in the pixel is a plane: 1 = n X. Fitted to three far points, and then all of them must obey it.
    shrunk = cloud(replace(maps[0], content=maps[0].content & inside(grid_of(maps[0].depth), 2 * 1.6))).points
    normal = torch.linalg.lstsq(shrunk.double(), torch.ones(len(shrunk), 1).double()).solution
    assert float((shrunk.double() @ normal - 1).abs().max()) < 1e-5  # single precision
    pixels = CAMERA.project(shrunk.double())
    torch.testing.assert_close(shrunk[:, 2], true_depth(pixels).float(), rtol=1e-4, atol=0)  # 1e-5 px of slope


@pytest.mark.parametrize(
    ("lens", "kind"),
    [(Brown((-0.2, 0.02, 0.001, -0.001)), "z"), (KannalaBrandt((0.0, 0.0, 0.0, 0.0)), "distance")],
    ids=["brown", "fisheye200"],
)
def test_depth_lies_on_the_recorded_pixels_of_any_lens(model, lens, kind):
    """Every recorded pixel has depth, the frame is not resampled for its lens, and the cloud lies on its rays."""
    focal = 80.0 if kind == "z" else 27.5  # 200 degrees across
    camera = Camera(SIZE, (focal, focal), (47.0, 41.0), lens)
    whole = torch.ones(80, 96, dtype=torch.bool)
    (first, *_) = predict(model, recording(camera=camera, mask=whole))
    (plain, *_) = predict(model, recording(camera=None, mask=whole))
    assert torch.equal(first.image, plain.image) and bool((first.depth > 0).all())
    assert first.camera == camera.resized((first.depth.shape[1], first.depth.shape[0])) and first.kind == kind
    surface = cloud(first)
    assert len(surface.points) == int(first.content.sum()) > 0.85 * first.content.numel()
    back = first.camera.project(surface.points.double())
    at = back.floor().long()
    assert torch.equal(first.image[at[:, 1], at[:, 0]], surface.colours)


def test_frames_without_a_camera_give_depth_but_no_cloud(model, maps):
    (first, *_) = predict(model, recording(camera=None))
    assert torch.equal(first.depth, maps[0].depth)
    assert first.camera is None
    with pytest.raises(BadInputError, match="--camera"):
        cloud(first)


# --- scale


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip") / "tube"
    return folder, tube_clip(folder)


def test_every_frame_is_brought_to_its_points(tmp_path, clip):
    flat = load_model(wall_run(tmp_path, Wall(inverse=0.25), (64, 56)))
    maps = list(predict(flat, Recording.of_sequence(clip[1]), scaled=True))
    assert len(maps) == 8 and {depth_map.unit for depth_map in maps} == {"mm"}
    for number, depth_map in enumerate(maps):
        height, width = depth_map.depth.shape
        pixels, sparse = points_of(clip[1], number, (width, height))
        found = sampled_at(depth_map.depth[None], pixels[None].float())[0]
        ratio = (found / sparse)[found > 0].sort().values
        assert float(ratio[len(ratio) // 2]) == pytest.approx(1, abs=0.02)
        # The network says nothing but "a flat wall": what is right beyond that is the points' own.
        wall = (sparse.median() / sparse - 1).abs().mean()
        assert float((ratio - 1).abs().mean()) < 0.4 * float(wall)


def test_a_true_map_in_another_unit_comes_back_in_that_of_its_points(clip):
    folder, sequence = clip
    truth = torch.stack([depth_maps.read(folder / "depth" / f"{name}.tiff") for name in sequence.frame_names])
    factors = frame_scales(truth / 7, sequence, range(8), (96, 80))
    torch.testing.assert_close(factors, torch.full((8,), 7.0), rtol=0.01, atol=0)  # depth_noise of the points is 1 %


def test_a_cloud_in_the_world_lies_around_the_points_of_the_sequence(clip):
    folder, sequence = clip
    (first, *_) = predict_truth(folder, sequence)
    surface = in_world(cloud(first), sequence.camera_from_world[0])
    wall = TUBE.wall()
    assert float(wall.field(surface.points.double()).abs().quantile(0.9)) < 1e-3  # in mm: float32 TIFF of 30 mm


def predict_truth(folder, sequence):
    """The true depth as if it had been predicted."""
    from depthscope.prediction import DepthMap
    from depthscope.video import read_image

    for name, path in zip(sequence.frame_names, sequence.images, strict=True):
        depth = depth_maps.read(folder / "depth" / f"{name}.tiff")
        yield DepthMap(name, depth, None, depth > 0, read_image(path), sequence.cameras[0], "mm")


def test_a_frame_without_points_is_told_where_scale_is_asked_for(tmp_path, clip):
    sequence = clip[1].with_observations(clip[1].observations.frame != 3)
    flat = load_model(wall_run(tmp_path, Wall(), (64, 56)))
    with pytest.raises(BadInputError, match="frame 0003 has no sparse point"):
        list(predict(flat, Recording.of_sequence(sequence), scaled=True))
    with pytest.raises(BadInputError, match="--sequence"):
        list(predict(flat, recording(), scaled=True))


# --- what frames come from


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "frames"
    place.mkdir()
    for number, frame in zip((1, 2, 10), frames(), strict=True):
        cv2.imwrite(str(place / f"frame {number}.png"), frame.numpy()[..., ::-1])
    return place


def test_an_image_folder(folder, tmp_path, model, maps):
    camera_file.write(CAMERA, tmp_path / "camera.yaml")
    cv2.imwrite(str(tmp_path / "mask.png"), content().numpy().astype("uint8") * 255)
    opened = open_recording(folder, tmp_path / "camera.yaml", tmp_path / "mask.png")
    assert opened.names == ("frame 1", "frame 2", "frame 10")
    for one, other in zip(predict(model, opened), maps, strict=True):
        assert torch.equal(one.depth, other.depth) and torch.equal(one.image, other.image)


def test_a_video(tmp_path, model):
    video = write_video(tmp_path / "clip.mp4", frames(5), fps=10)
    opened = open_recording(video, None, None)
    assert opened.names == ("000000", "000001", "000002", "000003", "000004")
    found = list(predict(model, opened, batch=2))
    assert len(found) == 5 and {tuple(m.depth.shape) for m in found} == {(30, 36)}  # 96 x 80 fitted into 40 x 30


def scope_frames(place: Path, saturated: bool = False) -> tuple[Path, torch.Tensor]:
    """A folder of pictures of a scope with a disc, and the disc; near tissue at its lower rim may be white."""
    from moving_pictures import disc, pan

    inside = disc()
    place.mkdir()
    for number, frame in enumerate(pan(12, inside=inside)):
        if saturated:
            frame[150:][inside[150:]] = 255
        cv2.imwrite(str(place / f"{number:03d}.png"), frame[..., ::-1])
    return place, torch.from_numpy(inside)


@pytest.mark.parametrize("saturated", [False, True])
@pytest.mark.parametrize("kind", ["folder", "video"])
def test_the_disc_of_a_plain_recording_is_found_and_no_depth_lies_outside(tmp_path, kind, saturated):
    from depthscope.video import read_image

    source, inside = scope_frames(tmp_path / "scope", saturated)
    if kind == "video":
        frames = [read_image(path) for path in sorted(source.iterdir())]
        source = write_video(tmp_path / "scope.mp4", frames, fps=10)
    opened = open_recording(source, None, None)
    assert opened.mask is not None
    agreed = (opened.mask & inside).sum() / (opened.mask | inside).sum()
    assert agreed > 0.97, "saturated tissue is tissue"
    found = list(predict(load_model(wall_run(tmp_path, Wall(), (64, 48))), opened))
    assert len(found) == 12 and any("circle" in note for note in opened.notes)
    depth = found[0].depth
    shown = torch.nn.functional.interpolate(inside[None, None].float(), depth.shape, mode="area")[0, 0]
    assert bool((depth[shown > 0.5] > 0).all()), "depth everywhere in the disc"
    grown = torch.nn.functional.max_pool2d(shown[None], 5, 1, 2)[0]
    assert bool((depth[grown == 0] == 0).all()), "and nowhere else"


def test_a_camera_of_stored_pixels_goes_with_an_anamorphic_video(tmp_path):
    from fractions import Fraction

    from moving_pictures import pan
    from test_video_containers import anamorphic

    video = anamorphic(tmp_path / "a.mp4", pan(3), Fraction(64, 45))
    stored = Camera((320, 240), (300.0, 420.0), (160.0, 120.0))
    camera_file.write(stored, tmp_path / "camera.yaml")
    opened = open_recording(video, tmp_path / "camera.yaml", None)
    assert opened.size_px == (455, 240) == opened.camera.size_px
    assert opened.camera.focal_px == pytest.approx((300.0 * 455 / 320, 420.0))
    assert len(list(opened.frames)) == 3 and any("not square" in note for note in opened.notes)


def test_frames_of_different_sizes_are_told(folder, model):
    cv2.imwrite(str(folder / "frame 2.png"), frames()[0, :70].numpy())
    with pytest.raises(BadInputError, match="frame 2.* 96 x 70 .*96 x 80"):
        list(predict(model, open_recording(folder, None, None)))


def test_two_images_of_one_name_are_told(folder):
    cv2.imwrite(str(folder / "frame 2.jpg"), frames()[0].numpy())
    with pytest.raises(BadInputError, match="two images called frame 2"):
        open_recording(folder, None, None)


def test_a_camera_or_mask_of_another_size_is_told(folder, tmp_path):
    camera_file.write(replace(CAMERA, size_px=(80, 96)), tmp_path / "camera.yaml")
    with pytest.raises(BadInputError, match="camera.yaml is for"):
        open_recording(folder, tmp_path / "camera.yaml", None)
    cv2.imwrite(str(tmp_path / "mask.png"), frames()[0, :70].numpy())
    with pytest.raises(BadInputError, match="mask.png is 96 x 70"):
        open_recording(folder, None, tmp_path / "mask.png")


@pytest.mark.parametrize("shown", [0, 1])
def test_a_mask_that_hides_everything_is_told(folder, tmp_path, model, shown):
    mask = content() & False
    mask[20, 20 : 20 + shown] = True
    cv2.imwrite(str(tmp_path / "mask.png"), mask.numpy().astype("uint8") * 255)
    with pytest.raises(BadInputError, match="mask|content"):
        list(predict(model, open_recording(folder, None, tmp_path / "mask.png")))


def test_a_sequence_of_other_frames_is_told(clip):
    with pytest.raises(BadInputError, match="--sequence has 8 frames and the input 3"):
        with_scale_of(recording(), clip[1])


# --- checkpoints


def test_the_best_checkpoint_is_taken_unless_the_last_is_asked_for(tmp_path):
    run = wall_run(tmp_path, WALL)
    assert load_model(run).source == run / BEST
    (run / BEST).rename(run / LAST)
    assert load_model(run).source == load_model(run, last=True).source == run / LAST
    assert load_model(run / LAST).recipe.network == WALL
    with pytest.raises(BadInputError, match="is missing"):
        load_model(tmp_path / "nowhere")


def test_a_checkpoint_that_does_not_fit_is_told(tmp_path):
    path = tmp_path / "x.pt"
    weights = TINY.network.build().state_dict()
    for content, told in (
        ({"network": weights, "recipe": to_yaml(FAST)}, "does not fit its recipe"),
        ({"network": weights}, "names no recipe"),
        ({"recipe": to_yaml(TINY)}, "holds no weights"),
        ({"network": weights, "recipe": to_yaml(TINY).replace("levels:", "stages:")}, "unknown key 'network.stages'"),
    ):
        save_checkpoint(path, content)
        with pytest.raises(BadInputError, match=told) as caught:
            load_model(path)
        assert "\n" not in str(caught.value)
    save_checkpoint(path, {"network": weights, "recipe": to_yaml(TINY)})
    assert load_model(path).divisor == 8
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(BadInputError, match="cannot be read"):
        load_model(path)


# --- sizes, exports, lenses that end


def fisheye(field_deg: float = 150.0) -> Camera:
    focal = SIZE[0] / math.radians(field_deg)
    return Camera(SIZE, (focal, focal), (48.0, 40.0), KannalaBrandt((0.0, 0.0, 0.0, 0.0)))


def test_full_size_maps_are_of_the_frame(model, maps):
    (first, *_) = predict(model, recording(), full_size=True)
    assert first.depth.shape == (80, 96) and torch.equal(first.image, frames()[0]) and first.camera == CAMERA
    assert torch.equal(first.depth > 0, first.depth.isfinite() & (first.depth > 0))
    pixels = grid_of(first.depth)
    well = inside(pixels, 6.0)
    torch.testing.assert_close(first.depth[well], true_depth(pixels)[well], rtol=0.03, atol=0)


def wall_seen(camera: Camera) -> torch.Tensor:
    """Distance along the rays of a camera to the wall 0.2 x + 0.1 y + z = 5, 0 beyond 30."""
    distance = 5 / (camera.rays @ torch.tensor([0.2, 0.1, 1.0], dtype=torch.float64))
    return torch.where((distance > 0) & (distance < 30), distance, 0.0).float()


@pytest.mark.parametrize("field_deg", [60.0, 120.0])
def test_an_undistorted_export_shows_the_wall_as_a_pinhole_does(field_deg):
    camera = fisheye().resized((192, 160))
    depth = wall_seen(camera)
    image = torch.zeros(160, 192, 3, dtype=torch.uint8)
    given = DepthMap("a", depth, 0.1 * depth, depth > 0, image, camera, "sfm", "distance")
    made, share = undistorted_map(given, field_deg)
    assert made.kind == "z" and made.camera.model == "pinhole" and made.image.shape[:2] == made.depth.shape
    rays = made.camera.unproject(pixel_grid(*made.depth.shape, torch.zeros(1, dtype=torch.float64)))
    true = 5 / (rays @ torch.tensor([0.2, 0.1, 1.0], dtype=torch.float64))
    known = made.depth > 0
    assert known.double().mean() > 0.95 and float(((made.depth - true).abs() / true)[known].max()) < 5e-3
    torch.testing.assert_close(made.std[known], 0.1 * made.depth[known], rtol=1e-2, atol=0)
    width = made.camera.size_px[0]
    assert 2 * math.degrees(math.atan(width / 2 / made.camera.focal_px[0])) == pytest.approx(field_deg)
    assert 0.1 < share < 0.9  # of the content; a pinhole never keeps all of such a lens


def disc_of(camera: Camera, angle_deg: float) -> torch.Tensor:
    """Pixels whose ray is within this angle of the axis."""
    return camera.rays[..., 2] > math.cos(math.radians(angle_deg))


@pytest.mark.parametrize(("seen_deg", "kind"), [(85.0, "z"), (88.5, "distance")])
def test_maps_are_handed_out_as_z_unless_the_content_reaches_too_far_from_the_axis(seen_deg, kind):
    camera = Camera(SIZE, (27.5, 27.5), (47.0, 41.0), KannalaBrandt((0.0, 0.0, 0.0, 0.0)))
    content = disc_of(camera, seen_deg)
    distance = torch.where(content, 5.0, 0.0)
    image = torch.zeros(80, 96, 3, dtype=torch.uint8)
    given = DepthMap("a", distance, 0.1 * distance, content, image, camera, "sfm", "distance")
    made = along_axis(given)
    assert made.kind == kind and bool(((made.depth > 0) == content).all())
    if kind == "z":
        z = 5 * camera.rays[..., 2]
        torch.testing.assert_close(made.depth[content], z[content].float())
        torch.testing.assert_close(made.std, 0.1 * made.depth)
        torch.testing.assert_close(cloud(made).points, cloud(given).points)


@pytest.mark.parametrize("field_deg", [180.0, 200.0, 5.0, float("nan")])
def test_a_pinhole_of_180_degrees_is_refused(field_deg):
    camera = fisheye()
    depth = wall_seen(camera)
    given = DepthMap("a", depth, None, depth > 0, torch.zeros(80, 96, 3, dtype=torch.uint8), camera, "sfm", "distance")
    with pytest.raises(BadInputError, match="infinitely wide at 180"):
        undistorted_map(given, field_deg)
    with pytest.raises(BadInputError, match="give --camera"):
        undistorted_map(replace(given, camera=None), 90.0)


def test_a_lens_that_folds_inside_the_content_is_told_and_gives_no_depth_there(model):
    folding = Camera(SIZE, (60.0, 60.0), (48.0, 40.0), Brown((-0.45, 0.0, 0.0, 0.0)))
    whole = torch.ones(80, 96, dtype=torch.bool)
    given = recording(camera=folding, mask=whole)
    (first, *_) = predict(model, given)
    assert len(given.notes) == 1 and "no ray for" in given.notes[0] and "folds" in given.notes[0]
    assert float(first.depth[15, 18]) > 0 and float(first.depth[0, 0]) == 0
    outside = torch.zeros(80, 96, dtype=torch.bool)
    outside[:14, :] = True
    outside[:, 22:74] = False
    with pytest.raises(BadInputError, match="within the range of the lens; check the mask and the camera"):
        next(iter(predict(model, recording(camera=folding, mask=outside))))
