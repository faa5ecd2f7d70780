"""One figure on a sequence, with its gate and what it means in words."""

import math
from dataclasses import dataclass, replace
from typing import Literal, TypedDict, Unpack

Direction = Literal["at least", "at most"]


@dataclass(frozen=True)
class Check:
    """One figure and its gate.

    Attributes:
        value: The figure; NaN where there is nothing to measure.
        gate: What it is compared with.
        direction: Whether the value has to be at least or at most the gate.
        passed: Whether it is; None = cannot tell.
        sentence: What was found, in words.
        hint: What to do where it did not pass.
        null: The same figure where nothing is right (or where everything is: then it is the best to be had), if known.
        standard_error: Of the value, if known.
        p_value: Chance of a value as good under the null, if known.
        unit: What the sentence gives the value in: "%" for a share, " px", or "" for the value as it is.
        per_unit: So many units are a value of 1; of "%" always 100.
    """

    value: float
    gate: float
    direction: Direction
    passed: bool | None
    sentence: str
    hint: str = ""
    null: float | None = None
    standard_error: float | None = None
    p_value: float | None = None
    unit: str = ""
    per_unit: float = 1.0

    def shown(self, value: float) -> str:
        """A value of this figure as the sentence gives it."""
        return f"{value * (100.0 if self.unit.startswith('%') else self.per_unit):.3g}{self.unit}"

    @property
    def excess(self) -> float:
        """How far on the wrong side of its gate the value lies; 0 at the gate, and where the value is unknown."""
        return 0.0 if math.isnan(self.value) else self.excess_of(self.value)

    def excess_of(self, value: float) -> float:
        """The excess of another value of the same figure.

        One scale for every figure: asinh(value / unit) - asinh(gate / unit) with the sign of "bad", and the gate as
        unit (1 for a gate of 0). It is smooth and strictly monotone whatever the signs of value and gate: linear within
        the size of the gate, logarithmic far beyond it.
        """
        unit = abs(self.gate) or 1.0
        beyond = math.asinh(value / unit) - math.asinh(self.gate / unit)
        return -beyond if self.direction == "at least" else beyond


class Known(TypedDict, total=False):
    """What is known beside a figure, and how its sentence gives it: fields of `Check`."""

    null: float | None
    standard_error: float | None
    p_value: float | None
    unit: str
    per_unit: float


def at_least(value: float, gate: float, found: str, hint: str, **known: Unpack[Known]) -> Check:
    """A check of a figure that has to be high; NaN = cannot tell."""
    return _judged(value, gate, "at least", found, hint, known)


def at_most(value: float, gate: float, found: str, hint: str, **known: Unpack[Known]) -> Check:
    """A check of a figure that has to be low; NaN = cannot tell."""
    return _judged(value, gate, "at most", found, hint, known)


def cannot_tell(gate: float, direction: Direction, why: str, **known: Unpack[Known]) -> Check:
    """A check that has nothing to go by."""
    return Check(math.nan, gate, direction, None, f"cannot tell: {why}", "", **known)


NOT_STILL = (
    "they are wrong, or tissue or tools move by themselves; leave tools out with --masks, or use a stretch of the "
    "video in which only the camera moves"
)
"""Why poses and points of structure from motion contradict their images, and what to do."""


def cut_at(name: str) -> str:
    """The advice to cut a clip before a frame, with the options that do it.

    Args:
        name: Of the frame, without an ending.
    """
    return f"cut the video there: depthscope reconstruct with --end {name}, or with --start {name}"


def _judged(value: float, gate: float, direction: Direction, found: str, hint: str, known: Known) -> Check:
    if math.isnan(value):
        return cannot_tell(gate, direction, "nothing to measure", **known)
    passed = bool(value >= gate if direction == "at least" else value <= gate)
    check = Check(float(value), float(gate), direction, passed, found, "" if passed else hint, **known)
    word = "less" if direction == "at least" else "more"
    return check if passed else replace(check, sentence=f"{found} ({word} than {check.shown(gate)})")
