"""The verdict on a sequence: is its structure from motion right, and if not, why not?"""

from depthscope.inspection.angles import largest_angles_deg
from depthscope.inspection.check import Check
from depthscope.inspection.cleaning import Cleaned, cleaned
from depthscope.inspection.evidence import Evidence, HeldOutMatches, Witnesses
from depthscope.inspection.verdict import (
    CHECKS,
    Combination,
    Verdict,
    combination,
    in_doubt,
    inspect,
    inspect_cleaned,
    judged,
    with_second_run,
)

__all__ = [
    "CHECKS",
    "Check",
    "Cleaned",
    "Combination",
    "Evidence",
    "HeldOutMatches",
    "Verdict",
    "Witnesses",
    "cleaned",
    "combination",
    "in_doubt",
    "inspect",
    "inspect_cleaned",
    "judged",
    "largest_angles_deg",
    "with_second_run",
]
