"""The expected error of a reconstruction: monotone, silent where nothing is known, and an interval that holds."""

import math
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st

from depthscope.inspection import ErrorModel, ErrorModels, ExpectedError, Verdict
from depthscope.inspection.check import at_most, cannot_tell
from depthscope.inspection.expected_error import shipped_error_models
from depthscope.pipeline.reconstruction import expected_error_of

NAMES = ("own_adjustment", "resection", "point_depth", "retracking")

values = st.floats(0, 2, allow_nan=False)


def checks_with(**values):
    return {name: at_most(value, 0.2, "found", "hint") for name, value in values.items()}


@given(st.fixed_dictionaries(dict.fromkeys(NAMES, values)), st.sampled_from(NAMES), st.floats(1, 5))
def test_no_check_that_gets_worse_makes_the_expected_error_smaller(said, name, times):
    models = shipped_error_models()
    before = models.expected(checks_with(**said))
    after = models.expected(checks_with(**said | {name: said[name] * times}))
    for one, other in ((before.path, after.path), (before.depth, after.depth)):
        assert one is not None and other is not None
        assert one.low < one.median < one.high
        assert other.median >= one.median * (1 - 1e-12)


def test_the_shipped_models_tell_a_sound_reconstruction_from_a_wrong_one():
    sound = checks_with(own_adjustment=0.03, resection=0.004, point_depth=0.05, retracking=0.0015)
    wrong = checks_with(own_adjustment=0.6, resection=0.05, point_depth=0.4, retracking=0.01)
    good, bad = shipped_error_models().expected(sound), shipped_error_models().expected(wrong)
    for one, other in ((good.path, bad.path), (good.depth, bad.depth)):
        assert one is not None and other is not None
        assert one.high < 0.2 and other.median > 0.2


def test_a_silent_check_leaves_the_model_without_it_and_none_leaves_no_figure():
    said = checks_with(own_adjustment=0.03, resection=0.004, retracking=0.0015)
    silent = cannot_tell(0.2, "at most", "nothing to follow")
    models = ErrorModels(
        (ErrorModel(0.0, {"own_adjustment": 1.0}, (-1.0, 1.0), 0.9),),
        (
            ErrorModel(0.0, {"point_depth": 1.0}, (-1.0, 1.0), 0.9),
            ErrorModel(0.5, {"retracking": 0.5}, (-2.0, 2.0), 0.8),
        ),
    )
    found = models.expected({**said, "point_depth": silent})
    assert found.path is not None and found.depth is not None
    assert found.path.median == pytest.approx(0.03)
    assert found.path.high == pytest.approx(0.03 * math.e)
    assert found.depth.median == pytest.approx(math.exp(0.5) * 0.0015**0.5) and found.depth.coverage == 0.8
    nothing = models.expected({"own_adjustment": silent})
    assert nothing == ExpectedError(None, None) and nothing.summary == ""


def test_a_weight_that_rewards_a_worse_check_is_refused():
    with pytest.raises(ValueError, match="smaller"):
        ErrorModel(0.0, {"resection": -0.1}, (-1.0, 1.0), 0.9)


def test_the_expected_error_goes_with_the_verdict_and_comes_back_from_a_result():
    verdict = Verdict("accepted", (), checks_with(own_adjustment=0.03, resection=0.004, point_depth=0.05))
    expected = verdict.expected_error
    assert expected.path is not None and expected.depth is not None
    stored = {key: vars(getattr(expected, key)) for key in ("path", "depth")}
    assert expected_error_of({"expected_error": stored}) == expected
    assert f"camera path {expected.path.median:.1%} of its extent (90% interval" in expected.summary
    assert expected_error_of({}).summary == ""  # of an older version
    partial = replace(verdict, checks=checks_with(retracking=0.002)).expected_error
    assert partial.path is not None and partial.path.high / partial.path.low > expected.path.high / expected.path.low


@pytest.fixture
def benchmark():
    folder = str(Path(__file__).resolve().parents[1] / "benchmarks")
    sys.path.insert(0, folder)
    yield import_module("expected_error")
    sys.path.remove(folder)


def test_the_fitted_interval_covers_patients_that_took_no_part(benchmark):
    draw = np.random.default_rng(0)

    def row(patient, made):
        value = float(np.exp(draw.normal(-3, 0.7)))
        noise = 0.2 if made else 0.5  # of videos the error is less well known: the interval has to hold for both
        check = {"value": value, "gate": 0.2, "direction": "at most", "passed": True, "sentence": "", "hint": ""}
        true = {"path": 2 * value**0.8 * float(np.exp(draw.normal(0, noise)))}
        return {"patient": patient, "checks": {"own_adjustment": check}, **true, **({"kind": "good"} if made else {})}

    rows = [row(f"p{n % 20}", made=n % 4 != 0) for n in range(1600)]
    model = benchmark.fitted(rows, "path", ("own_adjustment",))
    assert model.weights["own_adjustment"] == pytest.approx(0.8, abs=0.1)
    assert model.intercept == pytest.approx(math.log(2), abs=0.3)
    fresh = [row("new", made=False) for _ in range(1000)]
    found = benchmark.measured(fresh, "path", ErrorModels((model,), ()))
    assert 0.85 <= found["inside"] <= 0.96
    assert found["rank_correlation"] > 0.6
