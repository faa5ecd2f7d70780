"""What a run says of itself: which clips it is trained on, what it is validated on; and checkpoints that are sound."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from depthscope.cli import main
from depthscope.errors import BadInputError
from depthscope.networks.encoder_file import read_weights
from depthscope.recipes import PAPER_2018, SFMLEARNER, to_yaml
from depthscope.runs import HeldOutPoints, HeldOutSnippets, ValidatedOn, prepared, prepared_snippets, train_recipe
from depthscope.supervision import Holdout
from depthscope.training import (
    BEST,
    LAST,
    SnippetAugmentation,
    VideoDepth,
    load_checkpoint,
    save_checkpoint,
    snippet_network,
)
from stereo import shrunk, wall_clip
from tiny_runs import TINY, TUBE, Wall as FlatWall, tiny, tube_clip, wall_run


@pytest.fixture(scope="module")
def tube(tmp_path_factory):
    """A folder with a tiny sequence, and the sequence."""
    folder = tmp_path_factory.mktemp("tube") / "tube"
    return folder, tube_clip(folder, replace(TUBE, frames=6))


def holding(**shares):
    """The tiny recipe with shares kept from training, for two steps."""
    recipe = tiny(steps=2)
    return replace(recipe, supervision=replace(recipe.supervision, holdout=Holdout(**shares)))


# --- whole clips


@pytest.mark.parametrize(
    ("share", "clips", "kept"),
    [
        (0.05, 1, 0),
        (0.05, 2, 0),
        (0.05, 3, 0),
        (0.3, 7, 0),  # fewer than eight: all are trained on, whatever the share
        (0.05, 8, 0),  # 0.4, rounded down
        (0.3, 8, 2),
        (0.05, 19, 0),
        (0.05, 20, 1),
        (0.05, 22, 1),  # as many as the paper had
        (0.29, 100, 29),  # 28.999999999999996 in floating point
        (0.99, 8, 7),
        (0.0, 50, 0),
    ],
)
def test_whole_clips_are_kept_back_where_there_are_eight_rounded_down(share, clips, kept):
    found = Holdout(sequences=share).kept_back(clips)
    assert len(found) == kept and found <= set(range(clips))


def test_which_clips_are_kept_back_follows_the_seed():
    chosen = {Holdout(sequences=0.25, seed=seed).kept_back(16) for seed in range(8)}
    assert len(chosen) > 4 and Holdout(sequences=0.25, seed=3).kept_back(16) in chosen


def test_two_clips_are_both_learned_from(tube, tmp_path, capsys):
    other = shutil.copytree(tube[0], tmp_path / "other")
    config = tmp_path / "tiny.yaml"
    config.write_text(to_yaml(holding(sequences=0.05, points=0.1)))
    assert main(["train", str(tube[0]), str(other), "--config", str(config), "--out", str(tmp_path / "run")]) == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text("utf-8"))
    assert sorted(result["trained_on"]) == ["other", "tube"] and result["kept_back"] == []
    assert result["validated_on"] == "points kept from training"
    told = capsys.readouterr().out
    assert "kept from training\n" not in told and "points kept from training: AbsRel" in told


def test_clips_that_are_kept_back_are_named(tube, tmp_path, capsys):
    folders = [shutil.copytree(tube[0], tmp_path / f"clip-{n}") for n in range(8)]
    recipe = holding(sequences=0.3, points=0.0)
    config = tmp_path / "tiny.yaml"
    config.write_text(to_yaml(recipe))
    assert main(["train", *map(str, folders), "--config", str(config), "--out", str(tmp_path / "run")]) == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text("utf-8"))
    expected = [f"clip-{n}" for n in sorted(recipe.supervision.holdout.kept_back(8))]
    assert result["kept_back"] == expected and len(expected) == 2
    assert sorted(result["trained_on"] + expected) == [f"clip-{n}" for n in range(8)] == sorted(result["sequences"])
    assert result["validated_on"] == "clips kept from training"
    told = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in told if line.endswith(", kept from training")] == expected
    assert any(line.startswith("training on 6 of 8 clips") for line in told)
    assert any("clips kept from training: AbsRel" in line for line in told)


# --- what is validated on


@pytest.mark.parametrize(
    ("shares", "looks_at"),
    [({"points": 0.2}, ValidatedOn.KEPT_POINTS), ({"points": 0.0}, ValidatedOn.TRAINED_POINTS)],
)
def test_points_are_said_to_be_kept_only_where_they_were(tube, tmp_path, capsys, shares, looks_at):
    recipe = holding(**shares)
    clips, unseen = prepared([tube[1]], recipe, tmp_path / "store")
    assert HeldOutPoints(clips, unseen).looks_at == looks_at
    config = tmp_path / "tiny.yaml"
    config.write_text(to_yaml(recipe))
    call = ["train", str(tube[0]), "--config", str(config), "--store", str(tmp_path / "store")]
    assert main([*call, "--out", str(tmp_path / "run")]) == 0
    told = capsys.readouterr().out
    assert ("points kept from training" in told) == looks_at.kept
    assert ("as none were kept from training: AbsRel" in told and "no measure of accuracy" in told) != looks_at.kept
    assert json.loads((tmp_path / "run" / "result.json").read_text("utf-8"))["validated_on"] == str(looks_at)


def test_the_papers_recipe_on_one_clip_keeps_nothing_and_says_so(tube, tmp_path):
    recipe = replace(TINY, supervision=replace(TINY.supervision, holdout=PAPER_2018.supervision.holdout))
    recipe = replace(recipe, training=replace(recipe.training, steps=1))
    result = train_recipe(recipe, [tube[1]], tmp_path, quiet=True)
    assert result.validated_on == ValidatedOn.TRAINED_POINTS and result.trained_on == (tube[1].name,)


def test_snippets_are_said_to_be_kept_only_where_they_were(tmp_path):
    wall = wall_clip(tmp_path / "wall")
    for share, expected in ((0.5, ValidatedOn.KEPT_SNIPPETS), (0.0, ValidatedOn.TRAINED_SNIPPETS)):
        recipe = shrunk(SFMLEARNER)
        recipe = replace(recipe, supervision=replace(recipe.supervision, holdout=Holdout(frames=share)))
        clips, unseen = prepared_snippets([wall], recipe, tmp_path / "store")
        task = VideoDepth(snippet_network(recipe.network, recipe.objective), recipe.objective, SnippetAugmentation())
        validation = HeldOutSnippets(task, clips, unseen)
        assert validation.looks_at == expected
        of_held = {tuple(row.tolist()) for row in clips[0].held_out}
        looked_at = {tuple(row.tolist()) for _, row in validation._rows()}
        assert looked_at == (of_held if expected.kept else {tuple(row.tolist()) for row in clips[0].snippets})
        assert bool(of_held) == expected.kept
    assert HeldOutSnippets(task, clips, clips).looks_at == ValidatedOn.KEPT_SNIPPETS


def test_a_run_on_video_alone_says_which_snippets_chose_its_checkpoint(tmp_path):
    recipe = shrunk(SFMLEARNER, steps=1)
    recipe = replace(recipe, supervision=replace(recipe.supervision, holdout=Holdout()))
    result = train_recipe(recipe, [wall_clip(tmp_path / "wall")], tmp_path / "run", quiet=True)
    assert result.validated_on == ValidatedOn.TRAINED_SNIPPETS and not result.validated_on.kept


def test_a_short_clip_always_leaves_something_to_learn_from(tmp_path):
    recipe = shrunk(SFMLEARNER)
    recipe = replace(recipe, supervision=replace(recipe.supervision, holdout=Holdout(frames=0.99)))
    clips, _ = prepared_snippets([wall_clip(tmp_path / "wall")], recipe, tmp_path / "store")
    assert len(clips[0].snippets) > 0


# --- checkpoints


@pytest.mark.parametrize("junk", [float("nan"), float("inf")])
@pytest.mark.parametrize("part", ["network", "training_network"])
def test_weights_that_are_not_numbers_are_refused(tmp_path, junk, part):
    weights = {"good": torch.ones(2), "count": torch.tensor(3), "bad": torch.tensor([1.0, junk])}
    save_checkpoint(tmp_path / LAST, {"step": 3, "network": {"good": torch.ones(2)}, part: weights})
    with pytest.raises(BadInputError, match=rf"weights that are not finite \({part}\.bad\)"):
        load_checkpoint(tmp_path / LAST)


def test_a_run_whose_weights_are_not_numbers_is_not_predicted_with_nor_resumed(tube, tmp_path, capsys):
    run = wall_run(tmp_path / "run", FlatWall())
    content = load_checkpoint(run / BEST)
    content["network"]["unused"].fill_(float("nan"))
    save_checkpoint(run / BEST, content)
    save_checkpoint(run / LAST, content)
    for call in (
        ["predict", str(run), str(tube[0]), "--out", str(tmp_path / "out")],
        ["train", str(tube[0]), "--out", str(run), "--resume"],
    ):
        assert main(call) == 2
        error = capsys.readouterr().err
        assert "not finite" in error and str(run) in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_an_encoder_whose_weights_are_not_numbers_is_refused(tmp_path):
    file = Path(tmp_path / "encoder.pt")
    torch.save({"stem.weight": torch.tensor([1.0, float("nan")])}, file)
    with pytest.raises(BadInputError, match="not finite"):
        read_weights(file)
