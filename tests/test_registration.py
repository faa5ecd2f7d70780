"""Registration of what cameras saw to a CT, without a start: phantoms as the oracle, and what must be refused."""

import math

import numpy as np
import pytest
import torch

from depthscope.errors import BadInputError, NoAnswerError
from depthscope.formats.ct import extracted_surface
from depthscope.fusion import DepthFrame
from depthscope.geometry import Camera, RigidMotion, Similarity, Surface
from depthscope.geometry.rotation import rotation_from_vector
from depthscope.geometry.surface import vertex_normals
from depthscope.registration import (
    Alignment,
    Registration,
    RegistrationEvidence,
    Residuals,
    ScalePrior,
    Search,
    SurfaceView,
    coherent_point_drift,
    register,
)
from depthscope.registration.frames import frame_views
from depthscope.registration.search import _unlike
from depthscope.simulation.anatomy import patient
from depthscope.simulation.ct import Scanner, scanned
from noses import seen_in, similarity

QUICK = Registration(search=Search(step_mm=4.5, turn_deg=25.0, rays=32, kept=24), coarse=200, middle=400, fine=500)


@pytest.fixture(scope="module")
def nose():
    return patient(4, "nasal", spacing_mm=0.9)


@pytest.fixture(scope="module")
def target(nose) -> Surface:
    """As it is had from the CT's voxels."""
    return extracted_surface(scanned(nose, Scanner(voxel_mm=(0.9, 0.9, 0.9))))


@pytest.fixture(scope="module")
def seen(nose):
    return seen_in(nose, 1, noise=0.02, outliers=0.05)


@pytest.fixture(scope="module")
def found(seen, target):
    return register(seen.views, target, QUICK)


def test_views_find_their_place_in_the_ct_without_a_start(found, seen):
    assert seen.error_mm(found.target_from_source) < 0.7
    assert found.scale == pytest.approx(float(seen.target_from_source.scale), rel=0.02)
    assert not found.ambiguous and found.converged and found.confidence > 0.5
    assert found.residuals.figures["mean"] < 1.0
    assert found.evidence.coverage > 0.8 and found.evidence.air_violation == 0


def test_modes_are_distinct_and_the_best_is_first(found):
    assert found.modes[0].away_mm == pytest.approx(0, abs=1e-9)
    scores = [mode.log_posterior for mode in found.modes]
    assert found.modes[0].starts >= 1 and all(scores[0] >= score for score in scores)
    assert all(m.away_mm > 1 or abs(math.log(m.scale / found.modes[0].scale)) > 0.03 for m in found.modes[1:])


def test_covariance_is_one_and_predicts_an_error(found):
    assert float(torch.linalg.eigvalsh(found.covariance).min()) > 0
    assert 0.01 < found.evidence.predicted_tre_mm < 2


@pytest.mark.slow
def test_turning_the_target_turns_the_answer(seen, target, found):
    turn = similarity(np.random.default_rng(3), 1.0)
    moved = register(seen.views, target.moved(turn), QUICK)
    assert seen.error_mm(turn.inverse() @ moved.target_from_source) < 0.7
    assert moved.residuals.figures["mean"] == pytest.approx(found.residuals.figures["mean"], rel=0.1)


@pytest.mark.slow
def test_wrong_and_mirrored_and_turned_targets_are_refused(seen, target):
    flip = torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)
    assert target.normals is not None and target.faces is not None
    mirrored = Surface(target.points * flip, target.normals * flip, None, target.faces.flip(1), "mm")
    turned = Surface(target.points, -target.normals, None, target.faces.flip(1), "mm")
    for wrong in (mirrored, turned):
        assert register(seen.views, wrong, QUICK).ambiguous


def test_a_start_alone_is_enough_and_a_scale_prior_holds(seen, target):
    middle = seen.target_from_source.apply(seen.points).mean(0)
    turn = rotation_from_vector(torch.tensor([0.1, -0.15, 0.1], dtype=torch.float64))
    one = torch.tensor(1.05, dtype=torch.float64)
    off = Similarity(one, RigidMotion(turn, middle - 1.05 * turn @ middle + torch.tensor([2.0, -1.0, 1.0])))
    true = float(seen.target_from_source.scale)
    options = Registration(search=None, coarse=200, middle=300, fine=400, scale_prior=ScalePrior(true, 0.05, "a test"))
    near = register(seen.views, target, options, starts=(off @ seen.target_from_source,))
    assert seen.error_mm(near.target_from_source) < 0.8
    tight = Registration(search=None, coarse=200, middle=200, fine=200, scale_prior=ScalePrior(1.1 * true, 1e-4))
    held = register(seen.views, target, tight, starts=(off @ seen.target_from_source,))
    assert held.scale == pytest.approx(1.1 * true, rel=0.01)  # whatever the data say


def test_a_cylinder_is_ambiguous():
    angle, height = torch.meshgrid(
        torch.linspace(0, 2 * math.pi, 61, dtype=torch.float64)[:-1],
        torch.linspace(-30, 30, 61, dtype=torch.float64),
        indexing="ij",
    )
    points = torch.stack([8 * angle.cos(), 8 * angle.sin(), height], -1).reshape(-1, 3)
    i, j = torch.meshgrid(torch.arange(60), torch.arange(60), indexing="ij")
    a, b = (i * 61 + j).reshape(-1), ((i + 1) % 60 * 61 + j).reshape(-1)
    faces = torch.cat([torch.stack([a, a + 1, b], 1), torch.stack([b, a + 1, b + 1], 1)])
    inward = vertex_normals(points, faces)
    assert float((inward[:, :2] * points[:, :2]).sum(-1).max()) < 0
    tube = Surface(points, inward, None, faces, "mm")
    part = points[:, 2].abs() < 10
    view = SurfaceView(Surface(points[part], inward[part]), torch.tensor([0.0, 0.0, -11.0], dtype=torch.float64))
    answer = register((view,), tube, QUICK)
    assert answer.ambiguous
    assert float(answer.covariance[5, 5].sqrt()) > 5  # it could lie anywhere along the tube
    assert float(answer.covariance[3, 3].sqrt()) < 2


@pytest.mark.slow
def test_a_surface_without_cameras_is_placed_too(seen, target):
    one = seen.views[0].surface
    answer = register(one, target, QUICK)
    error = (answer.target_from_source.apply(one.points) - seen.target_from_source.apply(one.points)).norm(dim=-1)
    assert float(error.mean()) < 1.5 or answer.ambiguous


def test_bad_input_is_told(seen, target):
    bare = Surface(seen.views[0].surface.points)
    with pytest.raises(BadInputError, match="normals"):
        register(bare, target, QUICK)
    with pytest.raises(BadInputError, match="faces"):
        register(seen.views, Surface(target.points, target.normals), QUICK)
    with pytest.raises(BadInputError, match="neither a search nor a start"):
        register(seen.views, target, Registration(search=None))
    with pytest.raises(BadInputError, match="no views"):
        register((), target, QUICK)
    backwards = tuple(
        SurfaceView(Surface(v.surface.points, -v.surface.normals), v.centre)
        for v in seen.views
        if v.surface.normals is not None
    )
    with pytest.raises(BadInputError, match="face a camera"):
        register(backwards, target, QUICK)
    for wrong in ({"coarse": 10}, {"refined": 0}):
        with pytest.raises(BadInputError):
            Registration(**wrong)
    for wrong in ({"scale": -1.0}, {"scale": 1.0, "log_std": 0.0}):
        with pytest.raises(BadInputError):
            ScalePrior(**wrong)
    with pytest.raises(BadInputError):
        Search(step_mm=0.0)


def test_a_size_at_which_no_endoscope_is_used_is_refused(seen, target):
    with pytest.raises(NoAnswerError, match="mm to its unit"):
        register(seen.views, target, Registration(working_mm=(400.0, 900.0)))
    given = Registration(search=None, working_mm=(400.0, 900.0), coarse=200, middle=300, fine=400)
    found = register(seen.views, target, given, starts=(seen.target_from_source,))
    assert found.ambiguous and "mm in the median" in found.reasons[0]


def test_depth_maps_become_views_of_what_is_certain():
    """A flat wall at 10, half of it uncertain, seen by a camera that stands at (1, 2, 3)."""
    camera = Camera((40, 30), (50.0, 50.0), (20.0, 15.0))
    depth = torch.full((30, 40), 10.0)
    std = 0.02 * depth
    std[:, 20:] = 0.3 * depth[:, 20:]
    place = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    motion = RigidMotion(torch.eye(3, dtype=torch.float64), -place)
    (view,) = frame_views([DepthFrame(depth, camera, motion, std=std)])
    assert torch.allclose(view.centre, place)
    points = view.surface.points - place
    assert torch.allclose(points[:, 2], torch.full((len(points),), 10.0, dtype=torch.float64))
    assert len(points) == 30 * 20 and float(points[:, 0].max()) < 0  # the certain half
    normals = view.surface.normals
    assert normals is not None and torch.allclose(normals[:, 2], -torch.ones(len(points), dtype=torch.float64))
    assert view.std is not None and torch.allclose(view.std, torch.full((len(points),), 0.2))
    with pytest.raises(BadInputError, match="trusted"):
        frame_views([DepthFrame(depth, camera, motion, std=0.3 * depth)])


def test_point_drift_recovers_a_similarity_between_equal_clouds() -> None:
    generator = torch.Generator().manual_seed(0)
    cloud = torch.randn(400, 3, generator=generator, dtype=torch.float64) * torch.tensor([8.0, 5.0, 3.0])
    angle = 0.2
    turn = torch.tensor(
        [[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]], dtype=torch.float64
    )
    shift = torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64)
    true = Similarity(torch.tensor(1.1, dtype=torch.float64), RigidMotion(turn, shift))
    start = Similarity(
        torch.tensor(1.0, dtype=torch.float64), RigidMotion(torch.eye(3, dtype=torch.float64), 0 * shift)
    )
    found = coherent_point_drift(cloud, Surface(true.apply(cloud)), start, outliers=0.01)
    assert float((found.apply(cloud) - true.apply(cloud)).norm(dim=-1).max()) < 1e-3
    with pytest.raises(BadInputError, match="no target around the start"):
        coherent_point_drift(cloud + 1e3, Surface(cloud), start)


def test_halves_of_the_frames_are_witnesses(monkeypatch: pytest.MonkeyPatch) -> None:
    """How far the halves lie from the whole is evidence, and the whole begins there too; where each lies is played."""
    from depthscope.registration import halves as module

    camera = Camera((40, 30), (50.0, 50.0), (20.0, 15.0))
    depth, motion = torch.full((30, 40), 10.0), RigidMotion.identity(dtype=torch.float64)
    views = frame_views([DepthFrame(depth, camera, motion, std=0.05 * depth)] * 8)
    square = Surface(
        torch.tensor([[0.0, 0, 0], [9, 0, 0], [0, 9, 0]], dtype=torch.float64),
        torch.tensor([[0.0, 0, 1]] * 3, dtype=torch.float64),
        faces=torch.tensor([[0, 1, 2]]),
    )
    sure = RegistrationEvidence(20.0, 1.0, 1.5, 0.98, 0.0, 0.0, 0.5, 0.95, 0.5)

    def at(x_mm: float) -> Alignment:
        shift = RigidMotion(torch.eye(3, dtype=torch.float64), torch.tensor([x_mm, 0, 0], dtype=torch.float64))
        place = Similarity(torch.tensor(1.0, dtype=torch.float64), shift)
        residuals = Residuals(torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.bool))
        spread, middle = torch.eye(7, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
        return Alignment(place, residuals, spread, middle, (), sure, 0.99, (), True, 0.1, 50.0, 1.0)

    # Where the halves lie alone, and where the whole lies.
    for places, expected in (((0.4, -0.7, 0.0), 0.7), ((0.4, 30.0, 0.0), 30.0), ((None, 1.0, 0.0), math.inf)):
        left, calls = list(places), []

        def played(some, target, options, starts=(), told=None, left=left, calls=calls):
            searched = options.search is not None
            calls.append((len(some), searched, [float(start.motion.translation[0]) for start in starts]))
            if (place := left.pop(0)) is None:
                raise NoAnswerError("no start")
            return at(place)

        monkeypatch.setattr(module, "register", played)
        found = module.register_with_split_half_check(views, square, starts=(at(5.0).target_from_source,))
        assert found.evidence.halves_apart_mm == pytest.approx(expected) and not left
        alone = [place for place in places[:2] if place is not None]
        assert calls == [(4, True, []), (4, True, []), (8, True, [5.0, *alone])]
        assert found.ambiguous == (expected > 3)
        assert found.confidence == 0.99
        assert not found.ambiguous or any("a half of the frames" in reason for reason in found.reasons)
    monkeypatch.setattr(module, "register", lambda *rest: at(0.0))
    assert math.isnan(
        module.register_with_split_half_check(views[:4], square).evidence.halves_apart_mm
    )  # too few to halve


def test_sizes_in_the_middle_of_what_endoscopes_see_are_likelier() -> None:
    from depthscope.registration.registration import _unlikely

    scale = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)
    cost = _unlikely(scale, (1.0, 4.0))
    assert float(cost[1]) == pytest.approx(0) and float(cost[0]) == pytest.approx(2.5**2 / 2)
    assert float(cost[2]) == pytest.approx(float(cost[0])) and not _unlikely(scale, None).any()


def test_places_nearly_as_good_as_the_best_are_matched_exactly(seen, target) -> None:
    from depthscope.registration.registration import _settled
    from depthscope.registration.solve import Problem, Solved
    from depthscope.registration.target import Target
    from depthscope.registration.view import sampled

    samples = sampled(seen.views, QUICK.noise, 200)
    problem = Problem(samples, Target(target), QUICK.noise)
    true = seen.target_from_source
    places = Similarity(
        true.scale.double() * torch.tensor([1.0, 1.02, 1.01], dtype=torch.float64),
        RigidMotion(true.motion.rotation.double().expand(3, 3, 3), true.motion.translation.double().expand(3, 3)),
    )
    ends = Solved(places, torch.tensor([1.0, 1.1, 9.0], dtype=torch.float64), torch.ones(3, dtype=torch.float64))
    settled = _settled(problem, ends, QUICK, None)
    assert float(settled.cost[2]) == 9.0 and float(settled.target_from_source.scale[2]) == float(places.scale[2])
    assert not torch.isclose(settled.cost[:2], ends.cost[:2]).any()  # the costs are those of exact matches
    assert seen.error_mm(Similarity(settled.target_from_source.scale[1], settled.target_from_source.motion[1])) < 1.5
    one_alone = Solved(places, torch.tensor([1.0, 5.0, 9.0], dtype=torch.float64), ends.step)
    assert _settled(problem, one_alone, QUICK, None) is one_alone  # nothing is contested


def test_rays_are_unlike_by_the_mean_of_what_no_scale_explains():
    """One ray of four is off by a factor of e^2: it counts as bounded, and the scale is that of the others."""
    unlike, log_scale = _unlike(torch.tensor([[0.3, 0.3, 0.3, 2.3], [1.0, 1.1, 1.2, 1.1]]))
    assert unlike.tolist() == pytest.approx([0.5 / 4, 0.2 / 4])
    assert log_scale.tolist() == pytest.approx([0.3, 1.1])
