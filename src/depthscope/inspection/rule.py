"""How the checks become one answer: gates, and how unlike sound reconstructions the witnesses are.

Fitted on sound reconstructions alone, so that no kind of failure has to be foreseen: for each witness the figure up to
which nine of ten sound ones come, and their spread. What lies beyond that, in spreads, is added up over the few most
unusual witnesses.
"""

import math
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml

from depthscope.inspection.check import Check

LONGEST_EXCESS = 2.0
MOST_SPREADS = 8.0
"""Beyond its usual figure a witness is not counted farther."""


def excess(check: Check) -> float:
    """How far beyond its gate, cut to -2..2; 0 where it cannot tell."""
    return 0.0 if check.passed is None else max(-LONGEST_EXCESS, min(LONGEST_EXCESS, check.excess))


@dataclass(frozen=True)
class Usual:
    """What one witness says of sound reconstructions.

    Attributes:
        limit: Excess beyond its gate (ln ratio, negative inside) that nine of ten stay below.
        spread: Robust standard deviation of it.
    """

    limit: float
    spread: float


@dataclass(frozen=True)
class Rule:
    """How the checks are combined; none may make a sequence better by being worse.

    Attributes:
        usual: What each witness says of sound reconstructions.
        worst: So many of the most unusual witnesses count.
        accept_up_to: Sum of their excess in spreads up to which a sequence is accepted.
        refuse_from: And from which it is refused; between them the verdict is "cannot tell".
        gates: Checks that refuse alone where they fail.
        leads: How early the check is told where it fails: those that name one cause stand before those that name none.
    """

    usual: dict[str, Usual]
    worst: int
    accept_up_to: float
    refuse_from: float
    gates: tuple[str, ...]
    leads: dict[str, float]

    def unusual(self, checks: dict[str, Check]) -> dict[str, float]:
        """How many spreads each witness is beyond the usual, the most unusual first; those within are left out."""
        beyond = {
            name: min(MOST_SPREADS, (excess(checks[name]) - usual.limit) / usual.spread)
            for name, usual in self.usual.items()
            if name in checks and checks[name].passed is not None
        }
        return {name: far for name, far in sorted(beyond.items(), key=lambda pair: -pair[1]) if far > 0}

    def strangeness(self, checks: dict[str, Check]) -> float:
        """The sum over the most unusual witnesses; 0 where all say what they usually say."""
        return sum(list(self.unusual(checks).values())[: self.worst])

    def failure(self, checks: dict[str, Check]) -> float:
        """Chance that the sequence is wrong, one half where it is no longer accepted; not calibrated beyond that."""
        return 1 / (1 + math.exp(self.accept_up_to - self.strangeness(checks)))


@cache
def shipped_rule() -> Rule:
    """The rule that the package carries (``rule.yaml``)."""
    content = yaml.safe_load(files("depthscope.inspection").joinpath("rule.yaml").read_text())
    return Rule(
        {name: Usual(float(limit), float(spread)) for name, (limit, spread) in content["usual"].items()},
        int(content["worst"]),
        float(content["accept_up_to"]),
        float(content["refuse_from"]),
        tuple(content["gates"]),
        {name: float(lead) for name, lead in content["leads"].items()},
    )
