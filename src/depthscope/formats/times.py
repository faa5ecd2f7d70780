"""Times of poses as decimal numbers: a Unix time in nanoseconds has 19 digits, and a float keeps 16 of them."""

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation, localcontext

SECONDS, MILLISECONDS, MICROSECONDS, NANOSECONDS = 0, 3, 6, 9
"""Powers of ten in a second."""

NAMES = {SECONDS: "seconds", MILLISECONDS: "milliseconds", MICROSECONDS: "microseconds", NANOSECONDS: "nanoseconds"}

DIGITS = 60
"""Significant digits of the arithmetic here: more than any clock writes."""

UNIX_S = (Decimal(5 * 10**8), Decimal(5 * 10**9))
"""Unix times in seconds between 1985 and 2128."""

STEP_S = (Decimal("0.0001"), Decimal(100))
"""A median step of a recording in seconds, where its times are Unix times."""

LEAST_STEP = {NANOSECONDS: Decimal(500_000), MICROSECONDS: Decimal(1000)}
"""The smallest median step that makes plain numbers nano- or microseconds: seconds would be 17 minutes apart."""


def parsed(text: str) -> Decimal | None:
    """The number with all its digits, or None where it is not a finite one."""
    try:
        value = Decimal(text.strip())
    except InvalidOperation:
        return None
    return value if value.is_finite() and abs(value.adjusted()) < 40 else None


def in_seconds(values: Sequence[Decimal], unit: int) -> tuple[Decimal, ...]:
    """The same times in seconds; no digit is lost.

    Args:
        values: Times as stored.
        unit: Power of ten of the stored unit in a second, such as `NANOSECONDS`.
    """
    with localcontext() as context:
        context.prec = DIGITS
        return tuple(value.scaleb(-unit) for value in values)


def unit_of(values: Sequence[Decimal], named: int | None = None) -> tuple[int, str]:
    """The unit of stored times, and what to say about it ("" where there is nothing to say).

    A header decides. Otherwise Unix times show their unit by their size, and others by their median step: TUM's files
    are in seconds, and a step of 17 minutes is none of a video.

    Args:
        values: Times as stored, in order.
        named: The unit that a header names, or None.
    """
    if named is not None:
        return named, ""
    step = median_step(values)
    if step is None:
        return SECONDS, ""
    for unit, name in NAMES.items():
        size = Decimal(10) ** unit
        if UNIX_S[0] <= values[0] / size <= UNIX_S[1] and STEP_S[0] <= step / size <= STEP_S[1]:
            return unit, f"times are Unix times in {name}" if unit else ""
    for unit, least in LEAST_STEP.items():
        if step >= least:
            return unit, f"times are taken as {NAMES[unit]}: their median step is {step:f}"
    return SECONDS, ""


def median_step(times: Sequence[Decimal]) -> Decimal | None:
    """The (upper) median of the differences of neighbouring times; None for fewer than two."""
    with localcontext() as context:
        context.prec = DIGITS
        steps = sorted(later - earlier for earlier, later in zip(times, times[1:], strict=False))
    return steps[len(steps) // 2] if steps else None
