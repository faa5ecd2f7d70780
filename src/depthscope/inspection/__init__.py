"""The verdict on a sequence: is its structure from motion right, and if not, why not?"""

from depthscope.inspection.angles import largest_angles_deg
from depthscope.inspection.check import Check
from depthscope.inspection.cleaning import Cleaned, cleaned
from depthscope.inspection.evidence import Evidence, HeldOutMatches, Witnesses
from depthscope.inspection.expected_error import ErrorEstimate, ErrorModel, ErrorModels, ExpectedError
from depthscope.inspection.rule import Rule, shipped_rule
from depthscope.inspection.verdict import (
    CHECKS,
    Verdict,
    doubted,
    in_doubt,
    inspect,
    inspect_cleaned,
    judged,
    refused,
    with_second_run,
)

__all__ = [
    "CHECKS",
    "Check",
    "Cleaned",
    "ErrorEstimate",
    "ErrorModel",
    "ErrorModels",
    "Evidence",
    "ExpectedError",
    "HeldOutMatches",
    "Rule",
    "Verdict",
    "Witnesses",
    "cleaned",
    "doubted",
    "in_doubt",
    "inspect",
    "inspect_cleaned",
    "judged",
    "largest_angles_deg",
    "refused",
    "shipped_rule",
    "with_second_run",
]
