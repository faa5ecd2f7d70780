"""What a transfer compares: five arms, swept alike, and one claim."""

import hashlib
import json
import math
import statistics
from collections.abc import Callable, Sequence as Rows
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from depthscope.networks.encoder import EncoderOptions
from depthscope.training.train_state import NonFiniteLossError
from depthscope.workspace import content_hash, empty, holding, write_text

BEYOND = 2
"""Learning rates that a sweep goes on by, at most, where the first or the last of its rates is the best."""


@dataclass(frozen=True)
class Arm:
    """One way to start.

    Attributes:
        name: In words.
        pretext: From the pretext encoder, not from random weights.
        frozen: The encoder stays as it is.
        longer: As many steps in all as pretext and probe together.
    """

    name: str
    pretext: bool = False
    frozen: bool = False
    longer: bool = False

    def encoder(self, pretext: EncoderOptions) -> EncoderOptions:
        """Options of its encoder, of the pretext encoder's shape."""
        return replace(pretext, weights=pretext.weights if self.pretext else "", frozen=self.frozen)

    @property
    def folder(self) -> str:
        """Its name as a folder's."""
        return self.name.replace(",", "").replace(" ", "-")


RANDOM_FROZEN, SCRATCH = Arm("random, frozen", frozen=True), Arm("scratch")
SCRATCH_LONG = Arm("scratch, as many steps in all", longer=True)
FROZEN, TUNED = Arm("pretext, frozen", pretext=True, frozen=True), Arm("pretext, fine-tuned", pretext=True)
ARMS = (RANDOM_FROZEN, SCRATCH, SCRATCH_LONG, FROZEN, TUNED)
"""The claim is the last one against the better of the two from scratch."""


def arms_of(before: int) -> tuple[Arm, ...]:
    """The arms of an encoder with so many steps behind it: where it cost none, the long one is the one from scratch."""
    return tuple(arm for arm in ARMS if before or not arm.longer)


@runtime_checkable
class Probe(Protocol):
    """What the encoders are tried at."""

    @property
    def pretext(self) -> EncoderOptions:
        """The encoder that is tried."""
        ...

    @property
    def before(self) -> int:
        """Steps of its pretext run."""
        ...

    @property
    def figure(self) -> str:
        """What is measured on the test, as "AbsRel"."""
        ...

    @property
    def larger_is_better(self) -> bool:
        """Whether of that figure more is better."""
        ...

    @property
    def head(self) -> dict[str, object]:
        """What else belongs into the result: what was trained and tested on, and what the trivial answer has."""
        ...

    def validated(self, arm: Arm, share: float, rate: float, seed: int, run: Path) -> float:
        """Trains in `run`, or goes on there; the error by which a learning rate is chosen, smaller is better."""
        ...

    def tested(self, run: Path) -> float:
        """The figure of a trained run on the test."""
        ...


@dataclass(frozen=True)
class StoredRuns:
    """Where the arms' runs are kept, each with what was asked for, so that none is taken for another.

    Attributes:
        pretext: Folder of the arms that start from the pretext encoder.
        baselines: Folder of those that do not, by the encoder's shape; transfers of other encoders may share it.
        circumstances: All that decides a run beside arm, share, rate and seed, as JSON has it.
    """

    pretext: Path
    baselines: Path
    circumstances: dict[str, object]

    def score(self, probe: Probe, arm: Arm, share: float, rate: float, seed: int) -> float:
        """The validation error of a run, infinite where it diverged; trained only where it is not there yet."""
        run = self.run_of(probe, arm, share, rate, seed)
        done = run / "score.json"
        if not done.is_file():
            with holding(run):
                try:
                    found = probe.validated(arm, share, rate, seed, run)
                except NonFiniteLossError:
                    found = math.inf
            write_text(done, json.dumps(found))
        return float(json.loads(done.read_text("utf-8")))

    def value(self, probe: Probe, arm: Arm, share: float, rate: float, seed: int) -> float:
        """The figure of a run on the test.

        Raises:
            NonFiniteLossError: The run diverged.
        """
        if self.score(probe, arm, share, rate, seed) == math.inf:
            raise NonFiniteLossError(
                f"{arm.name} diverges at the learning rate {rate:g} (seed {seed})",
                "a rate that trains",
                "try smaller --rates",
            )
        run = self.run_of(probe, arm, share, rate, seed)
        done = run / "value.json"
        if not done.is_file():
            write_text(done, json.dumps(probe.tested(run)))
        return float(json.loads(done.read_text("utf-8")))

    def run_of(self, probe: Probe, arm: Arm, share: float, rate: float, seed: int) -> Path:
        """The folder of a run; emptied where another one was asked for before."""
        encoder = arm.encoder(probe.pretext)
        place = self.pretext if arm.pretext else self.baselines / shape_of(encoder)
        run = place / f"{share:g}" / arm.folder / f"{rate:g}-{seed}"
        shape = asdict(replace(encoder, weights=content_hash(Path(encoder.weights)) if encoder.weights else ""))
        before = probe.before if arm.longer else 0
        asked = json.dumps([type(encoder).__name__, shape, before, share, rate, seed, self.circumstances], default=str)
        told = run / "asked.json"
        with holding(run):  # the folder of the baselines may be another process's as well
            if not (told.is_file() and told.read_text("utf-8") == asked):
                empty(run)
            write_text(told, asked)
        return run


def shape_of(encoder: EncoderOptions) -> str:
    """A folder's name for all encoders of one shape, wherever their weights come from."""
    text = json.dumps(asdict(replace(encoder, weights="", frozen=False)), sort_keys=True, default=str)
    return f"{type(encoder).__name__}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def measured(
    probe: Probe, shares: Rows[float], rates: Rows[float], seeds: int, kept: StoredRuns, told: Callable[[str], None]
) -> list[dict]:
    """A row for each share, arm and seed: the best rate of the first seed is taken for all seeds."""
    rows: list[dict] = []
    for share in sorted(shares):
        for arm in arms_of(probe.before):
            rate, at_edge = best_rate(rates, lambda rate, arm=arm, share=share: kept.score(probe, arm, share, rate, 0))
            own = [kept.value(probe, arm, share, rate, seed) for seed in range(seeds)]
            head = {"share": share, "arm": arm.name, "rate": rate}
            rows += [{**head, "seed": seed, "value": value} for seed, value in enumerate(own)]
            told(
                f"{share:.0%}, {arm.name}: {probe.figure} {statistics.fmean(own):.4f} "
                f"({min(own):.4f} to {max(own):.4f}), rate {rate:g}{at_edge}"
            )
    return rows


def best_rate(rates: Rows[float], score: Callable[[float], float]) -> tuple[float, str]:
    """The rate of the smallest score, and a word where it is still the smallest or largest of those that were tried.

    A best rate at the end of a sweep says that the sweep was too short, so it goes on there; one rate is no sweep.
    """
    scores = {rate: score(rate) for rate in sorted(rates)}
    beyond = _beyond(scores)
    while beyond is not None and len(scores) < len(rates) + BEYOND:
        scores[beyond] = score(beyond)
        beyond = _beyond(scores)
    best = min(sorted(scores), key=lambda rate: scores[rate])
    end = "" if beyond is None else f", the {'smallest' if beyond < best else 'largest'} tried"
    return best, end


def _beyond(scores: dict[float, float]) -> float | None:
    """The rate that would be next where the smallest or the largest is the best, None where the best lies between."""
    tried = sorted(scores)
    best = min(tried, key=lambda rate: scores[rate])
    if len(tried) < 2 or best not in (tried[0], tried[-1]):
        return None
    neighbour = tried[1] if best == tried[0] else tried[-2]
    beyond = float(f"{best**2 / neighbour:.2g}")
    return None if beyond in scores else beyond


def claim(rows: list[dict], share: float, larger_is_better: bool) -> dict[str, object]:
    """The gain of the fine-tuned encoder over the better arm from scratch, seed by seed; positive is better."""
    sign = 1 if larger_is_better else -1

    def by_seed(arm: Arm) -> list[float]:
        return [sign * row["value"] for row in rows if row["share"] == share and row["arm"] == arm.name]

    known = [arm for arm in (SCRATCH, SCRATCH_LONG) if by_seed(arm)]
    best = max(known, key=lambda arm: statistics.fmean(by_seed(arm)))
    gains = [tuned - scratch for scratch, tuned in zip(by_seed(best), by_seed(TUNED), strict=True)]
    agreed = all(gain > 0 for gain in gains) or all(gain < 0 for gain in gains)
    mean = statistics.fmean(gains)
    verdict = "no gain" if not agreed else "a gain" if mean > 0 else "a loss"
    return {"against": best.name, "gain": mean, "gains": gains, "verdict": verdict}


def table(rows: list[dict], claims: dict[str, dict]) -> str:
    """Mean and range over the seeds, and the claims, in Markdown."""
    arms = [arm for arm in ARMS if any(row["arm"] == arm.name for row in rows)]
    lines = [
        "| share | " + " | ".join(arm.name for arm in arms) + " | fine-tuned against the better from scratch |",
        "|---|" + "---|" * (len(arms) + 1),
    ]
    for share, found in claims.items():
        cells = []
        for arm in arms:
            own = [row["value"] for row in rows if f"{row['share']:g}" == share and row["arm"] == arm.name]
            cells.append(f"{statistics.fmean(own):.4f} ({min(own):.4f}-{max(own):.4f})")
        lines.append(f"| {float(share):.0%} | {' | '.join(cells)} | {found['gain']:+.4f}: {found['verdict']} |")
    return "\n".join(lines) + "\n"


def circumstances_line(head: dict) -> str:
    """The circumstances of a comparison as a line of text."""
    parts = [f"{key.replace('_', ' ')} {_short(value)}" for key, value in head.items() if key not in ("run", "task")]
    return ", ".join(parts)


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    return " and ".join(map(str, value)) if isinstance(value, list) else str(value)
