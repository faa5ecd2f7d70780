"""How well the verdict tells good from bad: many failures of many types on phantom clips, and what other figures do.

    python benchmarks/verdict.py --clips DIR... --out DIR [--report DIR...] [--dials 0.3,0.6,1.0] [--seeds 1]
        [--minutes 10] [--frames N] [--fit | --shipped]

`DIR` holds patients as `depthscope simulate` writes them. Resumable: each case is a line of ``cases.jsonl``, and a call
with the same options does what is missing; the values of the checks are stored, so that another rule is judged without
computing them again. With `--report` the rule is fitted on the good cases of `--clips`, and the figures are those of
the other patients; without, of each patient by a rule fitted on the good cases of the others, or with `--shipped` by
the rule in the package. No failure of any type takes part in fitting. Wrong cases are held against good ones; what a
mild failure left right is told apart. Writes ``verdict.json`` and prints the table; `--fit` also writes ``usual.yaml``,
to be copied into the package's ``rule.yaml``.
"""

import argparse
import json
import math
import time
from dataclasses import asdict, replace
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import torch
import yaml
from failures import FAILURES, like_sfm, reprojection_px, truth
from scipy.stats import spearmanr

from depthscope.errors import BadInputError
from depthscope.formats import read_sequence, recognised
from depthscope.inspection import CHECKS, Check, Evidence, Rule, judged, shipped_rule
from depthscope.inspection.rule import Usual

FALSE_ACCEPTS = 0.05
USUAL_SHARE = 0.9

LEAST_SPREAD = 0.1
GATE_SPREADS = 4.0
"""A gate lies at most so many spreads beyond the usual value: no single witness that passes refuses a sequence
(`refuse_from` of the rule), however alike phantoms are to each other."""

ALIKE = 0.3
"""Correlation from which two witnesses are not taken as independent."""
WITNESSES = (
    *("lock_on", "lock_on_above_null", "lock_on_unseen", "retracking", "path_break", "epipolar_share", "broken_links"),
    *("track_fit", "held_out_matches", "resection", "own_adjustment", "split_tracks", "self_calibration"),
    *("scale_drift", "point_depth", "depth_order", "depth_scale", "relief", "parallax"),
)
"""Checks that ask something structure from motion has not seen. How many points and frames there are, how smooth the
path is, and how fast light falls off say more of the clip than of the reconstruction."""


def main() -> None:
    """Reads the arguments, runs what is missing, fits, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--dials", default="0.3,0.6,1.0")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--goods", type=int, default=3, help="good cases of each clip and seed")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop making cases after so long")
    parser.add_argument("--frames", type=int, default=0, help="of each clip, from its start; 0: all")
    parser.add_argument("--report", type=Path, nargs="+", default=[], help="patients that take no part in fitting")
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--shipped", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    dials = [float(word) for word in given.dials.split(",")]
    cases = collected(
        [*given.clips, *given.report],
        given.out / "cases.jsonl",
        dials,
        given.seeds,
        given.goods,
        given.minutes * 60,
        given.frames,
    )
    fitting = [case for case in cases if not any(case["patient"].startswith(str(p)) for p in given.report)]
    reported = [case for case in cases if case not in fitting] if given.report else cases
    if given.shipped:
        rules = {case["patient"]: shipped_rule() for case in reported}
    elif given.report:
        rules = dict.fromkeys({case["patient"] for case in reported}, fitted(sound(fitting)))
    else:
        rules = held_out_rules(reported)
    summary = summarised(reported, rules)
    if given.fit:
        rule = fitted(sound(fitting))
        rows = {
            "usual": {name: [float(f"{one.value:.3g}"), round(one.spread, 3)] for name, one in rule.usual.items()},
            "correlations": {" ".join(pair): round(rho, 2) for pair, rho in rule.correlations.items()},
        }
        (given.out / "usual.yaml").write_text(yaml.safe_dump(rows, sort_keys=False))
    (given.out / "verdict.json").write_text(json.dumps(summary, indent=2) + "\n")
    show(summary)


def clips_in(folders: list[Path]) -> list[Path]:
    """Sequence folders at any depth."""
    found = []
    for folder in folders:
        for inner in [folder, *sorted(p for p in folder.glob("**/*") if p.is_dir())]:
            if not any(q in inner.parents for q in found) and recognised(inner):
                found.append(inner)
    return found


def collected(folders, path: Path, dials, seeds: int, goods: int, seconds: float, frames: int = 0) -> list[dict]:
    """All cases, those of earlier calls read from the file."""
    cases = [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.is_file() else []
    done = {case["name"] for case in cases}
    start = time.monotonic()
    plan = []
    for seed in range(seeds):
        for number, clip in enumerate(clips_in(folders)):
            plan += [(seed, clip, "good", k / max(1, goods - 1), number) for k in range(goods)]
            plan += [(seed, clip, kind, dial, number) for kind in FAILURES for dial in dials]
    mixed = np.random.default_rng(0).permutation(len(plan))  # so that an early stop leaves all types and clips
    true: dict[Path, object] = {}
    with path.open("a") as stream:
        for seed, clip, kind, dial, number in (plan[i] for i in mixed):
            name = f"{clip.parent.parent.name}/{clip.parent.name}/{clip.name}:{kind}:{dial:g}:{seed}"
            if name in done:
                continue
            if time.monotonic() - start > seconds:
                break
            if clip not in true:
                true[clip] = read_sequence(clip)
                if frames:
                    true[clip] = true[clip].with_frames(torch.arange(len(true[clip])) < frames)
            case = measured(true[clip], kind, dial, seed + 17 * number)
            case.update(name=name, kind=kind, dial=dial, patient=str(clip.parent))
            stream.write(json.dumps(case) + "\n")
            stream.flush()
            cases.append(case)
    return cases


def measured(true, kind: str, dial: float, seed: int) -> dict:
    """One case: its truth, its checks, and the figures of the baselines."""
    draw = torch.Generator().manual_seed(seed + 1000 * round(100 * dial))
    began = time.process_time()
    case, numbers = like_sfm(true, draw, 0.5 + 0.5 * dial if kind == "good" else 0.7)
    try:
        if kind != "good":
            case = FAILURES[kind](case, dial, draw)
        wrong = truth(case, true, numbers, torch.arange(len(true)))
        evidence = Evidence(case)
        checks = {name: asdict(check(evidence)) for name, check in CHECKS.items()}
        figures = {"reprojection_px": reprojection_px(case), "registered": 1.0}
        error = ""
    except (BadInputError, torch.linalg.LinAlgError) as problem:  # no sequence at all: refused before any check
        checks, figures, error = {}, {"reprojection_px": 4.0, "registered": 1.0}, str(problem)
        return {
            "failed": True,
            "path": None,
            "depth": None,
            "checks": checks,
            **figures,
            "error": error,
            "seconds": 0.0,
        }
    seconds = time.process_time() - began
    truths = {"failed": wrong.failed, "path": _finite(wrong.path), "depth": _finite(wrong.depth)}
    return {**truths, "checks": _plain(checks), **figures, "error": error, "seconds": seconds}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _plain(checks: dict) -> dict:
    return {
        name: {key: (None if isinstance(v, float) and not math.isfinite(v) else v) for key, v in check.items()}
        for name, check in checks.items()
    }


def check_of(stored: dict) -> Check:
    """The check of a stored case."""
    return Check(**{**stored, "value": math.nan if stored["value"] is None else stored["value"]})


def checks_of(case: dict) -> dict[str, Check]:
    """All checks of a stored case."""
    return {name: check_of(stored) for name, stored in case["checks"].items()}


def sound(cases: list[dict]) -> list[dict]:
    """The good ones that came out right."""
    return [case for case in cases if case["kind"] == "good" and not case["failed"]]


def fitted(cases: list[dict]) -> Rule:
    """The rule of the package with what the witnesses say of these sound cases."""
    table = {name: [check_of(case["checks"][name]) for case in cases] for name in WITNESSES}
    return replace(
        shipped_rule(),
        usual={name: usual(name, said) for name, said in table.items()},
        correlations=correlations(table, [case["patient"] for case in cases]),
    )


def usual(name: str, said: list[Check]) -> Usual:
    """What a witness says of sound cases; where it never had anything to go by, what the package's rule has."""
    said = [check for check in said if check.passed is not None and math.isfinite(check.value)]
    if not said:
        return shipped_rule().usual[name]
    low = said[0].direction == "at least"
    value = float(np.quantile([check.value for check in said], 1 - USUAL_SHARE if low else USUAL_SHARE))
    values = np.array([check.excess for check in said])
    spread = 1.4826 * np.median(np.abs(values - np.median(values)))
    return Usual(value, float(max(spread, LEAST_SPREAD, -said[0].excess_of(value) / GATE_SPREADS)))


def correlations(table: dict[str, list[Check]], patients: list[str]) -> dict[tuple[str, str], float]:
    """Rank correlation of each pair of witnesses over sound cases, about the median of each patient, from `ALIKE` on.

    Between patients witnesses differ together for many reasons; what they say of one and the same clip tells whether
    they say the same.
    """
    spoken = {name: np.array([check.passed is not None for check in said]) for name, said in table.items()}
    values = {name: np.array([check.excess for check in said]) for name, said in table.items()}
    found = {}
    for one, other in combinations(table, 2):
        both = spoken[one] & spoken[other]
        rows = []
        for patient in set(patients):
            own = both & (np.array(patients) == patient)
            pair = np.stack([values[one][own], values[other][own]], 1)
            rows.append(pair - np.median(pair, 0) if len(pair) else pair)
        pairs = np.concatenate(rows)
        if len(pairs) >= 10 and (pairs.std(0) > 0).all():
            rho = float(spearmanr(pairs[:, 0], pairs[:, 1]).statistic)
            if rho >= ALIKE:
                found[one, other] = rho
    return found


def auc(score: np.ndarray, y: np.ndarray) -> float:
    """Chance that a bad case scores above a good one."""
    if not y.any() or y.all():
        return math.nan
    bad, good = score[y][:, None], score[~y][None]
    return float(((bad > good) + 0.5 * (bad == good)).mean())


def held_out_rules(cases: list[dict]) -> dict[str, Rule]:
    """For each patient the rule that the other patients' sound cases make."""
    patients = {case["patient"] for case in cases}
    return {patient: fitted([c for c in sound(cases) if c["patient"] != patient]) for patient in patients}


def summarised(cases: list[dict], rules: dict[str, Rule]) -> dict:
    """Figures over all cases and for each type of failure; those that make no sequence at all are left out."""
    cases = [case for case in cases if case["checks"]]
    failed = np.array([c["failed"] for c in cases])
    kinds = np.array([c["kind"] for c in cases])
    good = ~failed & (kinds == "good")
    compared = failed | good
    anomaly = np.array([rules[c["patient"]].anomaly(checks_of(c)) for c in cases])
    outcomes = np.array([judged(checks_of(c), rules[c["patient"]]).outcome for c in cases])
    others = {
        "reprojection": np.array([c["reprojection_px"] for c in cases]),
        "registered": np.array([1 - c["registered"] for c in cases]),
    }

    def area(score: np.ndarray, some: np.ndarray = compared) -> float:
        return auc(score[some], failed[some])

    draw = np.random.default_rng(0)
    patients = np.array([c["patient"] for c in cases])
    boot = []
    for _ in range(200):
        drawn = draw.choice(np.unique(patients), len(np.unique(patients)))
        rows = np.concatenate([np.flatnonzero(compared & (patients == patient)) for patient in drawn])
        boot.append(auc(anomaly[rows], failed[rows]))
    threshold = np.quantile(anomaly[failed], FALSE_ACCEPTS)
    of_check = {n: np.array([check_of(c["checks"][n]).excess for c in cases]) for n in CHECKS}
    return {
        "cases": len(cases),
        "patients": len({c["patient"] for c in cases}),
        "wrong": int(failed.sum()),
        "good": int(good.sum()),
        "auc_wrong_against_good": area(anomaly),
        "auc_90_percent_over_patients": [float(np.nanquantile(boot, 0.05)), float(np.nanquantile(boot, 0.95))],
        "auc_with_what_mild_failures_left_right": auc(anomaly, failed),
        "auc_reprojection_alone": area(others["reprojection"]),
        "auc_registered_alone": area(others["registered"]),
        "true_accepts_at_5_percent_false_by_anomaly_alone": float((anomaly[good] < threshold).mean()),
        "rule": {
            "false_accepts": float((outcomes[failed] == "accepted").mean()),
            "true_accepts": float((outcomes[good] == "accepted").mean()),
            "wrong_refused": float((outcomes[failed] == "refused").mean()),
            "cannot_tell": float((outcomes[compared] == "cannot tell").mean()),
        },
        "auc_of_each_check": {name: area(score) for name, score in of_check.items()},
        "by_type": {
            kind: {
                "cases": int((kinds == kind).sum()),
                "wrong": int((failed & (kinds == kind)).sum()),
                "accepted_of_wrong": int((failed & (kinds == kind) & (outcomes == "accepted")).sum()),
                "accepted_of_right": int((~failed & (kinds == kind) & (outcomes == "accepted")).sum()),
                "auc": area(anomaly, (failed & (kinds == kind)) | good),
                "auc_reprojection": area(others["reprojection"], (failed & (kinds == kind)) | good),
            }
            for kind in ["good", *FAILURES]
            if (kinds == kind).any()
        },
        "cpu_seconds_per_case": float(np.mean([c["seconds"] for c in cases])),
    }


def show(summary: dict) -> None:
    """Prints the table."""
    for name, row in summary["by_type"].items():
        print(
            f"{name:24} {row['cases']:4} cases, {row['wrong']:4} wrong, accepted {row['accepted_of_wrong']:3}, "
            f"right accepted {row['accepted_of_right']:3}; AUC {row['auc']:.3f}, "
            f"reprojection {row['auc_reprojection']:.3f}"
        )
    for key, value in summary.items():
        if key not in ("by_type", "auc_of_each_check"):
            print(f"{key}: {value}")


if __name__ == "__main__":
    main()
