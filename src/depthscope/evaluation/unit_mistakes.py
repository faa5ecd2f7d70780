"""The scale that brought a prediction to the truth: told, and doubted where both claim the same unit."""

import math

MOST_APART = 3.0
"""Beyond this factor two results in mm are not both in mm."""

USUAL = {
    10.0: "centimetres and millimetres",
    100.0: "centimetres and metres",
    1000.0: "metres and millimetres",
    256.0: "values times 256, as 16-bit files hold them",
    65535 / 100: "16-bit levels of 100 mm",
}
"""Factors that units and encodings are mistaken by."""

NEAR = 0.15

THOUSAND = 0.03
"""Where no unit is told, only a factor so near to a thousand is no chance."""


def scale_warning(scale: float) -> list[str]:
    """What to say about a factor between two results that are both said to be in mm: nothing below `MOST_APART`.

    Args:
        scale: Truth over prediction.
    """
    factor = max(scale, 1 / scale)
    if not factor > MOST_APART:
        return []
    names = [name for size, name in USUAL.items() if abs(math.log(factor / size)) < NEAR]
    likely = f"; that is about the factor of {names[0]}" if names else ""
    return [f"both say mm, and yet the truth is {scale:.4g} times the prediction{likely}: one of them is not in mm"]


def thousand_warning(scale: float) -> list[str]:
    """What to say about a factor of a thousand between two paths whose units are not both told.

    Args:
        scale: Truth over prediction.
    """
    if abs(abs(math.log(scale)) - math.log(1000)) > THOUSAND:
        return []
    return [f"the truth is {scale:.4g} times the prediction: one of them is in metres and the other one in millimetres"]
