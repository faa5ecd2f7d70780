"""Sequences: what they refuse, and what their copies keep."""

from dataclasses import replace

import pytest
import torch

from depthscope.errors import BadInputError
from depthscope.geometry import RigidMotion, Similarity
from depthscope.sequence import Observations, Sequence
from scenes import F64, camera_of, motion, stacked, tiny_sequence


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Sequence:
    sequence = tiny_sequence(tmp_path_factory.mktemp("tiny"), keep=0.8)
    count = len(sequence.points)
    return replace(
        sequence,
        point_error_px=torch.arange(count, dtype=F64),
        point_colours=torch.arange(count)[:, None].expand(-1, 3).to(torch.uint8),
        observations=replace(sequence.observations, pixels=sequence.projections + 0.25),
    )


def first(values: torch.Tensor, value) -> torch.Tensor:
    changed = values.clone()
    changed[0] = value
    return changed


BROKEN = {
    "frames": (lambda s: {"images": s.images[:1]}, "1 registered frames; expected at least 2"),
    "cameras": (lambda s: {"cameras": s.cameras[1:]}, "5 cameras for 6 frames"),
    "motions": (lambda s: {"camera_from_world": s.camera_from_world[1:]}, "5 motions for 6 frames"),
    "sizes": (lambda s: {"cameras": (camera_of(32, 24), *s.cameras[1:])}, "different sizes .*; resize them"),
    "mirrored": (
        lambda s: {"camera_from_world": RigidMotion(first(s.camera_from_world.rotation, -torch.eye(3)), s.points[:6])},
        "pose of frame 000.png is not a rotation; .*export the poses again",
    ),
    "lost": (
        lambda s: {
            "camera_from_world": replace(
                s.camera_from_world, translation=first(s.camera_from_world.translation, torch.nan)
            )
        },
        "pose of frame 000.png is not finite",
    ),
    "no points": (lambda s: {"points": s.points[:0], "point_error_px": None, "point_colours": None}, "0 points and"),
    "no observations": (
        lambda s: {"observations": s.observations[s.observations.frame > 99]},
        "and 0 observations; .*SfM found nothing",
    ),
    "bad point": (lambda s: {"points": first(s.points, torch.inf)}, "point 0 is not finite"),
    "bad frame": (
        lambda s: {"observations": replace(s.observations, frame=s.observations.frame + 1)},
        "a frame that is not there",
    ),
    "bad point number": (
        lambda s: {"observations": replace(s.observations, point=s.observations.point - 1)},
        "a point that is not there",
    ),
    "behind": (
        lambda s: {"camera_from_world": stacked(*[motion((3.14, 0, 0))] * 6)},
        "behind the cameras that saw it; .*other direction",
    ),
    "mask size": (lambda s: {"mask": torch.ones(5, 7, dtype=torch.bool)}, "mask of 7 x 5 pixels; .*64 x 48"),
    "mask": (lambda s: {"mask": torch.zeros(48, 64, dtype=torch.bool)}, "hides everything; .*polarity"),
}


@pytest.mark.parametrize(("changes", "words"), BROKEN.values(), ids=BROKEN.keys())
def test_what_cannot_be_used_is_told_in_one_line_with_the_way_out(tiny, changes, words):
    with pytest.raises(BadInputError, match=words) as error:
        replace(tiny, **changes(tiny))
    assert str(error.value).startswith("tiny: ")
    assert "; expected " in str(error.value) or "; " in str(error.value)
    assert "\n" not in str(error.value)


def test_projections_are_those_of_each_frames_own_camera(tiny):
    other = camera_of(64, 48, source="zoomed")
    other = replace(other, focal_px=(50.0, 51.0))
    mixed = replace(tiny, cameras=(tiny.cameras[0], other) * 3)
    for row in range(0, len(mixed.observations), 17):
        frame, point = int(mixed.observations.frame[row]), int(mixed.observations.point[row])
        local = mixed.camera_from_world[frame].apply(mixed.points[point])
        expected = mixed.cameras[frame].project(local)
        assert torch.allclose(mixed.projections[row], expected, 0, 1e-12)
        assert mixed.observed_depths[row] == local[2]
        assert mixed.seen[frame, point]
    assert int(mixed.seen.sum()) == len(mixed.observations)


def test_the_median_depth_leaves_out_what_is_behind(tiny):
    behind = tiny.camera_centres[0] - torch.tensor([0.0, 0.0, 100.0])  # so far that no camera is behind it
    points = first(tiny.points, behind)
    moved = replace(tiny, points=points)
    depths = moved.observed_depths
    assert (depths < 0).any()
    assert moved.median_depth == pytest.approx(float(depths[depths > 0].quantile(0.5)), rel=1e-15)
    assert moved.projections[depths < 0].isnan().all()


def test_fewer_points_keep_their_depths_projections_and_company(tiny):
    kept = torch.arange(len(tiny.points)) % 3 != 1
    fewer = tiny.with_points(kept)
    rows = kept[tiny.observations.point]
    assert torch.equal(fewer.points, tiny.points[kept])
    assert torch.equal(fewer.projections, tiny.projections[rows])
    assert torch.equal(fewer.observed_depths, tiny.observed_depths[rows])
    assert torch.equal(fewer.observations.pixels, tiny.observations.pixels[rows])
    assert torch.equal(fewer.point_error_px, tiny.point_error_px[kept])
    assert torch.equal(fewer.point_colours, tiny.point_colours[kept])
    assert torch.equal(fewer.seen, tiny.seen[:, kept])


def test_fewer_frames_keep_their_images_and_drop_points_that_one_frame_saw(tiny):
    kept = torch.tensor([True, False, True, False, True, False])
    fewer = tiny.with_frames(kept)
    twice = tiny.seen[kept].sum(0) >= 2
    assert not twice.all()
    assert fewer.frame_names == ("000", "002", "004")
    assert torch.equal(fewer.seen, tiny.seen[kept][:, twice])
    assert torch.equal(fewer.points, tiny.points[twice])
    assert torch.equal(fewer.camera_centres, tiny.camera_centres[kept])
    assert torch.equal(fewer.observations.pixels, fewer.projections + 0.25)


def test_fewer_observations_leave_points_and_frames(tiny):
    kept = tiny.observations.frame != 2
    fewer = tiny.with_observations(kept)
    assert len(fewer) == len(tiny)
    assert len(fewer.points) == len(tiny.points)
    assert not fewer.seen[2].any()
    assert torch.equal(fewer.seen[3], tiny.seen[3])


def test_another_world_and_unit_change_nothing_that_a_camera_sees(tiny):
    world_from_old = Similarity(torch.tensor(3.7, dtype=F64), motion((0.4, -1.1, 2.0), (5, -3, 1)))
    moved = tiny.moved(world_from_old)
    assert torch.allclose(
        moved.projections, tiny.projections, 0, 1e-9
    )  # pixels; float64 rounding times the focal length
    assert torch.allclose(moved.observed_depths, 3.7 * tiny.observed_depths, 1e-12, 0)
    assert torch.allclose(moved.camera_centres, world_from_old.apply(tiny.camera_centres), 0, 1e-11)
    assert moved.median_depth == pytest.approx(3.7 * tiny.median_depth, rel=1e-12)
    back = moved.moved(world_from_old.inverse())
    assert torch.allclose(back.points, tiny.points, 0, 1e-11)


def test_observations_may_have_no_pixels():
    rows = Observations(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]))
    chosen = rows[torch.tensor([False, True, True])]
    assert len(chosen) == 2
    assert chosen.pixels is None
