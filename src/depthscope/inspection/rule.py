"""How the checks become one answer: gates, and how unlike sound reconstructions the independent witnesses are.

Fitted on sound reconstructions alone, so that no kind of failure has to be foreseen: for each witness the value that
nine of ten sound ones do not exceed, and their spread. What lies beyond that, in spreads, is added up over the few
witnesses that speak against the sequence; witnesses that say nearly the same count as one.
"""

import math
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import combinations

import yaml

from depthscope.inspection.check import Check

MOST_SPREADS = 8.0
"""Beyond its usual value a witness is not counted farther."""


@dataclass(frozen=True)
class Usual:
    """What one witness says of sound reconstructions.

    Attributes:
        value: That nine of ten are at least as good as.
        spread: Robust standard deviation, on the scale of `Check.excess`.
    """

    value: float
    spread: float


@dataclass(frozen=True)
class Rule:
    """How the checks are combined; no check can make the answer better by being worse.

    Attributes:
        usual: What each witness says of sound reconstructions.
        correlations: Of the witnesses' values over sound reconstructions, by pairs of names in the order of `usual`;
            pairs that are not named are independent.
        worst: At most so many witnesses are added up.
        accept_up_to: Anomaly score up to which a sequence is accepted.
        refuse_from: And above which it is refused; between them the verdict is "cannot tell".
        gates: Checks that refuse alone where they fail.
        leads: How early the check is named where it fails: causes stand before their consequences.
        from_images: Witnesses that hold poses and points against the images.
        least_speaking: Of these so many must have something to go by, or the verdict is no better than "cannot tell".
    """

    usual: dict[str, Usual]
    correlations: dict[tuple[str, str], float]
    worst: int
    accept_up_to: float
    refuse_from: float
    gates: tuple[str, ...]
    leads: dict[str, float]
    from_images: tuple[str, ...] = ()
    least_speaking: int = 0

    def speaking(self, checks: dict[str, Check]) -> tuple[str, ...]:
        """The witnesses of the images that have something to go by."""
        return tuple(name for name in self.from_images if name in checks and checks[name].passed is not None)

    def unusual(self, checks: dict[str, Check]) -> dict[str, float]:
        """How many spreads each witness lies beyond its usual value, the farthest first; those within are left out."""
        beyond = {name: self._spreads(name, checks[name]) for name in self.usual if name in checks}
        return {name: far for name, far in sorted(beyond.items(), key=lambda pair: -pair[1]) if far > 0}

    def _spreads(self, name: str, check: Check) -> float:
        if check.passed is None or math.isnan(check.value):
            return 0.0
        usual = self.usual[name]
        return min(MOST_SPREADS, (check.excess - check.excess_of(usual.value)) / usual.spread)

    def against(self, checks: dict[str, Check]) -> tuple[str, ...]:
        """The witnesses that make up the anomaly score, the most unusual first; empty where all are usual."""
        return self._strongest(checks)[1]

    def anomaly(self, checks: dict[str, Check]) -> float:
        """How unlike sound reconstructions this one is; 0 where every witness says what it usually says.

        The largest that a few witnesses reach together: the sum of their spreads, times the share of them that is
        independent. A failed gate adds `refuse_from`. As the largest of sums with fixed weights it is monotone.
        """
        return self._strongest(checks)[0] + (self.refuse_from if self.failed_gates(checks) else 0.0)

    def _strongest(self, checks: dict[str, Check]) -> tuple[float, tuple[str, ...]]:
        unusual = self.unusual(checks)
        best, members = 0.0, ()
        for count in range(1, self.worst + 1):
            for some in combinations(unusual, count):
                together = sum(unusual[name] for name in some) * self.independent_share(some)
                if together > best:
                    best, members = together, some
        return best, members

    def independent_share(self, names: tuple[str, ...]) -> float:
        """How many independent witnesses these are worth, over their number: n / sum of their correlation matrix."""
        rho = self.correlations
        alike = sum(rho.get((one, other), rho.get((other, one), 0.0)) for one, other in combinations(names, 2))
        return len(names) / (len(names) + 2 * alike)

    def failed_gates(self, checks: dict[str, Check]) -> tuple[str, ...]:
        """The gates that fail."""
        return tuple(name for name in self.gates if name in checks and checks[name].passed is False)

    def chance_of_sound(self, anomaly: float) -> float:
        """Chance that a sequence of this anomaly score is right: one half where it is no longer accepted."""
        return 1 / (1 + math.exp(min(anomaly - self.accept_up_to, 700.0)))


@cache
def shipped_rule() -> Rule:
    """The rule that the package carries (``rule.yaml``)."""
    content = yaml.safe_load(files("depthscope.inspection").joinpath("rule.yaml").read_text("utf-8"))
    return Rule(
        {name: Usual(float(value), float(spread)) for name, (value, spread) in content["usual"].items()},
        {(pair.split()[0], pair.split()[1]): float(rho) for pair, rho in content["correlations"].items()},
        int(content["worst"]),
        float(content["accept_up_to"]),
        float(content["refuse_from"]),
        tuple(content["gates"]),
        {name: float(lead) for name, lead in content["leads"].items()},
        tuple(content["from_images"]),
        int(content["least_speaking"]),
    )
