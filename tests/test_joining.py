"""One map of several clips: what is the same place joins with one scale, and what only looks alike does not."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from depthscope.cli import main
from depthscope.formats import read_sequence, write_sequence
from depthscope.geometry import Camera, RigidMotion, Similarity
from depthscope.pipeline.cases import usable
from depthscope.pipeline.reconstruction import joined_maps, summary
from depthscope.reconstruction.clips import Display
from depthscope.reconstruction.joining import in_matched_frames, in_shared_frames, joint_of, maps_of, merged
from depthscope.reconstruction.joining.adjustment import adjusted_map
from depthscope.reconstruction.joining.appearance import Appearance
from depthscope.reconstruction.joining.joint import Joint
from depthscope.report.folder import open_case
from depthscope.sequence import Observations, Sequence
from depthscope.video import Survey, read_image, whole_frame, write_image
from miniatures.scene import scene

CAMERA = Camera((640, 480), (420.0, 420.0), (320.0, 240.0))
DEPTH = 10.0


def world(seed: int = 0, count: int = 900, mirrored: bool = False) -> torch.Tensor:
    """Points on the bumpy wall of a tunnel along x."""
    random = np.random.default_rng(seed)
    along, angle = random.uniform(-12, 32, count), random.uniform(0, 2 * np.pi, count)
    radius = 6 + 1.5 * np.sin(3 * angle + 0.4 * along) + np.cos(0.9 * along)
    points = np.stack([along, radius * np.cos(angle), DEPTH + radius * np.sin(angle)], 1)
    return torch.from_numpy(points * ([1, -1, 1] if mirrored else [1, 1, 1]))


def similarity(seed: int) -> Similarity:
    random = np.random.default_rng(100 + seed)
    rotation = torch.from_numpy(Rotation.random(random_state=seed).as_matrix())
    scale = torch.tensor(float(np.exp(random.normal())), dtype=torch.float64)
    return Similarity(scale, RigidMotion(rotation, torch.from_numpy(random.normal(0, 30, 3))))


def true_centres(frames: range) -> torch.Tensor:
    """Where the cameras of some frames are."""
    step = np.array(frames, float)
    return torch.from_numpy(np.stack([0.5 * step, 0.4 * np.sin(0.7 * step), 0.3 * np.cos(step)], 1))


def piece(points: torch.Tensor, frames: range, seed: int, noise: float = 0.015) -> Sequence:
    """A clip of cameras that go along x and look to the wall, in a world and a unit of its own, its depths noisy."""
    random = np.random.default_rng(seed)
    step = np.array(frames, float)
    rotation = Rotation.from_rotvec(np.stack([0.02 * np.sin(step), 0.03 * np.cos(step), 0.01 * step], 1)).as_matrix()
    centres = true_centres(frames).numpy()
    motion = RigidMotion(torch.from_numpy(rotation), torch.from_numpy(-np.einsum("fij,fj->fi", rotation, centres)))
    local = torch.stack([motion[n].apply(points) for n in range(len(step))])
    pixels = torch.stack([_seen_at(one) for one in local])
    inside = (local[..., 2] > 1) & (pixels > 5).all(-1) & (pixels < torch.tensor([635.0, 475.0])).all(-1)
    inside &= torch.from_numpy(random.random(inside.shape) < 0.6)
    known = inside.sum(0) >= 3
    number = torch.cumsum(known, 0) - 1
    frame, point = (inside & known).nonzero().unbind(1)
    seen_at = pixels[frame, point] + torch.from_numpy(random.normal(0, 0.3, (len(frame), 2)))
    middle = torch.from_numpy(centres.mean(0))
    off = 1 + noise * torch.from_numpy(random.normal(size=(int(known.sum()), 1)))
    found = middle + (points[known] - middle) * off
    names = tuple(Path(f"frame_{n:06d}.png") for n in frames)
    clip = Sequence(
        f"clip_{seed}", names, (CAMERA,) * len(names), motion, found, Observations(frame, number[point], seen_at)
    )
    return clip.moved(similarity(seed))


def _seen_at(local: torch.Tensor) -> torch.Tensor:
    depth = local[:, 2:].clamp_min(1e-3)
    return local[:, :2] / depth * 420.0 + torch.tensor([320.0, 240.0])


def matcher_of(first: Sequence, second: Sequence, truth: torch.Tensor, seeds: tuple[int, int], wrong: float = 0.5):
    """Matches of two frames: points of the true world that both see, and as many wrong ones as asked for."""

    def match(one: Path, other: Path):
        random = np.random.default_rng(hash((one.name, other.name)) % 2**32)
        sides = []
        for clip, seed, path in ((first, seeds[0], one), (second, seeds[1], other)):
            frame = [image.name for image in clip.images].index(path.name)
            local = clip.camera_from_world[frame].apply(similarity(seed).apply(truth))
            sides.append((local[:, 2] > 0, _seen_at(local / similarity(seed).scale)))
        both = sides[0][0] & sides[1][0]
        for _, pixels in sides:
            both &= (pixels > 5).all(-1) & (pixels < torch.tensor([635.0, 475.0])).all(-1)
        left, right = (pixels[both].numpy() for _, pixels in sides)
        count = int(len(left) * wrong / max(1 - wrong, 1e-9))
        bad = [random.uniform([5, 5], [635, 475], (count, 2)) for _ in range(2)]
        return np.concatenate([left, bad[0]]), np.concatenate([right, bad[1]])

    return match


def gap(joint: Joint, seeds: tuple[int, int]) -> tuple[float, float, float]:
    """How far a joint is from the truth: ln of scale, degrees, and shift in depths."""
    assert joint.second_from_first is not None
    true = similarity(seeds[1]) @ similarity(seeds[0]).inverse()
    off = true.inverse() @ joint.second_from_first
    place = similarity(seeds[0]).apply(torch.tensor([[5.0, 0.0, DEPTH]], dtype=torch.float64))
    shift = (off.apply(place) - place).norm() / similarity(seeds[0]).scale / DEPTH
    turn = Rotation.from_matrix(off.motion.rotation.numpy()).magnitude()
    return abs(math.log(float(off.scale))), math.degrees(turn), float(shift)


@pytest.mark.parametrize("seed", range(4))
def test_clips_that_share_frames_are_joined_by_what_both_saw_there(seed):
    first, second = piece(world(), range(0, 16), seed), piece(world(), range(12, 28), seed + 50)
    joint = joint_of(first, second, in_shared_frames(first, second))
    assert joint.accepted and joint.shared_frames == 4 and joint.held_out_share > 0.8
    scale, degrees, shift = gap(joint, (seed, seed + 50))
    assert scale < 0.01 and degrees < 1 and shift < 0.02 and scale < 4 * joint.scale_sd


@pytest.mark.parametrize("seed", range(4))
def test_a_place_that_is_met_again_joins_by_matches_half_of_them_wrong(seed):
    first, second = piece(world(), range(0, 14), seed), piece(world(), range(30, 16, -1), seed + 50)
    second = replace(second, images=tuple(Path(f"back_{n}.png") for n in range(len(second))))
    match = matcher_of(first, second, world(), (seed, seed + 50))
    found = in_matched_frames(first, second, [(13, 13), (12, 13), (13, 12)], match)
    joint = joint_of(first, second, found)
    assert joint.accepted and joint.shared_frames == 0, joint.reason
    scale, degrees, shift = gap(joint, (seed, seed + 50))
    assert scale < 0.03 and degrees < 2 and shift < 0.04


@pytest.mark.parametrize("seed", range(6))
def test_twin_cavities_do_not_join(seed):
    """The other side mirrors this one: matches by appearance put mirrored points together, or points of no relation."""
    first, second = piece(world(), range(0, 14), seed), piece(world(mirrored=True), range(0, 14), seed + 50)
    second = replace(second, images=tuple(Path(f"right_{n}.png") for n in range(len(second))))
    pairs = [(n, n) for n in range(0, 14, 3)]

    def mirrored(one: Path, other: Path):
        rows = [observations(clip, path) for clip, path in ((first, one), (second, other))]
        names = [
            dict(zip(nearest_world(clip, points, seed_, flip), places, strict=True))
            for clip, (points, places), seed_, flip in (
                (first, rows[0], seed, False),
                (second, rows[1], seed + 50, True),
            )
        ]
        both = sorted(names[0].keys() & names[1].keys())
        return tuple(np.array([one_side[name] for name in both]).reshape(-1, 2) for one_side in names)

    found = in_matched_frames(first, second, pairs, mirrored)
    assert len(found) > 60
    assert not joint_of(first, second, found).accepted
    random = in_matched_frames(
        first, second, pairs, matcher_of(first, second, world(), (seed, seed + 50), wrong=1 - 1e-3)
    )
    assert not joint_of(first, second, random).accepted


def observations(clip: Sequence, path: Path):
    frame = [image.name for image in clip.images].index(path.name)
    rows = clip.observations.frame == frame
    assert clip.observations.pixels is not None
    return clip.observations.point[rows], clip.observations.pixels[rows].numpy()


def nearest_world(clip: Sequence, points: torch.Tensor, seed: int, flip: bool) -> list[int]:
    """Which point of the true world each is."""
    true = similarity(seed).inverse().apply(clip.points[points])
    return torch.cdist(true, world(mirrored=flip)).argmin(1).tolist()


def test_few_points_are_no_joint():
    first, second = piece(world(), range(0, 16), 1), piece(world(), range(12, 28), 51)
    found = in_shared_frames(first, second)
    assert "points in common" in joint_of(first, second, found[torch.arange(20)]).reason


def test_a_flight_there_and_back_is_one_map_with_one_scale():
    """Four clips out, and the way back joins the way out: the loop is closed, and all lie in one world."""
    spans = [range(0, 14), range(10, 24), range(20, 34), range(30, 44)]
    clips = [piece(world(), span, seed) for seed, span in enumerate(spans)]
    joints = {}
    for a in range(4):
        for b in range(a + 1, 4):
            joints[a, b] = joint_of(clips[a], clips[b], in_shared_frames(clips[a], clips[b]))
    back = replace(piece(world(), range(28, 14, -1), 9), images=tuple(Path(f"back_{n}.png") for n in range(14)))
    lone = piece(world(3), range(0, 14), 10)
    clips = [*clips, back, replace(lone, images=tuple(Path(f"lone_{n}.png") for n in range(14)))]
    for a in (1, 2):
        match = matcher_of(clips[a], back, world(), (a, 9))
        pairs = [(n, m) for n in range(3, 14, 5) for m in range(0, 14, 5)]
        joints[a, 4] = joint_of(clips[a], back, in_matched_frames(clips[a], back, pairs, match))
    found = maps_of(6, joints, [clip.median_depth for clip in clips])
    assert [one.members for one in found] == [(0, 1, 2, 3, 4), (5,)] and (1, 4) in found[0].joints
    assert not found[0].left_out and len(found[0].joints) >= 5
    true = similarity(0)
    for member in found[0].members[1:]:
        off = true.inverse() @ found[0].map_from_member[member] @ similarity(member if member < 4 else 9)
        assert abs(math.log(float(off.scale))) < 0.02
    one = merged(clips, found[0], "map_000").sequence
    assert len(one) == 44 + 14 and len(set(one.frame_names)) == 58 and len(one.points) > 500
    errors = (one.projections - one.observations.pixels).norm(dim=-1)
    assert float(errors.quantile(0.5)) < 12  # noisy depths, no adjustment afterwards
    centres = true.inverse().apply(one.camera_centres)[:44, 0]
    assert float((centres - 0.5 * torch.tensor([int(n[-6:]) for n in one.frame_names[:44]])).abs().max()) < 0.5


def test_adjusting_a_map_pulls_its_clips_together():
    """Points that agree become one, and the error of all observations falls to their noise; the path's falls too."""
    spans = [range(0, 14), range(10, 24), range(20, 34)]
    clips = [piece(world(), span, seed, noise=0.03) for seed, span in enumerate(spans)]
    joints = {(a, a + 1): joint_of(clips[a], clips[a + 1], in_shared_frames(clips[a], clips[a + 1])) for a in range(2)}
    (one_map,) = maps_of(3, joints, [clip.median_depth for clip in clips])
    alone = merged(clips, one_map, "map")
    together = merged(clips, one_map, "map", joints)
    assert not alone.linking.any() and int(together.linking.sum()) > 100
    fewer = len(alone.sequence.points) - len(together.sequence.points)  # a point of three clips is two fewer
    assert int(together.linking.sum()) <= fewer <= 2 * int(together.linking.sum())
    seen = together.sequence.observations
    assert len(torch.unique(torch.stack([seen.frame, seen.point]), dim=1)[0]) == len(seen)
    sequence, told = adjusted_map(together)
    assert told.kept and told.after_px < 0.5 < told.before_px
    errors = (sequence.projections - sequence.observations.pixels).norm(dim=-1)
    assert float(errors.quantile(0.5)) == pytest.approx(told.after_px, rel=0.05)
    true = similarity(0).apply(true_centres(range(34)))
    order = torch.tensor(np.argsort(sequence.frame_names))
    extent = float((true - true.mean(0)).norm(dim=-1).square().mean().sqrt())

    def off(one: Sequence) -> float:
        mine = one.camera_centres[order]
        return float((Similarity.estimate(mine, true).apply(mine) - true).norm(dim=-1).square().mean().sqrt()) / extent

    assert off(sequence) < 0.5 * off(together.sequence) < 0.05
    assert float((sequence.camera_centres - together.sequence.camera_centres).norm(dim=-1).max()) < 0.1 * extent


def test_a_map_without_common_points_or_too_large_stays_as_it_was(monkeypatch):
    clips = [piece(world(), span, seed) for seed, span in enumerate((range(0, 14), range(10, 24)))]
    joints = {(0, 1): joint_of(clips[0], clips[1], in_shared_frames(*clips))}
    (one_map,) = maps_of(2, joints, [clip.median_depth for clip in clips])
    alone = merged(clips, one_map, "map")
    sequence, told = adjusted_map(alone)
    assert sequence is alone.sequence and not told.kept and told.figures()["after_px"] is None
    monkeypatch.setattr("depthscope.reconstruction.joining.adjustment.MOST_FRAMES", 20)
    together = merged(clips, one_map, "map", joints)
    assert adjusted_map(together)[0] is together.sequence


def test_a_joint_that_contradicts_the_others_is_left_out():
    clips = [piece(world(), span, seed) for seed, span in enumerate((range(0, 14), range(10, 24), range(20, 34)))]
    joints = {(a, a + 1): joint_of(clips[a], clips[a + 1], in_shared_frames(clips[a], clips[a + 1])) for a in (0, 1)}
    wrong = similarity(2) @ similarity(77) @ similarity(0).inverse()
    joints[0, 2] = Joint(wrong, 60, 25, 0.5, 0.01)
    (one,) = maps_of(3, joints, [clip.median_depth for clip in clips])
    assert one.left_out == ((0, 2),) and one.joints == tuple(sorted(one.joints))


# --- folders and images


def written(clip: Sequence, folder: Path, of_frame) -> Path:
    """A clip as a folder whose images `of_frame` draws by name."""
    images = []
    for image in clip.images:
        images.append(folder / "frames" / image.name)
        images[-1].parent.mkdir(parents=True, exist_ok=True)
        write_image(images[-1], of_frame(image.stem))
    write_sequence(replace(clip, images=tuple(images)), folder / "clip")
    return folder / "clip"


def drawn(name: str) -> torch.Tensor:
    return torch.full((480, 640, 3), 20 + 5 * int(name[-6:]), dtype=torch.uint8)


def test_the_verb_writes_one_sequence_that_other_verbs_read(tmp_path, capsys):
    spans = range(0, 16), range(12, 28)
    folders = [written(piece(world(), span, seed), tmp_path / f"{seed}", drawn) for seed, span in enumerate(spans)]
    assert main(["join", *map(str, folders), "--accept-rejected", "--out", str(tmp_path / "out")]) == 0
    assert "one map of 28 frames" in capsys.readouterr().out
    one = read_sequence(tmp_path / "out" / "map_000")
    assert len(one) == 28 and list(one.frame_names) == sorted(one.frame_names)
    assert all(torch.equal(read_image(image), drawn(image.stem)) for image in one.images[::9])
    steps = one.camera_centres.diff(dim=0).norm(dim=-1)
    assert float(steps.max() / steps.quantile(0.5)) < 3  # no jump where the clips meet


def test_frames_of_two_videos_are_not_taken_for_one_by_their_names(tmp_path, capsys):
    spans = range(0, 14), range(0, 14)
    dark = [
        written(piece(world(seed), span, seed), tmp_path / f"{seed}", lambda name, s=seed: drawn(name) + s)
        for seed, span in enumerate(spans)
    ]
    assert main(["join", *map(str, dark), "--accept-rejected", "--out", str(tmp_path / "out")]) == 3
    assert "not joined" in capsys.readouterr().out and not (tmp_path / "out" / "map_000").exists()


def test_one_sequence_is_nothing_to_join(tmp_path, capsys):
    folder = written(piece(world(), range(0, 14), 0), tmp_path / "a", drawn)
    assert main(["join", str(folder), "--out", str(tmp_path / "out")]) == 2
    assert "two or more" in capsys.readouterr().err


def test_sift_matches_two_views_of_a_wall(tmp_path):
    seen = scene(3)
    for number, image in enumerate(seen.images):
        write_image(tmp_path / f"{number}.png", torch.from_numpy(image))
    mask = np.zeros((128, 160), np.uint8)
    mask[:, 30:] = 1
    match = Appearance(mask)
    left, right = match(tmp_path / "0.png", tmp_path / "1.png")
    assert len(left) > 15 and left[:, 0].min() >= 30
    flow = np.median(seen.pixels[1] - seen.pixels[0], 0)
    assert np.abs(np.median(right - left, 0) - flow).max() < 3
    assert match(tmp_path / "0.png", tmp_path / "1.png")[0] is not left and len(match.kept) == 2


def test_accepted_clips_of_a_video_become_one_map_that_run_and_report_go_on_with(tmp_path):
    place = tmp_path / "case" / "sequence"
    spans = {"clip_000": range(0, 16), "clip_001": range(12, 28), "clip_002": range(33, 47)}
    results = []
    for seed, (name, span) in enumerate(spans.items()):
        clip = piece(world() + torch.tensor([30.0 if seed == 2 else 0.0, 0, 0]), span, seed)
        place.mkdir(exist_ok=True, parents=True)
        written(clip, tmp_path / name, drawn).rename(place / name)
        row = {"name": name, "accepted": True, "outcome": "accepted", "reasons": [], "frames": len(clip)}
        row |= {"registered": len(clip), "points": len(clip.points), "camera_source": "given"}
        row |= {"mean_track_length": 4.0, "mean_reprojection_px": 0.5}
        results.append(row)
        (place / name / "result.json").write_text(json.dumps(row | {"checks": {}}))
    maps = joined_maps(place, results, 0, Display())
    assert [row["members"] for row in maps] == [["clip_000", "clip_001"]] and maps[0]["registered"] == 28
    surveyed = Survey((640, 480), (), whole_frame((640, 480)), (), ("a note",))
    found = summary(results, surveyed, 1.0, maps)
    (place / "result.json").write_text(json.dumps(found))
    assert [row["name"] for row in found["clips"]] == ["clip_000", "clip_001", "clip_002", "map_000"]
    assert found["registered"] == sum(row["registered"] for row in results)
    names = [folder.name for folder in usable(place, tmp_path / "video.mp4", False)]
    assert names == ["clip_002", "map_000"] and len(read_sequence(place / "map_000")) == 28
    assert [clip.name for clip in open_case(place.parent).clips] == names
    assert main(["report", str(place.parent)]) == 0
    assert joined_maps(place, results[2:], 0, Display()) == [] and not (place / "map_000").exists()
