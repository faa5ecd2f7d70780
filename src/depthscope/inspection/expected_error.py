"""How large the error of a reconstruction probably is: of its path and of its depth, each with an interval.

The checks that measure an error of their own (how far an adjustment to unseen tracks moves the cameras, by how much
depths from optical flow differ) grow with the true error. On phantoms, whose truth is known, the logarithm of the true
error is fitted by a sum of logarithms of such checks with weights of at least 0, so that no worse check makes the
expected error smaller. The interval is that of the residuals of patients that the fit left out (conformal prediction:
Vovk et al. 2005; Lei et al. 2018), so it holds for reconstructions like those, and no further.
"""

import math
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml

from depthscope.inspection.check import Check

LEAST = 1e-3
"""Smaller values of a check count as this; its logarithm would run away."""


@dataclass(frozen=True)
class ErrorEstimate:
    """An error that is not known, but expected.

    Attributes:
        median: As often smaller as larger; a share, 0.05 is 5 %.
        low: Lower end of the interval.
        high: Its upper end.
        coverage: Share of reconstructions whose error lies inside the interval.
    """

    median: float
    low: float
    high: float
    coverage: float

    def summary_of(self, unit: str) -> str:
        """The error and its interval in words; `unit` says what it is a share of."""
        return f"{self.median:.1%}{unit} ({self.coverage:.0%} interval {self.low:.1%} to {self.high:.1%})"


@dataclass(frozen=True)
class ErrorModel:
    """The logarithm of an error as a sum over checks.

    Attributes:
        intercept: Where all checks are 1.
        weights: Of the logarithm of each check, at least 0.
        residuals: Lower and upper end of ln(true error / expected error).
        coverage: Share of the residuals between these ends.
    """

    intercept: float
    weights: dict[str, float]
    residuals: tuple[float, float]
    coverage: float

    def __post_init__(self) -> None:
        if any(weight < 0 for weight in self.weights.values()):
            raise ValueError(f"weights {self.weights}: a worse check must not make the expected error smaller")

    def applies(self, checks: dict[str, Check]) -> bool:
        """Whether every check that it needs has something to go by."""
        return all(name in checks and checks[name].passed is not None for name in self.weights)

    def estimate(self, checks: dict[str, Check]) -> ErrorEstimate:
        """The expected error; `applies` says whether there is one."""
        terms = (weight * log_of(checks[name]) for name, weight in self.weights.items())
        expected = self.intercept + sum(terms)
        low, high = (math.exp(expected + end) for end in self.residuals)
        return ErrorEstimate(math.exp(expected), low, high, self.coverage)


@dataclass(frozen=True)
class ExpectedError:
    """What a reconstruction is probably wrong by; None where no check speaks of it.

    Attributes:
        path: RMS distance of the camera centres from the true ones after the best similarity, over the RMS extent of
            the true path.
        depth: Median relative error of the depth of observed points, after one scale.
    """

    path: ErrorEstimate | None
    depth: ErrorEstimate | None

    @property
    def summary(self) -> str:
        """One line; "" where nothing is known."""
        named = (("camera path", " of its extent", self.path), ("depth", "", self.depth))
        parts = [f"{name} {error.summary_of(unit)}" for name, unit, error in named if error is not None]
        return f"expected error: {'; '.join(parts)}" if parts else ""


@dataclass(frozen=True)
class ErrorModels:
    """How errors are expected: of several models the first whose checks all speak.

    Attributes:
        path: For the path, the best first.
        depth: For depth.
    """

    path: tuple[ErrorModel, ...]
    depth: tuple[ErrorModel, ...]

    def expected(self, checks: dict[str, Check]) -> ExpectedError:
        """What these checks let expect."""
        return ExpectedError(_first(self.path, checks), _first(self.depth, checks))


def log_of(check: Check) -> float:
    """The logarithm of a check's value."""
    return math.log(max(check.value, LEAST))


def _first(models: tuple[ErrorModel, ...], checks: dict[str, Check]) -> ErrorEstimate | None:
    return next((model.estimate(checks) for model in models if model.applies(checks)), None)


@cache
def shipped_error_models() -> ErrorModels:
    """The models that the package carries (``expected_error.yaml``)."""
    content = yaml.safe_load(files("depthscope.inspection").joinpath("expected_error.yaml").read_text("utf-8"))

    def models(rows: list[dict]) -> tuple[ErrorModel, ...]:
        return tuple(
            ErrorModel(
                float(row["intercept"]),
                {name: float(weight) for name, weight in row["weights"].items()},
                (float(row["residuals"][0]), float(row["residuals"][1])),
                float(row["coverage"]),
            )
            for row in rows
        )

    return ErrorModels(models(content["path"]), models(content["depth"]))
