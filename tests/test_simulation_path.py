"""Ways of the camera: clear of tissue, as long and as turned as asked, a function of seeds and frame number."""

import pytest
import torch
from scipy.spatial import KDTree

from depthscope.errors import BadInputError
from depthscope.simulation.anatomy import Anatomy, patient
from depthscope.simulation.path import CLIP, TrajectoryOptions, camera_from_world

MANNERS = ("insertion", "retraction", "sweep", "pivot", "dwell")


SPACING_MM = {"nasal": 0.8, "colon": 0.8, "bronchus": 1.1, "abdomen": 2.0}


@pytest.fixture(scope="module", params=list(SPACING_MM))
def anatomy(request) -> Anatomy:
    return patient(4, request.param, spacing_mm=SPACING_MM[request.param])


def test_camera_stays_in_the_air_and_clear_of_tissue(anatomy):
    tree = KDTree(anatomy.surface.points.numpy())
    for clip, manner in enumerate(MANNERS):
        motion = camera_from_world(anatomy, clip, 60, TrajectoryOptions(manner, baseline=0.5, tremor_mm=0.3))
        assert motion.defects(1e-9) == [""] * 60
        assert bool((anatomy.field(motion.origin) < 0).all())
        assert tree.query(motion.origin.numpy())[0].min() >= 2.0


def test_first_frames_do_not_depend_on_how_many_follow(anatomy):
    short, long = (camera_from_world(anatomy, 3, frames) for frames in (5, 20))
    torch.testing.assert_close(long[:5].rotation, short.rotation, atol=1e-12, rtol=0)
    torch.testing.assert_close(long[:5].translation, short.translation, atol=1e-12, rtol=0)


def test_clips_differ(anatomy):
    first, other = (camera_from_world(anatomy, clip, 4) for clip in (0, 1))
    assert float((first.origin - other.origin).norm(dim=-1).min()) > 0.01


def test_way_grows_with_the_baseline(anatomy):
    still = TrajectoryOptions("insertion", start=0.3, tremor_mm=0.0, tremor_deg=0.0)
    ways = []
    for baseline in (0.1, 0.2):
        options = TrajectoryOptions(**{**vars(still), "baseline": baseline})
        origin = camera_from_world(anatomy, 2, CLIP + 1, options).origin
        ways.append(float((origin[-1] - origin[0]).norm()))
    assert 1.5 < ways[1] / ways[0] < 2.5


def test_insertion_goes_inward_and_retraction_outward(anatomy):
    for manner, sign in (("insertion", 1), ("retraction", -1)):
        origin = camera_from_world(anatomy, 1, CLIP, TrajectoryOptions(manner, start=0.4)).origin
        nearest = torch.cdist(origin, anatomy.lumen).argmin(1)
        assert sign * int(nearest[-1] - nearest[0]) > 0


@pytest.mark.parametrize("anatomy", [kind for kind in SPACING_MM if kind != "abdomen"], indirect=True)
def test_camera_looks_along_the_lumen(anatomy):
    """Of hollow organs: a laparoscope looks at the organs from above."""
    motion = camera_from_world(anatomy, 6, 8)
    forward = motion.rotation[:, 2]
    ahead = torch.cdist(motion.origin, anatomy.lumen).argmin(1)
    target = anatomy.lumen[(ahead + 24).clamp_max(len(anatomy.lumen) - 1)]
    cosine = torch.nn.functional.cosine_similarity(forward, target - motion.origin)
    assert float(cosine.median()) > 0.6


def test_rotation_is_moderate_by_default(anatomy):
    angles = []
    for clip in range(6):
        motion = camera_from_world(anatomy, clip, CLIP)
        angles.append(float(torch.rad2deg((motion @ motion[:1].inverse()).angle_rad.max())))
    assert 3 < sorted(angles)[3] < 18


@pytest.mark.parametrize(
    "options",
    [
        {"baseline": 0.9},
        {"manner": "jump"},
        {"rotation_deg": -1.0},
        {"start": 1.5},
        {"clearance_mm": 0.0},
        {"tremor_mm": 2.0},
        {"frames_per_second": 0.0},
    ],
)
def test_impossible_options_are_refused(options):
    with pytest.raises((BadInputError, TypeError)):  # the checked types of the tests refuse an unknown name first
        TrajectoryOptions(**options)


def test_a_scope_too_wide_for_the_anatomy_is_refused():
    with pytest.raises(BadInputError, match="from tissue"):
        camera_from_world(patient(4, "nasal", spacing_mm=1.0), 0, 4, TrajectoryOptions(clearance_mm=9.9))
