"""Recipes side by side: equal conditions, one table, one page, and going on after an interruption."""

import json
from dataclasses import replace

import pytest

from depthscope.cli import main
from depthscope.comparison import FLAT, equal_budget, named, summary
from depthscope.errors import BadInputError
from depthscope.recipes import ENDOSCOPY_PHOTOMETRIC, FAST, RECIPES, to_yaml
from stereo import shrunk
from tiny_runs import TINY, TUBE, tube_clip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A comparison of two tiny recipes with two seeds on a tube with true depth, and its folders."""
    place = tmp_path_factory.mktemp("compare")
    tube_clip(place / "tube", replace(TUBE, frames=10))
    (place / "points.yaml").write_text(to_yaml(TINY))
    (place / "views.yaml").write_text(to_yaml(replace(shrunk(ENDOSCOPY_PHOTOMETRIC), network=TINY.network)))
    call = ["compare", str(place / "tube"), "--recipes", f"{place / 'points.yaml'},{place / 'views.yaml'}"]
    call += ["--steps", "2", "--seeds", "2", "--area-px", "4000", "--batch", "2", "--out", str(place / "out")]
    assert main(call) == 0
    return place, call


def test_it_leaves_one_table_and_one_page(made):
    out = made[0] / "out"
    result = json.loads((out / "result.json").read_text("utf-8"))
    names = [FLAT, "tiny", "endoscopy-photometric"]
    assert list(result["recipes"]) == names and result["judged_by"] == {"tube": "dense-1"}
    assert len(result["rows"]) == 1 + 2 * 2
    for name in names[1:]:
        own = [row["abs_rel"] for row in result["rows"] if row["recipe"] == name]
        assert result["recipes"][name]["abs_rel"] == pytest.approx(sum(own) / 2)
        assert result["recipes"][name]["abs_rel_std"] == pytest.approx(abs(own[0] - own[1]) / 2**0.5)
        assert result["recipes"][name]["examples"] == 4
    assert 0.05 < result["recipes"][FLAT]["abs_rel"] < 1
    text, page = (out / "compare.md").read_text("utf-8"), (out / "compare.html").read_text("utf-8")
    for name in names:
        assert f"| {name} |" in text and name in page
    assert page.count("<figure>") == 2 + 2 and "true depth" in page
    assert page.startswith("<!DOCTYPE html>") and "data:image/jpeg" in page and "http" not in page.split("<body>")[1]


def test_it_goes_on_where_it_was(made):
    place, call = made
    before = json.loads((place / "out" / "result.json").read_text("utf-8"))["rows"]
    stamp = (place / "out/runs/tiny-0/log.csv").read_text("utf-8")
    assert main(call) == 0
    after = json.loads((place / "out" / "result.json").read_text("utf-8"))["rows"]
    assert [row["abs_rel"] for row in before] == [row["abs_rel"] for row in after]
    assert (place / "out/runs/tiny-0/log.csv").read_text("utf-8") == stamp


def test_points_kept_from_training_judge_where_there_is_no_depth(made, tmp_path):
    import shutil

    shutil.copytree(made[0] / "tube", tmp_path / "tube")
    shutil.rmtree(tmp_path / "tube/depth")
    call = [
        "compare",
        str(tmp_path / "tube"),
        "--recipes",
        str(made[0] / "points.yaml"),
        "--out",
        str(tmp_path / "out"),
    ]
    assert main([*call, "--steps", "1", "--seeds", "1", "--area-px", "4000"]) == 0
    result = json.loads((tmp_path / "out/result.json").read_text("utf-8"))
    assert result["judged_by"] == {"tube": "sfm-points-1"} and 0.01 < result["recipes"][FLAT]["abs_rel"] < 1


def test_every_recipe_is_made_equal():
    equal = [equal_budget(recipe, 70, 4, 20_000) for recipe in RECIPES.values()]
    assert len({(r.training.steps, r.training.batch, r.supervision.area_px, r.supervision.size_px) for r in equal}) == 1
    assert len({r.supervision.holdout for r in equal}) == 1
    assert [r.objective for r in equal] == [r.objective for r in RECIPES.values()]
    assert equal_budget(FAST, 70, None, 20_000).training.batch == FAST.training.batch


def test_recipes_are_named_once(made):
    assert [recipe.name for recipe in named("fast, monodepth2-m")] == ["fast", "monodepth2-m"]
    with pytest.raises(BadInputError, match="two recipes called fast"):
        named("fast,FAST")
    with pytest.raises(BadInputError, match="no recipe 'none'"):
        named("fast,none")


def test_the_spread_is_that_of_the_seeds():
    figures = {"delta1": 1.0, "sequence_abs_rel": 0.5, "scale_drift": 0.0}
    rows = [
        {"recipe": "a", "seed": seed, "clip": clip, "abs_rel": value, **figures}
        for seed, clip, value in ((0, "x", 0.1), (0, "y", 0.3), (1, "x", 0.2), (1, "y", 0.4))
    ]
    assert summary(rows)["a"]["abs_rel"] == pytest.approx(0.25)
    assert summary(rows)["a"]["abs_rel_std"] == pytest.approx(0.1 / 2**0.5)  # of 0.2 and 0.3; clips differ more


def test_bad_input_is_told_in_one_line(made, tmp_path, capsys):
    place, _ = made
    (tmp_path / "other").mkdir()
    (tmp_path / "other/a.txt").write_text("mine")
    for more, told in (
        (["--recipes", "monodepth2-s"], "has one eye"),
        (["--recipes", "fast", "--seeds", "0"], "--seeds 0"),
        (["--recipes", "fast", "--out", str(tmp_path / "other")], "is not a comparison"),
    ):
        out = [] if "--out" in more else ["--out", str(tmp_path / "out")]
        assert main(["compare", str(place / "tube"), *more, *out]) == 2
        assert told in capsys.readouterr().err
