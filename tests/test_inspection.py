"""The verdict: what is accepted, and what is refused for which reason."""

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st

import depthscope.falloff as falloff_module
from depthscope.cli import main
from depthscope.errors import BadInputError
from depthscope.formats import read_sequence, write_sequence
from depthscope.formats.jhu.files import poses_text
from depthscope.inspection import (
    CHECKS,
    Evidence,
    HeldOutMatches,
    Verdict,
    Witnesses,
    cleaned,
    cleaning,
    doubted,
    in_doubt,
    inspect,
    inspect_cleaned,
    judged,
    largest_angles_deg,
    refused,
    shipped_rule,
    with_second_run,
)
from depthscope.inspection.adjustment import adjusted, triangulated
from depthscope.inspection.check import at_least, at_most, cannot_tell
from depthscope.inspection.degeneracy import bundle_of_points, depth_deviations
from depthscope.inspection.geometry import confirmed_steps
from depthscope.inspection.stored import checked_verdict
from miniatures.jhu_folder import write_jhu
from miniatures.scene import scene


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    write_jhu(folder)
    return read_sequence(folder, "world_from_camera")


@pytest.fixture(scope="module")
def verdict(clip):
    return inspect(clip)


def failed(checks) -> set[str]:
    return {name for name, check in checks.items() if check.passed is False}


def fails(sequence, *names: str) -> bool:
    """Whether these checks fail (only they are run)."""
    evidence = Evidence(sequence)
    return all(CHECKS[name](evidence).passed is False for name in names)


def test_a_good_clip_is_accepted(verdict):
    assert verdict.accepted and verdict.outcome == "accepted" and verdict.reasons == (), verdict.reasons
    assert list(verdict.checks) == list(CHECKS)
    assert verdict.checks["epipolar_share"].value > 0.9
    assert verdict.checks["point_depth"].value < 0.05


def test_world_scale_and_frame_do_not_matter(clip, verdict):
    from depthscope.geometry import RigidMotion, Similarity

    turn = RigidMotion.from_quaternion(
        torch.tensor([0.9, 0.1, -0.3, 0.2]).double(), torch.tensor([5.0, -2, 9]).double()
    )
    again = inspect(clip.moved(Similarity(torch.tensor(7.3, dtype=torch.float64), turn)))
    assert again.outcome == verdict.outcome
    for name in ("epipolar_share", "point_depth", "track_fit", "depth_order", "path_jump", "light_falloff"):
        assert again.checks[name].value == pytest.approx(verdict.checks[name].value, rel=0.02, abs=2e-3, nan_ok=True), (
            name
        )


def test_frame_order_reversed_gives_the_same_verdict(clip, verdict):
    order = torch.arange(len(clip)).flip(0)
    again = replace(
        clip,
        images=clip.images[::-1],
        camera_from_world=clip.camera_from_world[order],
        observations=replace(clip.observations, frame=len(clip) - 1 - clip.observations.frame),
    )
    assert inspect(again).outcome == verdict.outcome


def test_shuffled_poses(clip):
    order = torch.tensor([3, 6, 0, 5, 1, 7, 2, 4])
    wrong = inspect(replace(clip, camera_from_world=clip.camera_from_world[order]))
    assert wrong.outcome == "refused"
    assert "epipolar_share" in failed(wrong.checks)
    assert "shuffled" in wrong.reasons[0]


def test_a_jump_in_the_path(clip):
    shift = clip.camera_from_world.translation.clone()
    shift[4:] += torch.tensor([0.5, 0.3, 0.0])
    wrong = inspect(replace(clip, camera_from_world=replace(clip.camera_from_world, translation=shift)))
    assert wrong.outcome == "refused"
    assert any("jumps there" in reason for reason in wrong.reasons[:2]), wrong.reasons


def flattened(sequence):
    middle = sequence.points.mean(0)
    normal = torch.linalg.svd(sequence.points - middle, full_matrices=False).Vh[2]
    return replace(sequence, points=sequence.points - ((sequence.points - middle) @ normal)[:, None] * normal)


def test_points_moved(clip):
    count = len(clip.points)
    away = torch.exp(0.5 * torch.randn(count, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    centre = clip.camera_centres.mean(0)
    assert fails(replace(clip, points=centre + (clip.points - centre) * away), "point_depth")


def test_a_focal_length_of_another_camera(clip):
    camera = clip.cameras[0]
    camera = replace(camera, focal_px=(camera.focal_px[0] * 1.3, camera.focal_px[1] * 1.3))
    check = CHECKS["depth_scale"](Evidence(replace(clip, cameras=(camera,) * len(clip))))
    assert check.passed is False and "focal length" in check.hint


def test_depths_off_by_many_factors_are_no_focal_length(clip):
    count = len(clip.points)
    away = torch.exp(0.4 + 0.5 * torch.randn(count, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    centre = clip.camera_centres.mean(0)
    check = CHECKS["depth_scale"](Evidence(replace(clip, points=centre + (clip.points - centre) * away)))
    assert check.passed is False and "not by one factor" in check.hint


def test_some_points_behind_cameras_are_no_wrong_direction(clip):
    behind = torch.arange(len(clip.points)) % 4 == 0
    some = replace(clip, points=torch.where(behind[:, None], -clip.points, clip.points))
    check = CHECKS["in_front"](Evidence(some))
    assert check.passed is False and "wrong matches" in check.hint and "direction" not in check.hint


def test_a_gate_that_sound_ones_miss_too_is_no_reason(verdict):
    rule = shipped_rule()
    sound = 0.99 * rule.usual["self_calibration"].value
    missed = at_most(sound, 0.9 * sound, "the focal length is off", "calibrate")
    few = at_least(2.0, 8.0, "2 frames were placed", "give more")
    found = judged({**verdict.checks, "self_calibration": missed, "frames_placed": few})
    assert missed.passed is False and found.reasons == ("2 frames were placed (less than 8): give more",)


def test_a_limit_is_told_in_the_unit_of_its_figure(clip):
    """Not "1.46 px (more than 0.004)": the figure is a share of the width inside, and px for a reader."""
    shift = clip.camera_from_world.translation.clone()
    shift[::2] += 0.4
    other = replace(clip, camera_from_world=replace(clip.camera_from_world, translation=shift))
    track, runs = CHECKS["track_fit"](Evidence(other)), CHECKS["two_runs"](Evidence(clip, Witnesses(second_run=other)))
    assert track.passed is False and runs.passed is False
    limit = float(track.sentence.split("more than ")[1].removesuffix(" px)"))
    assert limit == pytest.approx(0.004 * clip.size_px[0], rel=0.01)
    assert f"miss the poses by {track.value * clip.size_px[0]:.2f} px" in track.sentence
    assert runs.sentence.endswith("(more than 10%)") and "tissue or tools move by themselves" in track.hint
    assert at_least(0.9, 0.95, "90%", "", unit="%").sentence == "90% (less than 95%)"
    assert at_most(0.5, 0.14, "1.6 times", "", unit="% off").sentence == "1.6 times (more than 14% off)"


def test_second_run_and_hidden_matches(clip):
    shift = clip.camera_from_world.translation.clone()
    shift[::2] += 0.4
    other = replace(clip, camera_from_world=replace(clip.camera_from_world, translation=shift))
    assert CHECKS["two_runs"](Evidence(clip)).passed is None
    assert CHECKS["two_runs"](Evidence(clip, Witnesses(second_run=clip))).passed is True
    assert CHECKS["two_runs"](Evidence(clip, Witnesses(second_run=other))).passed is False
    first, second = clip.projections[clip.observations.frame == 0], clip.observations.point
    shared = [p for p in second[clip.observations.frame == 0].tolist() if bool(clip.seen[1, p])]
    one = clip.cameras[0].project(clip.camera_from_world[0].apply(clip.points[shared]))
    two = clip.cameras[0].project(clip.camera_from_world[1].apply(clip.points[shared]))
    count = len(shared)
    assert count >= 25 and len(first)
    zero, ones = torch.zeros(count, dtype=torch.long), torch.ones(count, dtype=torch.long)
    good = Witnesses(matches=HeldOutMatches(zero, ones, one, two))
    bad = Witnesses(matches=HeldOutMatches(zero, ones, one, two.flip(0)))
    assert CHECKS["held_out_matches"](Evidence(clip, good)).value == 1
    assert CHECKS["held_out_matches"](Evidence(clip, bad)).passed is False


def test_a_second_run_speaks_where_there_is_doubt(clip, verdict):
    doubtful = replace(verdict, confidence=0.6)
    assert in_doubt(doubtful) and in_doubt(replace(verdict, outcome="cannot tell"))
    assert not in_doubt(replace(verdict, confidence=0.95)) and not in_doubt(replace(doubtful, outcome="refused"))
    same = with_second_run(doubtful, clip, clip)
    assert same.outcome == verdict.outcome and same.checks["two_runs"].value < 1e-6
    assert same.checks["second_run_share"].value == 1
    shift = clip.camera_from_world.translation.clone()
    shift[::2] += 0.4
    other = with_second_run(doubtful, clip, with_motions(clip, translation=shift))
    assert other.outcome == "refused" and "a second run of SfM" in other.reasons[0]
    assert {n: c for n, c in other.checks.items() if n not in ("two_runs", "second_run_share")} == {
        n: c for n, c in verdict.checks.items() if n not in ("two_runs", "second_run_share")
    }


def test_cleaning_drops_what_is_bad_and_says_so(clip):
    points = clip.points.clone()
    points[:8] = clip.camera_centres.mean(0) + (points[:8] - clip.camera_centres.mean(0)) * 2.5
    result = cleaned(replace(clip, points=points))
    assert result.dropped_points >= 5 and not result.too_much
    assert any("points" in note for note in result.notes)
    assert len(result.sequence.points) <= len(points) - 5
    assert cleaned(clip).dropped_points <= 0.1 * len(clip.points)


def test_what_was_looked_at_while_cleaning_is_not_looked_at_again(clip):
    evidence = Evidence(clip)
    kept = torch.arange(len(clip.points)) >= 5
    rest = clip.with_points(kept)
    fresh = Evidence(rest)
    again = evidence.of_rest(rest, kept, Witnesses())
    assert again.images is evidence.images and again.own is evidence.own
    for name in ("resection", "track_fit", "epipolar_share", "path_jump"):  # those that no point takes part in
        assert CHECKS[name](again).value == pytest.approx(CHECKS[name](fresh).value, rel=0.05, abs=1e-4), name


def test_points_alone_are_adjusted_to_where_they_were_seen(clip):
    bundle = bundle_of_points(Evidence(clip))
    truth = bundle.points
    seen = clip.camera_from_world[bundle.frame].apply(truth[bundle.track])
    bundle = replace(bundle, plane=seen[:, :2] / seen[:, 2:])
    off = 0.02 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = adjusted(replace(bundle, points=truth + off), poses=False, steps=20).bundle
    assert float((found.points - truth).norm(dim=-1).quantile(0.9)) < 1e-4
    assert torch.equal(found.camera_from_world.rotation, bundle.camera_from_world.rotation)


def test_deviations_of_depth_are_those_of_noisy_repeats(clip):
    bundle, noise = bundle_of_points(Evidence(clip)), 0.3  # the least that is believed
    true = clip.camera_from_world[bundle.frame].apply(bundle.points[bundle.track])
    exact = true[:, :2] / true[:, 2:]
    draw, found = torch.Generator().manual_seed(0), []
    for _ in range(40):
        off = noise / bundle.focal_px * torch.randn(exact.shape, generator=draw, dtype=torch.float64)
        moved = adjusted(replace(bundle, plane=exact + off), poses=False, steps=6).bundle.points
        found.append((moved - bundle.points).norm(dim=-1))
    spread = torch.stack(found).square().mean(0).sqrt() / clip.median_depth
    expected = depth_deviations(Evidence(clip))
    assert float((spread / expected).quantile(0.5)) == pytest.approx(1.0, abs=0.25)
    pixels = clip.projections.clone()
    own = clip.observations.point == 0
    pixels[own] += 5 * torch.randn(int(own.sum()), 2, generator=draw, dtype=torch.float64)
    noisy = replace(clip, observations=replace(clip.observations, pixels=pixels))
    ratio = depth_deviations(Evidence(noisy)) / depth_deviations(
        Evidence(replace(clip, observations=replace(clip.observations, pixels=clip.projections)))
    )
    assert float(ratio[0]) > 3 and float(ratio[1:].quantile(0.9)) < 1.1


def test_points_of_unknown_depth_are_dropped_and_told(clip, monkeypatch):
    """The first five points are seen by two neighbouring frames only, a step of the camera apart."""
    monkeypatch.setattr(cleaning, "MOST_DEVIATION", 0.05)
    observations, seen = clip.observations, torch.cumsum(clip.seen, 0)
    rank = seen[observations.frame, observations.point]
    some = clip.with_observations((observations.point >= 5) | (rank <= 2))
    result = cleaned(some)
    assert not bool(result.kept[:5].any()) and not result.too_much
    assert result.dropped_points < 0.15 * len(clip.points)
    assert "points whose depth is uncertain by more than 5%" in "; ".join(result.notes), result.notes


def test_near_and_far_exchanged(tmp_path, monkeypatch):
    monkeypatch.setattr(falloff_module, "LEAST_SPREAD", 0.02)  # the wall is nearly flat
    write_jhu(tmp_path, scene(points=300))
    clip = read_sequence(tmp_path, "world_from_camera")
    evidence = Evidence(clip)
    clear = [np.zeros_like(picture) for picture in evidence.images.highlight]
    images = replace(evidence.images, highlight=clear)
    light = [np.empty_like(picture) for picture in images.light]
    for number, picture in enumerate(light):
        own = clip.observations.frame == number
        column, row = clip.projections[own].long().unbind(-1)
        picture[:] = 0.5
        picture[row, column] = (clip.observed_depths[own] / clip.median_depth) ** 2 * 0.4
    bright_far = replace(images, light=light)
    check = CHECKS["near_and_far"](Evidence(clip, seen_images=bright_far))
    assert check.passed is False and check.sentence.startswith("near and far are exchanged"), check
    bright_near = replace(images, light=[0.16 / picture for picture in light])
    assert CHECKS["near_and_far"](Evidence(clip, seen_images=bright_near)).passed is not False


def test_the_rule_names_checks_only(verdict):
    rule = shipped_rule()
    assert all(usual.spread > 0 for usual in rule.usual.values())
    assert set(rule.usual) | set(rule.gates) | set(rule.leads) <= set(CHECKS)
    assert {name for pair in rule.correlations for name in pair} <= set(rule.usual)
    assert all(len(pair) == 2 and 0 < rho <= 1 for pair, rho in rule.correlations.items())
    assert rule.accept_up_to < rule.refuse_from
    worse = {**verdict.checks, "track_fit": replace(verdict.checks["track_fit"], value=1.0, passed=False)}
    assert rule.anomaly(worse) > rule.anomaly(verdict.checks)
    silent = {**worse, "track_fit": replace(worse["track_fit"], passed=None)}
    assert rule.anomaly(silent) <= rule.anomaly(verdict.checks)


def with_values(checks, values):
    """The same checks of other figures, judged against their gates again."""
    make = {"at least": at_least, "at most": at_most}
    return {
        name: make[check.direction](values[name], check.gate, f"{name} is {values[name]:g}", "do something")
        for name, check in checks.items()
    }


NAMES = list(CHECKS)
FIGURES = st.one_of(
    st.floats(-2, 2), st.floats(-1e6, 1e6), st.sampled_from([0.0, -0.02, 0.01, 0.05, 1.0, math.inf, -math.inf])
)
UNKNOWN = st.just(math.nan)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(st.one_of(st.none(), FIGURES, UNKNOWN), min_size=len(NAMES), max_size=len(NAMES)),
    name=st.sampled_from(NAMES),
    worse=FIGURES,
    better=FIGURES,
)
def test_no_check_that_gets_better_makes_the_verdict_worse(verdict, values, name, worse, better):
    given_values = {n: check.value for n, check in verdict.checks.items()}
    others = {n: given_values[n] if v is None else v for n, v in zip(NAMES, values, strict=True)}
    if (worse < better) == (verdict.checks[name].direction == "at most"):
        worse, better = better, worse
    first, second = (judged(with_values(verdict.checks, {**others, name: v})) for v in (worse, better))
    order = ("refused", "cannot tell", "accepted")
    assert order.index(second.outcome) >= order.index(first.outcome), (first, second)
    assert second.anomaly <= first.anomaly + 1e-9
    assert second.confidence >= first.confidence - 1e-9
    assert second.checks[name].excess <= first.checks[name].excess
    for found in (first, second):
        assert found.accepted == (not found.reasons) and len(found.reasons) <= 3
        against = {n: c for n, c in found.checks.items() if c.passed is False} | dict.fromkeys(
            shipped_rule().unusual(found.checks)
        )
        assert all(any(reason.startswith(f"{n} is ") for n in against) for reason in found.reasons)


def test_the_best_figures_there_are_count_for_nothing(verdict):
    """Zero broken links and light that falls with depth once counted as the most unusual."""
    best = {"broken_links": 0.0, "near_and_far": -0.9, "depth_scale": 0.0, "point_depth": 0.0, "scale_drift": 0.0}
    values = {n: c.value for n, c in verdict.checks.items()} | best
    unusual = shipped_rule().unusual(with_values(verdict.checks, values))
    assert not unusual.keys() & best.keys(), unusual


def test_witnesses_that_say_the_same_count_once():
    rule = replace(shipped_rule(), correlations={("lock_on", "lock_on_above_null"): 1.0}, worst=3)
    assert rule.independent_share(("lock_on", "lock_on_above_null")) == 0.5
    assert rule.independent_share(("lock_on_above_null", "lock_on")) == 0.5
    assert rule.independent_share(("lock_on", "retracking")) == 1
    poor = {name: at_least(0.45, gate, "", "") for name, gate in (("lock_on", 0.4), ("lock_on_above_null", 0.2))}
    alone = max(rule.anomaly({name: check}) for name, check in poor.items())
    assert 0 < alone == rule.anomaly(poor)
    assert rule.against(poor) == (max(poor, key=lambda name: rule.anomaly({name: poor[name]})),)


def test_what_fails_no_check_but_is_unlike_sound_ones_is_not_accepted(verdict):
    """Three witnesses at nine tenths of their gates: none fails, and no sound reconstruction looks so."""
    rule = replace(shipped_rule(), refuse_from=24.0)  # that three can just reach
    near = {
        name: replace(verdict.checks[name], value=0.9 * verdict.checks[name].gate, passed=True)
        for name in ("retracking", "own_adjustment", "resection")
    }
    doubt = judged({**verdict.checks, **near}, rule)
    assert doubt.outcome == "cannot tell" and doubt.confidence < 0.5
    assert 1 <= len(doubt.reasons) <= 3 and all("nine of ten sound reconstructions have" in r for r in doubt.reasons)
    assert any(reason.startswith(doubt.checks[name].sentence) for name in near for reason in doubt.reasons)
    assert verdict.accepted  # as it is


@pytest.mark.timeout(1200)
@pytest.mark.slow
def test_the_published_clip(sinus_clip):
    published = read_sequence(sinus_clip, "world_from_camera")
    verdict = inspect(published)
    assert verdict.accepted, verdict.reasons
    values = {name: check.value for name, check in verdict.checks.items()}
    assert values["in_front"] == values["inside_image"] == values["inside_mask"] == 1
    assert values["track_length"] == pytest.approx(6585 / 570)
    assert values["triangulation_angle"] == pytest.approx(4.6, abs=0.05)
    camera = published.cameras[0]
    flat = inspect(flattened(published))
    assert flat.outcome == "refused" and "flattened" in flat.reasons[0]
    wrong = replace(camera, focal_px=(1.2 * camera.focal_px[0], 1.2 * camera.focal_px[1]))
    found = inspect(replace(published, cameras=(wrong,) * len(published)))
    assert found.outcome == "refused" and any("focal length is probably wrong" in r for r in found.reasons[:2])


def with_motions(sequence, **changes):
    return replace(sequence, camera_from_world=replace(sequence.camera_from_world, **changes))


def shuffled(sequence):
    order = torch.randperm(len(sequence), generator=torch.Generator().manual_seed(0))
    return replace(sequence, camera_from_world=sequence.camera_from_world[order])


def jumping(sequence):
    """The second half of the path lies aside by a third of its length."""
    shift = sequence.camera_from_world.translation.clone()
    shift[len(sequence) // 2 :, 0] += 0.3 * float((sequence.camera_centres[-1] - sequence.camera_centres[0]).norm())
    return with_motions(sequence, translation=shift)


def longer_focal(sequence):
    camera = sequence.cameras[0]
    longer = replace(camera, focal_px=(1.2 * camera.focal_px[0], 1.2 * camera.focal_px[1]))
    return replace(sequence, cameras=(longer,) * len(sequence))


def with_moved_points(sequence):
    """Each along the ray of its first camera, by half of its depth or so."""
    first = torch.full((len(sequence.points),), len(sequence))
    first = first.scatter_reduce(0, sequence.observations.point, sequence.observations.frame, "amin")
    draw = torch.Generator().manual_seed(0)
    factor = torch.exp(0.5 * torch.randn(len(sequence.points), 1, generator=draw, dtype=torch.float64))
    centre = sequence.camera_centres[first]
    return replace(sequence, points=centre + (sequence.points - centre) * factor)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (shuffled, "shuffled"),
        (jumping, "the path jumps there"),
        (longer_focal, "the focal length is probably wrong by about 2"),
        (with_moved_points, "single points are not where the images put them"),
        (flattened, "flattened onto a plane"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_no_spoilt_clip_is_cleaned_into_acceptance(sinus_clip, spoil, said):
    """The published clip, spoilt: bad frames and points go first, and what is left is refused for the right reason."""
    rest, verdict = inspect_cleaned(spoil(read_sequence(sinus_clip, "world_from_camera")))
    assert verdict.outcome == "refused" and said in verdict.reasons[0], (rest.notes, verdict.reasons)


@pytest.mark.slow
def test_poses_stored_the_other_way_are_noticed_and_read_right(sinus_clip, tmp_path, capsys):
    """The published poses, inverted in their file: what the images say goes."""
    published = read_sequence(sinus_clip, "world_from_camera")
    shutil.copytree(sinus_clip, tmp_path / "clip")
    inverted = poses_text(published.camera_from_world).split("\n", 1)[1]  # without the line that would tell
    (tmp_path / "clip" / "motion.yaml").write_text(inverted)
    assert main(["inspect", str(tmp_path / "clip"), "--out", str(tmp_path / "verdict")]) == 0
    told = json.loads((tmp_path / "verdict" / "result.json").read_text("utf-8"))
    assert told["accepted"] is True and told["pose_direction"] == "camera_from_world"
    assert "poses are camera_from_world (patch correlation" in capsys.readouterr().out
    again = read_sequence(tmp_path / "clip")
    torch.testing.assert_close(again.camera_centres, published.camera_centres, rtol=1e-5, atol=1e-5)


def test_a_focal_length_of_another_image_size(clip):
    camera = replace(clip.cameras[0], focal_px=(520.0, 512.0))
    assert fails(replace(clip, cameras=(camera,) * 8), "inside_image")


def test_points_outside_the_mask(clip):
    assert fails(replace(clip, mask=~clip.mask), "inside_mask")


def test_few_points(clip):
    kept = torch.arange(len(clip.points)) < 8
    assert fails(clip.with_points(kept), "points_per_frame", "co_visible_pairs")


def test_short_tracks(clip):
    rank = torch.zeros(len(clip.observations), dtype=torch.long)
    for point in range(len(clip.points)):
        own = clip.observations.point == point
        rank[own] = torch.arange(int(own.sum()))
    assert fails(clip.with_observations(rank < 2), "track_length")


def test_a_camera_that_hardly_moves(clip):
    centres = clip.camera_centres * 0.03
    still = -(clip.camera_from_world.rotation @ centres[..., None])[..., 0]
    moved = replace(clip, camera_from_world=replace(clip.camera_from_world, translation=still))
    assert fails(moved, "triangulation_angle")


def test_frames_lost(clip):
    assert fails(replace(clip, unregistered=tuple(f"{n}.jpg" for n in range(9))), "registered_share")


def test_largest_angle_is_that_of_the_widest_pair(clip):
    angles = largest_angles_deg(clip)
    rays = clip.points[:, None] - clip.camera_centres[None]
    rays = rays / rays.norm(dim=-1, keepdim=True)
    for point in range(0, len(clip.points), 7):
        own = rays[point][clip.seen[:, point]]
        cosines = (own @ own.T).clamp(-1, 1)
        assert float(angles[point]) == pytest.approx(float(torch.rad2deg(torch.acos(cosines.min()))), abs=1e-5)


def test_command_writes_its_result_and_says_yes(tmp_path, capsys):
    write_jhu(tmp_path / "clip", scene(frames=9), direction="camera_from_world", unregistered=1)
    assert main(["inspect", str(tmp_path / "clip"), "--out", str(tmp_path / "verdict")]) == 0
    assert capsys.readouterr().out.startswith("usable: clip\n")
    result = json.loads((tmp_path / "verdict" / "result.json").read_text("utf-8"))
    assert result["accepted"] is True and result["reasons"] == [] and result["outcome"] == "accepted"
    assert result["pose_direction"] == "camera_from_world"
    assert result["registered"] == 8 and result["unregistered"] == ["00000103.jpg"]
    assert result["points"] > 50
    assert {"value", "gate", "direction", "passed", "sentence"} <= set(result["checks"]["lock_on"])
    assert (tmp_path / "verdict" / "provenance.yaml").is_file()


def test_command_refuses_with_code_3_and_still_writes(tmp_path, capsys):
    write_jhu(tmp_path / "clip", scene(textured=False))
    arguments = ["inspect", str(tmp_path / "clip"), "--out", str(tmp_path / "verdict")]
    assert main([*arguments, "--pose-direction", "world_from_camera"]) == 3
    out = capsys.readouterr().out
    assert out.startswith("refused: clip\n  - patches around the projections")
    result = json.loads((tmp_path / "verdict" / "result.json").read_text("utf-8"))
    assert result["accepted"] is False and len(result["reasons"]) >= 1


def test_command_reads_hidden_matches_and_refuses_a_broken_file(tmp_path, capsys):
    write_jhu(tmp_path / "clip")
    (tmp_path / "clip" / "held_out_matches.npz").write_bytes(b"no archive")
    assert main(["inspect", str(tmp_path / "clip")]) == 2
    assert "held_out_matches.npz cannot be read" in capsys.readouterr().err
    names = np.array([p.name for p in read_sequence(tmp_path / "clip").images])
    frames = np.tile([0, 1], (40, 1))
    pixels = np.random.default_rng(0).uniform(20, 100, (40, 2, 2))
    np.savez(tmp_path / "clip" / "held_out_matches.npz", names=names, frames=frames, pixels=pixels)
    assert main(["inspect", str(tmp_path / "clip")]) == 3
    assert "hidden from SfM" in capsys.readouterr().out


def test_a_step_that_images_confirm_is_no_jump(clip):
    """A hand moves by fits and starts: where optical flow goes along with a long step, it is no fault."""
    true = Evidence(clip)
    assert set(range(len(clip) - 1)) <= confirmed_steps(true)
    assert CHECKS["path_jump"](true).value == 0
    shift = clip.camera_from_world.translation.clone()
    shift[4:] += torch.tensor([1.0, 0.6, 0.0])
    moved = Evidence(with_motions(clip, translation=shift))
    assert 3 not in confirmed_steps(moved)
    check = CHECKS["path_jump"](moved)
    assert check.passed is False and "images do not confirm" in check.sentence


def test_where_neither_direction_of_the_poses_fits_there_is_a_verdict(tmp_path, capsys):
    """What can be read ends in a verdict: the images contradict the poses, and no file is bad."""
    write_jhu(tmp_path / "clip", scene(textured=False))
    assert main(["inspect", str(tmp_path / "clip"), "--out", str(tmp_path / "verdict")]) == 3
    assert capsys.readouterr().out.startswith("refused: clip\n")
    result = json.loads((tmp_path / "verdict" / "result.json").read_text("utf-8"))
    assert result["outcome"] == "refused" and result["checks"] and 1 <= len(result["reasons"]) <= 3
    assert any("neither direction of the poses fits the images" in reason for reason in result["reasons"])
    assert result["confidence"] < 0.1 and result["pose_direction"] in ("camera_from_world", "world_from_camera")


def test_a_sequence_that_cannot_be_judged_is_refused_and_written(tmp_path, capsys):
    """Every point behind the cameras: read without fault, and right for nothing."""
    write_jhu(tmp_path / "clip")
    write_sequence(read_sequence(tmp_path / "clip"), tmp_path / "model", "colmap-text")
    points = tmp_path / "model" / "sparse" / "0" / "points3D.txt"
    rows = [line.split() for line in points.read_text("utf-8").splitlines() if not line.startswith("#")]
    points.write_text("".join(" ".join([row[0], "0", "0", "-90", *row[4:]]) + "\n" for row in rows))
    assert main(["inspect", str(tmp_path / "model"), "--out", str(tmp_path / "verdict")]) == 3
    result = json.loads((tmp_path / "verdict" / "result.json").read_text("utf-8"))
    assert result["outcome"] == "refused" and "behind the cameras" in result["reasons"][0]
    assert capsys.readouterr().out.startswith("refused: model\n  - ")


def test_nothing_is_confirmed_where_the_images_say_nothing(verdict):
    rule = shipped_rule()
    assert len(rule.speaking(verdict.checks)) >= 4 and set(rule.from_images) <= set(CHECKS)
    silent = {n: cannot_tell(verdict.checks[n].gate, verdict.checks[n].direction, "") for n in rule.from_images}
    quiet = judged({**verdict.checks, **silent})
    assert quiet.outcome == "cannot tell" and "only 0 of the 6 checks" in quiet.reasons[0]


def test_what_is_undecided_is_neither_refused_nor_accepted(verdict):
    doubt = doubted(verdict, "both directions fit")
    assert doubt.outcome == "cannot tell" and doubt.reasons == ("both directions fit",) and doubt.confidence < 0.5
    no = refused(verdict, "half of the points are bad")
    assert no.outcome == "refused" and no.reasons == ("half of the points are bad",) and no.confidence < 0.1
    both = refused(replace(no, reasons=("a", "b", "c")), "d")
    assert both.reasons == ("a", "b", "d") and both.anomaly == no.anomaly
    assert doubted(no, "both directions fit").outcome == "refused"


def test_cannot_tell_is_printed_as_such(tmp_path, monkeypatch, capsys):
    write_jhu(tmp_path / "clip")
    monkeypatch.setattr(
        "depthscope.inspection.inspect_cleaned", lambda clip, of: (cleaned(clip), doubted(inspect(clip), "so so"))
    )
    assert main(["inspect", str(tmp_path / "clip")]) == 3
    out = capsys.readouterr().out
    assert out.startswith("cannot tell: clip\n  - so so\n") and "--accept-rejected" in out and "refused" not in out


def test_command_never_replaces_the_sequence(tmp_path, capsys):
    write_jhu(tmp_path / "clip")
    assert main(["convert", str(tmp_path / "clip"), str(tmp_path / "model"), "--to", "colmap"]) == 0
    assert main(["inspect", str(tmp_path / "model"), "--out", str(tmp_path / "model")]) == 2
    assert "holds the input" in capsys.readouterr().err
    assert (tmp_path / "model" / "sparse").is_dir()


def test_a_converted_clip_gets_the_same_verdict(clip, verdict, tmp_path):
    write_sequence(clip, tmp_path, "colmap-text")
    again: Verdict = inspect(read_sequence(tmp_path))
    assert again.outcome == verdict.outcome
    for name in ("lock_on", "track_length", "triangulation_angle", "points_per_frame"):
        assert again.checks[name].value == pytest.approx(verdict.checks[name].value, abs=1e-6), name


def test_training_reads_the_stored_verdict(tmp_path):
    assert "no verdict" in checked_verdict(tmp_path, False)
    (tmp_path / "result.json").write_text('{"accepted": true}')
    assert checked_verdict(tmp_path, False) == ""
    (tmp_path / "result.json").write_text('{"accepted": false, "outcome": "refused", "reasons": ["the path jumps"]}')
    with pytest.raises(BadInputError, match="the path jumps"):
        checked_verdict(tmp_path, False)
    assert "the path jumps" in checked_verdict(tmp_path, True)


def test_a_track_that_nobody_saw_keeps_its_place(clip):
    """Observations that the lens cannot have made are left out, and with them, now and then, a whole track."""
    bundle = bundle_of_points(Evidence(clip))
    last = len(bundle.points) - 1
    seen = bundle.track != last
    rest = replace(bundle, track=bundle.track[seen], frame=bundle.frame[seen], plane=bundle.plane[seen])
    moved = triangulated(rest)
    assert torch.allclose(moved.points[last], bundle.points[last])
    off = (moved.points[:last] - bundle.points[:last]).norm(dim=-1) / bundle.points[:last].norm(dim=-1)
    assert float(off.median()) < 0.05
