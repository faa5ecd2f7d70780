"""Which frame of one folder is which of another one: by name, or else by number, never by position."""

import re
from collections.abc import Iterable

from depthscope.errors import BadInputError


def same_frames(truths: Iterable[str], maps: Iterable[str]) -> dict[str, str]:
    """Which prediction is of which frame: of the same name, or else of the same number in the name.

    Raises:
        BadInputError: None is; or the numbers are the same but for a count from 0 on the one side and from 1 on the
            other, so that every pair might be off by one.
    """
    truths, maps = list(truths), list(maps)
    common = {name: name for name in truths if name in set(maps)}
    if common:
        return common
    numbered = {frame_number(name): name for name in maps}
    true_numbers = [frame_number(name) for name in truths]
    if len(numbered) == len(maps) and None not in numbered:
        common = {name: numbered[n] for name, n in zip(truths, true_numbers, strict=True) if n in numbered}
    if not common or len(set(common.values())) < len(common):
        raise BadInputError(
            f"no depth map of TRUTH ({truths[0]}, ...) has a prediction ({maps[0]}, ...)",
            "the same frame names, or names that end in the same numbers",
            "predict on the frames of TRUTH",
        )
    first, second = sorted(n for n in numbered if n is not None), sorted(n for n in true_numbers if n is not None)
    if (
        len(first) == len(second) > 1
        and {first[0], second[0]} == {0, 1}
        and first[-1] - first[0] == second[-1] - second[0]
    ):
        raise BadInputError(
            f"the frames of TRUTH ({truths[0]}, ...) count from {second[0]}, those of PREDICTION ({maps[0]}, ...) from "
            f"{first[0]}",
            "the same frame names or the same numbers: every pair would be off by one",
            "predict on the frames of TRUTH, or number one of them anew",
        )
    return common


def frame_number(name: str) -> int | None:
    """The number of a frame: at the end of its name, or else the only one in it; None where there is neither."""
    found = re.search(r"(\d+)$", name)
    if found:
        return int(found[1])
    every = re.findall(r"\d+", name)
    return int(every[0]) if len(every) == 1 else None
