"""From a sequence to supervision: Eq. 1, soft masks, pairs, the window, the store of frames, what is held out."""

import importlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

import depthscope.supervision.store as store_module
from depthscope.errors import BadInputError
from depthscope.geometry import Brown, Camera, KannalaBrandt, RigidMotion, Similarity
from depthscope.sequence import Observations, Sequence
from depthscope.supervision import Holdout, PairRule, Supervision, clip, network_size
from depthscope.supervision.clip import held_out, padded
from depthscope.supervision.confidence import (
    ImageMotion,
    RayAngles,
    accumulated_motion_px,
    accumulated_parallax_rad,
)
from depthscope.supervision.pairs import pair_table, pairs_to_draw
from depthscope.supervision.point_filter import light_outliers
from depthscope.supervision.sparse_depth import raster, soft_mask, sparse_depth
from depthscope.supervision.store import frame_store
from depthscope.supervision.view import through, view_of
from depthscope.supervision.visibility import widened, within
from depthscope.video.windows import content_box, fitting_size
from scenes import F64, camera_of, motion, stacked, tensor, tiny_sequence


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Sequence:
    return tiny_sequence(tmp_path_factory.mktemp("tiny"), keep=0.8)


# Eq. 1 and 2


@given(st.integers(0, 10_000))
def test_sparse_depth_and_soft_mask_equal_a_loop_in_which_the_nearer_wins(seed):
    random = np.random.default_rng(seed)
    pixels = torch.tensor(random.uniform(-1.5, 6.5, (30, 2)))
    pixels[0] = float("nan")
    depth, confidence = torch.tensor(random.uniform(-0.5, 3, 30)), torch.tensor(random.random(30))
    mask = torch.tensor(random.random((4, 5)) < 0.8)
    expected, expected_mask = np.zeros((4, 5)), np.zeros((4, 5))
    for (x, y), z, c in zip(pixels.tolist(), depth.tolist(), confidence.tolist(), strict=True):
        if z <= 0 or not (0 <= x < 5 and 0 <= y < 4):
            continue
        column, row = int(x), int(y)
        if expected[row, column] == 0 or z < expected[row, column]:
            expected[row, column], expected_mask[row, column] = z, c
    assert np.array_equal(sparse_depth(pixels, depth, (5, 4)).numpy(), expected)
    assert np.array_equal(soft_mask(pixels, confidence, depth, (5, 4)).numpy(), expected_mask)
    assert np.array_equal(sparse_depth(pixels, depth, (5, 4), mask).numpy(), np.where(mask, expected, 0))


def test_a_raster_of_nothing_is_empty():
    empty = torch.zeros(0, dtype=F64)
    assert raster(torch.zeros(0, 2, dtype=F64), empty, empty, (3, 2)).tolist() == [[0, 0, 0], [0, 0, 0]]


point_confidence = RayAngles()


def arc(tracks: list[list[int]], angle: float = 0.05) -> Sequence:
    """Cameras on a line before points at depth 1: each step turns the ray to a point near the axis by about `angle`."""
    frames = 1 + max(max(t) for t in tracks)
    moves = stacked(*(motion(shift=(-angle * (i - frames / 2), 0, 0)) for i in range(frames)))
    rows = [(f, p) for p, track in enumerate(tracks) for f in track]
    frame, point = torch.tensor(rows).unbind(-1)
    points = torch.stack([tensor(0, 0.01 * p, 1) for p in range(len(tracks))])
    images = tuple(Path(f"{i}.png") for i in range(frames))
    return Sequence("arc", images, (camera_of(),) * frames, moves, points, Observations(frame, point))


def test_parallax_is_the_sum_of_angles_between_neighbours_of_a_track():
    sequence = arc([[0, 1, 2, 5], [1, 3]])
    found = accumulated_parallax_rad(sequence)
    for p, track in enumerate([[0, 1, 2, 5], [1, 3]]):
        total = 0.0
        for a, b in zip(track, track[1:], strict=False):
            u, v = (sequence.points[p] - sequence.camera_centres[f] for f in (a, b))
            total += float(torch.arccos(u @ v / (u.norm() * v.norm())))
        assert float(found[p]) == pytest.approx(total, rel=1e-9)  # arccos loses half the digits of 0.05


def test_confidence_grows_with_the_track_and_with_parallax_up_to_the_cap():
    longer = arc([[0, 2], [0, 1, 2], [0, 1, 2, 3], [0, 1, 2, 3, 4], *[list(range(9))] * 8])
    c = point_confidence(longer)
    # The last eight points are alike but for where they stand: they hold the cap, give or take a little of their angle.
    assert c[0] < c[1] < c[2] < c[3] < c[4:].min()
    assert c.max() == 1
    assert c[0] / c[1] == pytest.approx(2 / 3, rel=1e-3)  # the same arc, two frames of three
    wider = arc([[0, 1], [0, 2], [0, 4], *[list(range(9))] * 8])
    c = point_confidence(wider)
    assert c[0] < c[1] < c[2]
    assert c[1] / c[0] == pytest.approx(2, rel=0.05)  # twice the angle: the arc is nearly flat


def test_c1_confidence_does_not_depend_on_world_resolution_direction_of_time_or_order(tiny):
    c = point_confidence(tiny)
    assert ((c > 0) & (c <= 1)).all()
    assert c.std() > 0.05
    moved = tiny.moved(Similarity(torch.tensor(0.02, dtype=F64), motion((1, 2, 0.5), (9, 8, 7))))
    assert torch.allclose(point_confidence(moved), c, 0, 1e-9)
    shrunk = replace(tiny, cameras=tuple(camera.resized((32, 24)) for camera in tiny.cameras))
    assert torch.equal(point_confidence(shrunk), c)
    last = len(tiny) - 1
    reversed_ = replace(
        tiny,
        images=tiny.images[::-1],
        cameras=tiny.cameras[::-1],
        camera_from_world=tiny.camera_from_world[torch.arange(last, -1, -1)],
        observations=replace(tiny.observations, frame=last - tiny.observations.frame),
    )
    assert torch.allclose(point_confidence(reversed_), c, 0, 1e-12)
    order = torch.randperm(len(tiny.points), generator=torch.Generator().manual_seed(0))
    number = torch.argsort(order)
    shuffled_rows = torch.randperm(len(tiny.observations), generator=torch.Generator().manual_seed(1))
    observations = replace(tiny.observations, point=number[tiny.observations.point])[shuffled_rows]
    permuted = replace(tiny, points=tiny.points[order], observations=observations)
    assert torch.allclose(point_confidence(permuted), c[order], 0, 1e-12)


@pytest.mark.parametrize("quantile", [0.75, 0.5, 1.0])
def test_the_cap_is_the_stated_quantile_of_support(tiny, quantile):
    """Here c = min(1, n a / q) with q that quantile, found here by counting: it falls between two ranked points."""
    support = sorted((tiny.seen.sum(0) * accumulated_parallax_rad(tiny)).tolist())
    place = quantile * (len(support) - 1)
    low, high = support[int(place)], support[min(int(place) + 1, len(support) - 1)]
    limit = low + (place - int(place)) * (high - low)
    c = RayAngles(quantile)(replace(tiny, point_error_px=None))
    expected = torch.tensor([min(1.0, s / limit) for s in support], dtype=F64)
    assert torch.allclose(c.sort().values, expected, 0, 1e-12)
    assert RayAngles() == RayAngles(0.75)
    with pytest.raises(BadInputError, match="quantile"):
        RayAngles(0.0)


def test_c_as_the_paper_words_it_is_the_path_of_the_projections_times_the_track(tiny):
    tracks = [[0, 1, 2, 5], [1, 3], [0, 5]]
    sequence = arc(tracks)
    zoomed = replace(sequence.cameras[0], focal_px=(41.0, 43.0))  # frames may have cameras of their own
    sequence = replace(sequence, cameras=(*sequence.cameras[:3], zoomed, *sequence.cameras[4:]))
    support = []
    for p, track in enumerate(tracks):
        pixels = []
        for frame in track:
            x, y, z = sequence.camera_from_world[frame].apply(sequence.points[p]).tolist()
            (fx, fy), (cx, cy) = sequence.cameras[frame].focal_px, sequence.cameras[frame].centre_px
            pixels.append((fx * x / z + cx, fy * y / z + cy))
        path = sum(((a - c) ** 2 + (b - d) ** 2) ** 0.5 for (a, b), (c, d) in zip(pixels, pixels[1:], strict=False))
        support.append(len(track) * path)
    expected = torch.tensor(support, dtype=F64) / max(support)
    assert torch.allclose(ImageMotion()(sequence), expected, 0, 1e-9)
    c = ImageMotion()(tiny)
    assert float(c.max()) == 1 and bool((c > 0).all()) and int((c == 1).sum()) == 1  # no cap
    assert torch.equal(ImageMotion()(replace(tiny, point_error_px=torch.ones(len(tiny.points), dtype=F64))), c)


def test_a_turning_camera_adds_to_the_papers_c_and_not_to_ours():
    still = arc([[0, 1, 2]] * 4)
    turns = stacked(*(motion((0, 0.05 * i, 0)) for i in range(3)))
    turning = replace(still, camera_from_world=turns @ still.camera_from_world)
    assert torch.allclose(accumulated_parallax_rad(turning), accumulated_parallax_rad(still), 0, 1e-12)
    assert float((accumulated_motion_px(turning) - accumulated_motion_px(still)).abs().min()) > 1


def test_which_c_is_an_option(tmp_path):
    sequence = tiny_sequence(tmp_path / "images")
    ours, papers = (made(sequence, tmp_path / "store", confidence=form) for form in (RayAngles(), ImageMotion()))
    assert not torch.equal(ours.points.weight, papers.points.weight)
    assert torch.equal(ours.points.pixels, papers.points.pixels)


def test_a_large_reprojection_error_lowers_confidence():
    sequence = arc([[0, 1, 2]] * 5)
    plain = point_confidence(sequence)
    c = point_confidence(replace(sequence, point_error_px=tensor(1, 1, 1, 3, 30)))
    assert torch.allclose(c[:4] / plain[:4], tensor(0.9, 0.9, 0.9, 0.5), 0, 1e-12)  # 1 / (1 + (e / 3 median)^2)
    assert c[4] < 0.01
    exact = replace(sequence, point_error_px=torch.zeros(5, dtype=F64))
    assert torch.equal(point_confidence(exact), plain)


def test_c1_a_camera_that_only_turns_is_an_error(tiny):
    centre = tensor(0.3, 0.1, -0.2)
    turns = [motion((0, -0.03 * i, 0.01 * i)) for i in range(6)]
    turning = stacked(*(RigidMotion(m.rotation, -m.rotation @ centre) for m in turns))
    pure = replace(tiny, camera_from_world=turning)
    assert accumulated_parallax_rad(pure).max() < 1e-12
    with pytest.raises(BadInputError, match="no parallax; expected a camera that moves"):
        point_confidence(pure)
    with pytest.raises(BadInputError, match="no parallax"):  # though the projections move
        ImageMotion()(pure)


def test_padded_lists_hold_each_frames_points_and_weight_0_beyond():
    frame = torch.tensor([2, 0, 2, 0, 2])
    values = torch.arange(5, dtype=F64) + 1
    points = padded(frame, torch.stack([values, -values], -1), 10 * values, 0.1 * values, 4)
    assert points.depth.tolist() == [[20, 40, 1], [1, 1, 1], [10, 30, 50], [1, 1, 1]]
    assert torch.allclose(points.weight[[0, 2]], torch.tensor([[0.2, 0.4, 0], [0.1, 0.3, 0.5]]))
    assert (points.weight[[1, 3]] == 0).all()
    assert points.pixels[0].tolist() == [[2, -2], [4, -4], [0.5, 0.5]]
    empty = padded(frame[:0], torch.zeros(0, 2, dtype=F64), values[:0], values[:0], 3)
    assert empty.weight.tolist() == [[0], [0], [0]]


# Pairs


def test_pairs_obey_every_part_of_the_rule(tiny):
    rule = PairRule(min_gap=2, max_gap=3, min_points=41, min_parallax_deg=4.65)
    everything = []
    for j in range(len(tiny)):
        for k in range(j + 2, min(j + 4, len(tiny))):
            both = (tiny.seen[j] & tiny.seen[k]).nonzero().flatten().tolist()
            angles = []
            for p in both:
                u, v = (tiny.points[p] - tiny.camera_centres[f] for f in (j, k))
                angles.append(float(torch.rad2deg(torch.arccos(u @ v / (u.norm() * v.norm())))))
            everything.append((j, k, len(both), sorted(angles)[(len(angles) - 1) // 2]))
    pairs, shared, parallax = pair_table(tiny, rule)
    found = sorted(
        (j, k, n, round(a, 3)) for (j, k), n, a in zip(pairs.tolist(), shared.tolist(), parallax.tolist(), strict=True)
    )
    assert found == [(j, k, n, round(a, 3)) for j, k, n, a in sorted(everything)]
    good = sorted((j, k) for j, k, n, a in everything if n >= 41 and a >= 4.65)
    assert 0 < len(good) < len(everything)
    assert {n >= 41 for *_, n, _ in everything} == {a >= 4.65 for *_, a in everything} == {True, False}
    assert sorted(map(tuple, pairs_to_draw(tiny, rule).tolist())) == good


def test_frames_of_a_camera_that_dwells_are_no_pair(tiny):
    resting = stacked(*(tiny.camera_from_world[i] for i in (0, 0, 0, 5, 5, 5)))
    dwelling = replace(tiny, camera_from_world=resting)
    pairs = {tuple(p) for p in pairs_to_draw(dwelling, PairRule(min_points=1)).tolist()}
    assert pairs
    assert all(j < 3 <= k for j, k in pairs)


def test_no_pair_is_an_error_that_names_the_best(tiny):
    with pytest.raises(BadInputError, match=r"best pair shares \d+ points at .* degrees.*min_points"):
        pairs_to_draw(tiny, PairRule(min_points=10_000))
    with pytest.raises(BadInputError, match="it has no pair"):
        pairs_to_draw(tiny, PairRule(min_gap=20))


@pytest.mark.parametrize(
    "options", [{"min_gap": 0}, {"min_gap": 5, "max_gap": 4}, {"min_points": 0}, {"min_parallax_deg": 90.0}]
)
def test_rules_without_sense_are_told(options):
    with pytest.raises(BadInputError, match="pairs"):
        PairRule(**options)


# Widened visibility


def test_widening_adds_frames_around_the_track_where_the_point_is_shown():
    straight = stacked(*(motion(shift=(-0.05 * i, 0, 0)) for i in range(7)))
    points = tensor([0.1, 0.1, 2], [0.1, -0.1, 2], [-1.05, 0.0, 2])  # the last one leaves the image to the left
    rows = torch.tensor([(3, 0), (4, 0), (0, 1), (1, 1), (0, 2), (1, 2)])
    images = tuple(Path(f"{i}.png") for i in range(7))
    sequence = Sequence("line", images, (camera_of(),) * 7, straight, points, Observations(*rows.unbind(-1)))
    wide = widened(sequence, 2).seen
    assert wide[:, 0].nonzero().flatten().tolist() == [1, 2, 3, 4, 5, 6]
    assert wide[:, 1].nonzero().flatten().tolist() == [0, 1, 2, 3]
    inside = sequence.cameras[0].project(sequence.camera_from_world[2].apply(points[2]))[0] >= 0
    assert not inside
    assert wide[:, 2].nonzero().flatten().tolist() == [0, 1]
    assert widened(sequence, 0) is sequence
    mask = torch.ones(48, 64, dtype=torch.bool)
    mask[28:] = False  # the lower of the points, y = 0.1, is at row 25; y = -0.1 above it
    mask[24:28] = False
    masked = widened(replace(sequence, mask=mask), 2).seen
    assert masked[:, 0].nonzero().flatten().tolist() == [3, 4]  # a track is kept as SfM has it
    assert masked[:, 1].nonzero().flatten().tolist() == [0, 1, 2, 3]


def test_the_image_begins_at_0_and_ends_before_its_width(tiny):
    width, height = tiny.size_px
    pixels = tensor(
        [0.0, 0.0], [width - 1e-6, height - 1e-6], [float(width), 1.0], [1.0, float(height)], [-1e-6, 1.0], [1.0, -1e-6]
    )
    assert within(replace(tiny, mask=None), pixels).tolist() == [True, True, False, False, False, False]


def test_widening_drops_a_point_behind_another():
    still = stacked(*(motion(shift=(-0.02 * i, 0, 0)) for i in range(4)))
    points = tensor([0, 0, 1.0], [-0.005, 0, 1.5], [0.1, 0, 1.5], [0, 0.01, 1.08])
    images = tuple(Path(f"{i}.png") for i in range(4))
    rows = torch.tensor([(f, 0) for f in range(4)] + [(f, p) for p in (1, 2, 3) for f in (0, 1)])
    sequence = Sequence("two", images, (camera_of(320, 240),) * 4, still, points, Observations(*rows.unbind(-1)))
    wide = widened(sequence, 2).seen
    pixels = sequence.cameras[0].project(still.unsqueeze(1).apply(points))
    assert (pixels[2:, 1] - pixels[2:, 0]).norm(dim=-1).max() < 8 < (pixels[2:, 2] - pixels[2:, 0]).norm(dim=-1).min()
    assert wide[:, 1].tolist() == [True, True, False, False]  # 50 % behind the first, a few pixels beside it
    assert wide[:, 2].all()  # as far behind, but well beside it
    assert wide[:, 3].all()  # 8 % behind it: the same surface


# The window


MASK = torch.zeros(48, 64, dtype=torch.bool)
MASK[4:40, 10:58] = True


@pytest.mark.parametrize("lens", [None, Brown((-0.2, 0.02, 0.001, 0.0)), KannalaBrandt((0.02, 0.0, 0.0, 0.0))])
@pytest.mark.parametrize("size", [(32, 32), (48, 16), (96, 64)])
def test_a_point_through_the_window_is_where_the_windows_camera_sees_it(lens, size):
    camera = camera_of() if lens is None else camera_of(distortion=lens)
    view = view_of(camera, content_box(MASK, camera.size_px), size)
    points = tensor([0.1, 0.2, 1], [-0.5, 0.1, 2], [0, 0, 1])
    assert torch.allclose(view.camera.project(points), through(view, camera.project(points)), 0, 1e-10)
    assert view.camera.size_px == size
    box = tensor(10, 4), tensor(58, 40)
    corners = [through(view, corner) for corner in box]
    assert (corners[0] >= -0.51 * tensor(*size) / tensor(*view.window_px)).all()  # the window begins at whole pixels
    assert (corners[1] <= (tensor(*size) + 0.51 * tensor(*size) / tensor(*view.window_px))).all()


def test_the_box_and_the_size_follow_the_content():
    assert content_box(None, (64, 48)) == (0, 0, 64, 48)
    assert content_box(MASK, (64, 48)) == (10, 4, 58, 40)
    width, height = fitting_size((0, 0, 1200, 900), 40_000, 16)
    assert (width % 16, height % 16) == (0, 0)
    assert width / height == pytest.approx(4 / 3, rel=0.1)  # to the next multiple of 16
    assert width * height == pytest.approx(40_000, rel=0.15)
    with pytest.raises(BadInputError, match="use a smaller size"):
        view_of(camera_of(), (0, 0, 64, 48), (512, 384))


def blobs(camera: Camera, points: torch.Tensor, sigma: float = 2.5) -> np.ndarray:
    """White spots at the projections of points, on black."""
    width, height = camera.size_px
    y, x = np.mgrid[:height, :width] + 0.5
    image = np.zeros((height, width))
    for u, v in camera.project(points).tolist():
        image += np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * sigma**2))
    return np.repeat((np.clip(image, 0, 1) * 255).round().astype(np.uint8)[..., None], 3, -1)


LENSES = {
    "brown": Brown((-0.25, 0.05, 0.001, -0.001)),
    "fisheye": KannalaBrandt((0.02, -0.01, 0.0, 0.0)),
    "none": None,
}


@pytest.mark.parametrize("lens", LENSES.values(), ids=LENSES.keys())
@pytest.mark.parametrize("size", [(160, 120), (400, 300)], ids=["shrunk", "grown"])
def test_spots_of_a_recorded_frame_lie_where_the_windows_camera_projects_them(lens, size):
    camera = Camera((320, 240), (260.0, 262.0), (157.3, 122.1))
    camera = camera if lens is None else replace(camera, distortion=lens)
    x, y = torch.meshgrid(
        torch.linspace(-0.45, 0.45, 5, dtype=F64), torch.linspace(-0.32, 0.32, 4, dtype=F64), indexing="xy"
    )
    points = torch.stack([x, y, torch.ones_like(x)], -1).reshape(-1, 3)
    view = view_of(camera, (6, 5, 314, 236), size)
    image = view.image(blobs(camera, points), camera)[..., 0].astype(float)
    assert image.shape == size[::-1]
    rows, columns = np.mgrid[: size[1], : size[0]] + 0.5
    for u, v in view.camera.project(points).tolist():
        weight = image * (np.hypot(columns - u, rows - v) < 9 * size[0] / 320)
        found = (weight * columns).sum() / weight.sum(), (weight * rows).sum() / weight.sum()
        assert np.hypot(found[0] - u, found[1] - v) < 0.1  # bytes, OpenCV's 1/32 px, and the curvature of the lens


def test_a_frame_whose_centre_differs_is_moved_to_the_windows_camera():
    camera = Camera((320, 240), (260.0, 262.0), (157.3, 122.1))
    other = replace(camera, centre_px=(161.3, 119.1))
    points = tensor([0.1, 0.05, 1])
    view = view_of(camera, (0, 0, 320, 240), (320, 240))
    image = view.image(blobs(other, points), other)[..., 0].astype(float)
    rows, columns = np.mgrid[:240, :320] + 0.5
    found = tensor((image * columns).sum() / image.sum(), (image * rows).sum() / image.sum())
    assert (found - camera.project(points)[0]).norm() < 0.1


def test_the_mask_shows_only_what_is_wholly_tissue_and_shrinks():
    view = view_of(camera_of(), (0, 0, 64, 48), (32, 24))
    seen = view.mask(MASK, camera_of(), 0)
    expected = torch.zeros(24, 32, dtype=torch.bool)
    expected[2:20, 5:29] = True
    assert torch.equal(seen, expected)
    shrunk = view.mask(MASK, camera_of(), 2)
    expected[:] = False
    expected[4:18, 7:27] = True
    assert torch.equal(shrunk, expected)
    odd = torch.zeros(48, 64, dtype=torch.bool)
    odd[3:41, 9:59] = True  # half pixels of the shrunk image are not wholly tissue
    assert torch.equal(view.mask(odd, camera_of(), 0), seen)
    whole = view.mask(None, camera_of(), 1)
    assert torch.equal(whole[1:-1, 1:-1], torch.ones(22, 30, dtype=torch.bool))
    assert not whole[0].any()
    beyond = view_of(camera_of(), (0, 0, 64, 48), (32, 32))  # taller than the frame: black above and below
    assert torch.equal(beyond.mask(None, camera_of(), 0).any(1), (torch.arange(32) >= 4) & (torch.arange(32) < 28))


# The store of frames


def counted(monkeypatch) -> list:
    """The images that are decoded from now on."""
    decoded, original = [], store_module.read_image
    monkeypatch.setattr(store_module, "read_image", lambda path: decoded.append(path) or original(path))
    return decoded


def test_the_store_is_written_once_and_made_again_when_an_image_changes(tmp_path, monkeypatch):
    sequence = tiny_sequence(tmp_path / "images")
    view = view_of(sequence.cameras[0], (0, 0, 64, 48), (64, 48))
    decoded = counted(monkeypatch)
    first = frame_store(sequence, view, 1, tmp_path / "store")
    assert decoded == list(sequence.images)
    assert first.frames.shape == (6, 48, 64, 3)
    for frame, path in zip(first.frames, sequence.images, strict=True):
        assert np.array_equal(frame.numpy(), cv2.imread(str(path))[..., ::-1])
    again = frame_store(sequence, view, 1, tmp_path / "store")
    assert len(decoded) == 6
    assert torch.equal(again.frames, first.frames)
    assert again.key == first.key

    cv2.imwrite(str(sequence.images[2]), np.full((48, 64, 3), 77, np.uint8))
    changed = frame_store(sequence, view, 1, tmp_path / "store")
    assert len(decoded) == 12
    assert changed.key != first.key
    assert (changed.frames[2] == 77).all()
    assert torch.equal(changed.frames[3], first.frames[3])
    smaller = frame_store(sequence, view_of(sequence.cameras[0], (0, 0, 64, 48), (32, 24)), 1, tmp_path / "store")
    assert smaller.key != changed.key


def test_a_moved_folder_of_the_same_images_needs_no_new_store(tmp_path, monkeypatch):
    sequence = tiny_sequence(tmp_path / "here")
    view = view_of(sequence.cameras[0], (0, 0, 64, 48), (64, 48))
    frame_store(sequence, view, 1, tmp_path / "store")
    (tmp_path / "here").rename(tmp_path / "there")
    decoded = counted(monkeypatch)
    moved = replace(sequence, images=tuple(tmp_path / "there" / path.name for path in sequence.images))
    frame_store(moved, view, 1, tmp_path / "store")
    assert decoded == []


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.unlink(), "003.png cannot be read"),
        (lambda path: path.write_bytes(b"no image"), "003.png"),
        (lambda path: cv2.imwrite(str(path), np.zeros((24, 32, 3), np.uint8)), "003.png is 32 x 24 pixels; .*64 x 48"),
    ],
    ids=["missing", "damaged", "size"],
)
def test_a_bad_image_is_told_and_nothing_is_left_behind(tmp_path, damage, words):
    sequence = tiny_sequence(tmp_path / "images")
    damage(sequence.images[3])
    view = view_of(sequence.cameras[0], (0, 0, 64, 48), (64, 48))
    with pytest.raises(BadInputError, match=words):
        frame_store(sequence, view, 1, tmp_path / "store")
    assert list((tmp_path / "store").rglob("*")) == []


def test_a_mask_that_erosion_empties_is_told(tmp_path):
    mask = torch.zeros(48, 64, dtype=torch.bool)
    mask[20:24, 20:24] = True
    sequence = tiny_sequence(tmp_path, mask=mask)
    view = view_of(sequence.cameras[0], (0, 0, 64, 48), (64, 48))
    with pytest.raises(BadInputError, match="shrunk by 3 px; .*erosion_px"):
        frame_store(sequence, view, 3, tmp_path / "store")


# The filter by light


def lit(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two frames lit from the camera (brightness 1 / (4 z^2)), points on them and their depth."""
    x = torch.linspace(0, 1, 64)
    depth = (0.8 + 0.7 * x)[None, None].expand(2, 48, 64)
    frames = (0.25 / depth**2)[:, None].expand(2, 3, 48, 64)
    generator = torch.Generator().manual_seed(seed)
    pixels = 4 + torch.rand(2, 40, 2, generator=generator) * torch.tensor([56.0, 40.0])
    column = (pixels[..., 0] - 0.5) / 63
    noise = (0.02 * torch.randn(2, 40, generator=generator)).exp()
    return frames, pixels, (0.8 + 0.7 * column) * noise


def test_the_light_finds_points_at_a_wrong_depth():
    frames, pixels, depth = lit()
    weight = torch.ones(2, 40)
    weight[:, 39] = 0
    wrong = torch.zeros(2, 40, dtype=torch.bool)
    wrong[0, [3, 7]], wrong[1, 11] = True, True
    depth = torch.where(wrong, depth * 1.8, depth)
    outliers, judged = light_outliers(frames, pixels, depth, weight)
    assert torch.equal(outliers, wrong)
    assert torch.equal(judged, weight > 0)


@pytest.mark.parametrize("level", [1.0, 0.0])
def test_the_light_abstains_where_the_image_is_saturated_or_black(level):
    frames, pixels, depth = lit()
    frames = frames.clone()
    frames[0, :, :, 40:] = level
    depth[0] *= torch.where(pixels[0, :, 0] > 44, 3.0, 1.0)
    outliers, judged = light_outliers(frames, pixels, depth, torch.ones(2, 40))
    assert (pixels[0, :, 0] > 44).sum() > 5
    assert not judged[0][pixels[0, :, 0] > 44].any()
    assert not outliers.any()


def test_the_rim_of_the_image_is_no_darker_than_the_rest():
    frames, pixels, depth = lit()
    pixels[:, :8, 1] = 0.6
    assert not light_outliers(frames, pixels, depth, torch.ones(2, 40))[0].any()


def test_too_few_points_are_not_judged_by_light():
    frames, pixels, depth = lit()
    depth[:, 0] *= 5
    weight = torch.zeros(2, 40)
    weight[:, :9] = 1
    assert not light_outliers(frames, pixels, depth, weight)[0].any()


def test_a_wall_of_even_light_has_no_outliers():
    frames, pixels, _ = lit()
    depth = torch.ones(2, 40)
    depth[:, :5] += 1e-4  # more than half of the points agree exactly, so that their spread is 0
    assert not light_outliers(torch.full_like(frames, 0.4), pixels, depth, torch.ones(2, 40))[0].any()


# All of it


def made(sequence: Sequence, folder, **options):
    return clip(
        sequence, Supervision(**({"size_px": (32, 24), "pairs": PairRule(min_points=5)} | options)), (32, 24), folder
    )


def test_a_clip_holds_the_points_of_its_sequence_in_units_of_its_median_depth(tmp_path):
    camera = camera_of(distortion=Brown((-0.15, 0.02, 0.0, 0.0)))
    sequence = tiny_sequence(tmp_path / "images", camera=camera)
    result = made(sequence, tmp_path / "store", holdout=Holdout(points=0.0))
    assert result.unit_length == sequence.median_depth
    confidence = point_confidence(sequence)
    total = 0
    for frame in range(len(sequence)):
        points = result.points[frame]
        chosen = points.weight > 0
        numbers = sequence.seen[frame].nonzero().flatten()
        local = sequence.camera_from_world[frame].apply(sequence.points[numbers])
        pixels = result.view.camera.project(local)
        column, row = pixels.floor().long().unbind(-1)
        inside = (column >= 0) & (column < 32) & (row >= 0) & (row < 24)
        inside[inside.clone()] &= result.store.mask[row[inside], column[inside]]
        total += int(inside.sum())
        assert torch.allclose(points.pixels[chosen], pixels[inside].float(), 0, 1e-4)  # float32 pixels
        assert torch.allclose(points.depth[chosen], (local[inside, 2] / sequence.median_depth).float(), 1e-6, 0)
        assert torch.allclose(points.weight[chosen], confidence[numbers[inside]].float(), 1e-6, 0)
    assert result.dropped == len(sequence.observations) - total
    assert 0 < result.dropped < total
    scaled = result.camera_from_world.translation * result.unit_length
    assert torch.allclose(scaled, sequence.camera_from_world.translation, 0, 1e-12)


def test_held_out_points_and_frames_are_never_trained_on(tmp_path):
    sequence = tiny_sequence(tmp_path / "images", frames=8, points=120)
    options = Supervision(
        size_px=(32, 24), pairs=PairRule(min_points=3), holdout=Holdout(points=0.3, frames=0.3, seed=4)
    )
    kept = held_out(sequence, options)
    assert 0 < kept.points.sum() < len(sequence.points)
    assert 0 < kept.frames.sum() < len(sequence)
    result = clip(sequence, options, (32, 24), tmp_path / "store")
    assert torch.equal(result.training_frames, ~kept.frames)
    assert not kept.frames[result.pairs].any()
    assert len(result.pairs)
    for lists, held in ((result.points, False), (result.held_out, True)):
        assert (lists.weight > 0).any()
        for frame in range(len(sequence)):
            numbers = (sequence.seen[frame] & (kept.points == held)).nonzero().flatten()
            pixels = result.view.camera.project(sequence.camera_from_world[frame].apply(sequence.points[numbers]))
            used = lists.pixels[frame][lists.weight[frame] > 0].double()
            if len(used):
                distance = torch.cdist(used, pixels).amin(1)
                assert distance.max() < 1e-4  # each is one of the points that belong there (float32 pixels)
    assert torch.equal(held_out(sequence, options).points, kept.points)
    other = replace(options, holdout=replace(options.holdout, seed=5))
    assert not torch.equal(held_out(sequence, other).points, kept.points)


def test_pairs_are_counted_without_held_out_points(tmp_path):
    sequence = tiny_sequence(tmp_path / "images", points=60)
    most = int((sequence.seen[:-1] & sequence.seen[1:]).sum(1).max())
    made(sequence, tmp_path / "store", holdout=Holdout(points=0.0), pairs=PairRule(min_points=most))
    with pytest.raises(BadInputError, match="no two frames see enough"):
        made(sequence, tmp_path / "store", holdout=Holdout(points=0.5), pairs=PairRule(min_points=most))


def test_short_tracks_are_left_out(tmp_path):
    sequence = tiny_sequence(tmp_path / "images", keep=0.6)
    tracks = sequence.seen.sum(0)
    assert (tracks < 4).any()
    result = made(sequence, tmp_path / "store", holdout=Holdout(points=0.0), min_track=4, erosion_px=0)
    used = int((result.points.weight > 0).sum())
    assert 0 < used == int(sequence.seen[:, tracks >= 4].sum())


def test_the_light_filter_takes_points_from_training_and_not_from_the_measure(tmp_path, monkeypatch):
    clip_module = importlib.import_module("depthscope.supervision.clip")  # the package shows the function
    everything = lambda frames, pixels, depth, weight, cutoff: (weight > 0, weight > 0)  # noqa: E731
    monkeypatch.setattr(clip_module, "light_outliers", everything)
    sequence = tiny_sequence(tmp_path / "images")
    plain = made(sequence, tmp_path / "store", holdout=Holdout(points=0.3))
    result = made(sequence, tmp_path / "store", holdout=Holdout(points=0.3), light_filter=True)
    assert not (result.points.weight > 0).any()
    assert torch.equal(result.held_out.weight, plain.held_out.weight)
    assert result.dropped == plain.dropped + int((plain.points.weight > 0).sum())


def test_the_size_for_the_network_divides_and_has_the_shape_of_the_content(tiny):
    width, height = network_size(replace(tiny, mask=MASK), Supervision(area_px=3000), 16)
    assert (width % 16, height % 16) == (0, 0)
    assert (width, height) == (64, 48)  # of the content, 48 x 36
    assert network_size(tiny, Supervision(size_px=(64, 32)), 16) == (64, 32)
    with pytest.raises(BadInputError, match="multiples of 16 .*; for example 64 32"):
        network_size(tiny, Supervision(size_px=(60, 30)), 16)


@pytest.mark.parametrize(
    "options",
    [{"area_px": 10}, {"size_px": (8, 64)}, {"erosion_px": -1}, {"widen_frames": -1}, {"min_track": 1}],
)
def test_options_without_sense_are_told(options):
    with pytest.raises(BadInputError, match=next(iter(options))):
        Supervision(**options)
    with pytest.raises(BadInputError, match="a share from 0 to below 1"):
        Holdout(points=1.0)
