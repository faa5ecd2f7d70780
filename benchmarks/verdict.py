"""How well the verdict tells good from bad: many failures of many types on phantom clips, and what other figures do.

    python benchmarks/verdict.py --clips DIR... --out DIR [--dials 0.3,0.6,1.0] [--seeds 1] [--minutes 10] [--fit]

`DIR` holds patients as `depthscope simulate` writes them. Resumable: each case is a line of ``cases.jsonl``, and a call
with the same options does what is missing. Writes ``verdict.json`` and prints the table; `--fit` also writes
``weights.yaml``, to be copied into the package.
"""

import argparse
import json
import math
import time
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import torch
import yaml
from failures import FAILURES, like_sfm, reprojection_px, truth
from scipy.optimize import minimize

from depthscope.errors import BadInputError
from depthscope.formats import read_sequence, recognised
from depthscope.inspection import CHECKS, Check, Evidence, combination, judged
from depthscope.inspection.verdict import excess

FALSE_ACCEPTS = 0.05
RIDGE = 0.3


def main() -> None:
    """Reads the arguments, runs what is missing, fits, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--dials", default="0.3,0.6,1.0")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--goods", type=int, default=3, help="good cases of each clip and seed")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop making cases after so long")
    parser.add_argument("--fit", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    dials = [float(word) for word in given.dials.split(",")]
    cases = collected(given.clips, given.out / "cases.jsonl", dials, given.seeds, given.goods, given.minutes * 60)
    summary = summarised(cases)
    if given.fit:
        (given.out / "weights.yaml").write_text(yaml.safe_dump(fitted(cases), sort_keys=False))
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


def collected(folders, path: Path, dials, seeds: int, goods: int, seconds: float) -> list[dict]:
    """All cases, those of earlier calls read from the file."""
    cases = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
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
            name = f"{clip.parent.name}/{clip.name}:{kind}:{dial:g}:{seed}"
            if name in done:
                continue
            if time.monotonic() - start > seconds:
                break
            if clip not in true:
                true[clip] = read_sequence(clip)
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


def features(case: dict) -> np.ndarray:
    """Excess of each check beyond its gate."""
    stored = case["checks"]
    return np.array([excess(check_of(stored[name])) if name in stored else 0.0 for name in CHECKS])


def fit(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Weights (not negative) and intercept of a logistic regression, both classes weighing the same."""
    weight = np.where(y, 0.5 / max(1, y.sum()), 0.5 / max(1, (~y).sum())) * len(y)

    def loss(w):
        score = x @ w[:-1] + w[-1]
        value = np.logaddexp(0, np.where(y, -score, score))
        slope = weight * (1 / (1 + np.exp(-np.clip(score, -30, 30))) - y)
        return (weight * value).sum() + RIDGE * (w[:-1] ** 2).sum(), np.r_[
            x.T @ slope + 2 * RIDGE * w[:-1], slope.sum()
        ]

    bounds = [(0, None)] * x.shape[1] + [(None, None)]
    return minimize(loss, np.zeros(x.shape[1] + 1), jac=True, bounds=bounds, method="L-BFGS-B").x


def auc(score: np.ndarray, y: np.ndarray) -> float:
    """Chance that a bad case scores above a good one."""
    if not y.any() or y.all():
        return math.nan
    bad, good = score[y][:, None], score[~y][None]
    return float(((bad > good) + 0.5 * (bad == good)).mean())


def held_out_scores(cases: list[dict]) -> np.ndarray:
    """Score of each case from weights fitted without its type of failure and without its patient."""
    x, y = np.stack([features(c) for c in cases]), np.array([c["failed"] for c in cases])
    kinds, patients = np.array([c["kind"] for c in cases]), np.array([c["patient"] for c in cases])
    scores = np.zeros(len(cases))
    for kind in np.unique(kinds):
        for patient in np.unique(patients):
            own = (kinds == kind) & (patients == patient)
            train = (patients != patient) & ((kinds != kind) | (kind == "good"))
            if own.any() and y[train].any() and not y[train].all():
                w = fit(x[train], y[train])
                scores[own] = x[own] @ w[:-1] + w[-1]
    return scores


def fitted(cases: list[dict]) -> dict:
    """The content of ``weights.yaml``: gates and leads as they are, weights and thresholds from all cases."""
    base = combination()
    x, y = np.stack([features(c) for c in cases]), np.array([c["failed"] for c in cases])
    w = fit(x, y)
    held = 1 / (1 + np.exp(-held_out_scores(cases)))
    accept = float(np.quantile(held[y], FALSE_ACCEPTS))  # at most 5 % of the bad below it, fitted without their type
    refuse = float(np.quantile(held[~y], 0.97))
    low, high = min(accept, refuse), max(accept, refuse)
    return {
        "intercept": round(float(w[-1]), 3),
        "weights": {n: round(float(v), 3) for n, v in zip(CHECKS, w[:-1], strict=True) if v > 0.005},
        "gates": list(base.gates),
        "leads": base.leads,
        "accept_below": round(min(0.6, max(low, 0.2)), 3),
        "refuse_above": round(min(0.95, max(high, 0.5)), 3),
    }


def summarised(cases: list[dict]) -> dict:
    """Figures over all cases and for each type of failure."""
    y = np.array([c["failed"] for c in cases])
    held = held_out_scores(cases)
    reprojection = np.array([c["reprojection_px"] for c in cases])
    registered = np.array([1 - c["registered"] for c in cases])
    verdicts = [
        judged({n: check_of(s) for n, s in c["checks"].items()}).outcome if c["checks"] else "refused" for c in cases
    ]
    accepted = np.array([v == "accepted" for v in verdicts])
    doubt = np.array([v == "cannot tell" for v in verdicts])
    draw = np.random.default_rng(0)
    boot = [auc(held[i], y[i]) for i in (draw.integers(0, len(y), len(y)) for _ in range(200))]
    kinds = np.array([c["kind"] for c in cases])
    rows = {}
    for kind in ["good", *FAILURES]:
        own = kinds == kind
        if not own.any():
            continue
        some = (own & y) | ((kinds == "good") & ~y)
        rows[kind] = {
            "cases": int(own.sum()),
            "failed": int((own & y).sum()),
            "accepted_of_failed": int((own & y & accepted).sum()),
            "accepted_of_sound": int((own & ~y & accepted).sum()),
            "auc": auc(held[some], y[some]),
            "auc_reprojection": auc(reprojection[some], y[some]),
        }
    good = ~y & (kinds == "good")
    threshold = np.quantile(held[y], FALSE_ACCEPTS) if y.any() else math.nan
    return {
        "cases": len(cases),
        "failed": int(y.sum()),
        "auc_leave_one_type_and_patient_out": auc(held, y),
        "auc_90_percent": [float(np.nanquantile(boot, 0.05)), float(np.nanquantile(boot, 0.95))],
        "auc_reprojection_alone": auc(reprojection, y),
        "auc_registered_alone": auc(registered, y),
        "true_accepts_at_5_percent_false": float((held[~y] < threshold).mean()),
        "true_accepts_of_good_at_5_percent_false": float((held[good] < threshold).mean()) if good.any() else None,
        "shipped_rule": {
            "false_accepts": float(accepted[y].mean()),
            "true_accepts": float(accepted[~y].mean()),
            "true_accepts_of_good": float(accepted[good].mean()) if good.any() else None,
            "cannot_tell": float(doubt.mean()),
        },
        "auc_of_each_check": {n: auc(np.stack([features(c) for c in cases])[:, i], y) for i, n in enumerate(CHECKS)},
        "by_type": rows,
        "cpu_seconds_per_case": float(np.mean([c["seconds"] for c in cases])),
    }


def show(summary: dict) -> None:
    """Prints the table."""
    for name, row in summary["by_type"].items():
        print(
            f"{name:24} {row['cases']:4} cases, {row['failed']:4} wrong, accepted {row['accepted_of_failed']:3}, "
            f"sound accepted {row['accepted_of_sound']:3}; AUC {row['auc']:.3f}, "
            f"reprojection {row['auc_reprojection']:.3f}"
        )
    for key, value in summary.items():
        if key not in ("by_type", "auc_of_each_check"):
            print(f"{key}: {value}")


if __name__ == "__main__":
    main()
