"""Which pose of one recording belongs to which of another one: the nearest in time, within a stated limit."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext

from depthscope.errors import BadInputError
from depthscope.formats.times import DIGITS, median_step

LIMIT_S = Decimal("0.02")
"""Times further apart are not paired, as in the tool of the TUM benchmark; nor are those half a step apart."""


@dataclass(frozen=True)
class Association:
    """Pairs of times.

    Attributes:
        pairs: Positions in the first and in the second recording, in order of time.
        limit_s: The largest difference that was allowed.
        largest_s: The largest difference of a pair.
    """

    pairs: tuple[tuple[int, int], ...]
    limit_s: Decimal
    largest_s: Decimal


def associated(
    first: Sequence[Decimal],
    second: Sequence[Decimal],
    limit_s: Decimal | None = None,
    offset_s: Decimal = Decimal(0),
) -> Association:
    """Pairs of times that are each other's nearest, within a limit.

    Args:
        first: Times in seconds, rising.
        second: The same of the other recording.
        limit_s: The largest difference of a pair; None takes `LIMIT_S`, and at most half of the smaller median step.
        offset_s: Added to the times of `first` before they are compared.

    Raises:
        BadInputError: No two times are that near.
    """
    with localcontext() as context:
        context.prec = DIGITS
        moved = [time + offset_s for time in first]
        limit = _limit(moved, second) if limit_s is None else limit_s
        pairs, largest = [], Decimal(0)
        for here, time in enumerate(moved):
            there = nearest(second, time)
            if nearest(moved, second[there]) == here and (apart := abs(second[there] - time)) <= limit:
                pairs.append((here, there))
                largest = max(largest, apart)
        if not pairs:
            raise BadInputError(
                f"no two times are within {limit:f} s: {moved[0]:f} to {moved[-1]:f} s against "
                f"{second[0]:f} to {second[-1]:f} s",
                "two recordings of the same time by the same clock",
                _way_out(moved, second),
            )
    return Association(tuple(pairs), limit, largest)


def nearest(times: Sequence[Decimal], time: Decimal) -> int:
    """The position of the nearest of some rising times; of two that are equally near the earlier one."""
    after = bisect_left(times, time)
    if after == 0:
        return 0
    if after == len(times):
        return after - 1
    return after if times[after] - time < time - times[after - 1] else after - 1


def _limit(first: Sequence[Decimal], second: Sequence[Decimal]) -> Decimal:
    steps = [step for times in (first, second) if (step := median_step(times)) is not None]
    return min([LIMIT_S, *(step / 2 for step in steps)])


def _way_out(first: Sequence[Decimal], second: Sequence[Decimal]) -> str:
    """What to do where no times meet: the offset that would bring them together, where both ends ask for the same."""
    start, end = second[0] - first[0], second[-1] - first[-1]
    if abs(start - end) <= LIMIT_S:
        return f"if one clock began later, give --time-offset-s {start.normalize():f}"
    return "check that both are of the same recording; give --time-offset-s where the clocks differ"
