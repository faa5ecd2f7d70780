"""The expected error of a reconstruction against its true error, on phantom clips: share inside the interval.

    python benchmarks/expected_error.py --out DIR --clips DIR... --report DIR... [--cases FILE...] [--fit]

`DIR` holds patients as ``depthscope simulate`` writes them. Every clip's video is reconstructed with its true camera
and compared with the truth. Cases of ``benchmarks/verdict.py`` (``cases.jsonl``: failures of many kinds, with checks
and truth) may be added: of these, patients below a folder of --report are reported on, and all others take part in the
fit. With --fit the models are fitted on --clips and those cases and written to ``expected_error.yaml``, to be copied
into the package; without, the package's are measured. Resumable: what is reconstructed in --out is not done again.
"""

import argparse
import json
import math
import platform
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import yaml
from scipy.optimize import nnls
from scipy.stats import rankdata
from verdict import checks_of

from depthscope.cli import main as depthscope
from depthscope.evaluation.ground_truth import frames_of
from depthscope.formats import depth_maps, read_sequence
from depthscope.geometry.map_grid import MapGrid
from depthscope.inspection import judged
from depthscope.inspection.agreement import path_error
from depthscope.inspection.expected_error import ErrorModel, ErrorModels, log_of, shipped_error_models
from depthscope.prediction import sampled_at

COVERAGE = 0.9
FEWEST = 15
"""Reconstructions of a kind to have an interval of their own."""

CANDIDATES = {
    "path": (("own_adjustment", "resection"), ("own_adjustment",), ("retracking",)),
    "depth": (("point_depth", "own_adjustment"), ("own_adjustment", "retracking"), ("retracking",)),
}
"""Checks of each model, the best first; the next is for clips in which one of them cannot tell."""


def main() -> None:
    """Reads the arguments, does what is missing, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clips", type=Path, nargs="*", default=[])
    parser.add_argument("--report", type=Path, nargs="+", required=True)
    parser.add_argument("--cases", type=Path, nargs="*", default=[])
    parser.add_argument("--fit", action="store_true")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    fitting, reported = list(rows_of(given.clips, given.out)), list(rows_of(given.report, given.out))
    for path in given.cases:
        for line in path.read_text("utf-8").splitlines():
            case = json.loads(line)
            if case["checks"]:
                mine = any(case["patient"].startswith(str(folder)) for folder in given.report)
                (reported if mine else fitting).append({**case, "group": f"{case['patient']}, made"})
    if not given.fit:
        models = shipped_error_models()
    else:
        models = ErrorModels(*(fitted_models(fitting, error) for error in ("path", "depth")))
        content = {
            error: [
                {
                    "weights": {name: round(weight, 3) for name, weight in model.weights.items()},
                    "intercept": round(model.intercept, 3),
                    "residuals": [round(end, 3) for end in model.residuals],
                    "coverage": model.coverage,
                }
                for model in getattr(models, error)
            ]
            for error in ("path", "depth")
        }
        (given.out / "expected_error.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    figures = {
        "machine": platform.machine(),
        "date": time.strftime("%Y-%m-%d"),
        "fitted_on": len(fitting),
        "reported": summary(reported, models),
        "fit_itself": summary(fitting, models),
    }
    (given.out / "expected_error.json").write_text(json.dumps(figures, indent=1) + "\n")
    print(f"fitted on {len(fitting)} reconstructions of {len({row['patient'] for row in fitting})} patients")
    for name in ("reported", "fit_itself"):
        print(name, *(f"  {key}: {value}" for key, value in figures[name].items()), sep="\n")


def rows_of(folders: list[Path], out: Path) -> Iterator[dict]:
    """Checks and truth of every clip that could be reconstructed."""
    for folder in folders:
        for video in sorted(folder.glob("**/clip_*/video.mp4")):
            clip = video.parent
            place = out / "clips" / "-".join((clip.parent.parent.name, clip.parent.name, clip.name))
            if not (place / "result.json").is_file():
                arguments = ["--camera", str(clip / "camera.yaml"), "--features", "sift", "--threads", "1"]
                depthscope(["reconstruct", str(video), *arguments, "--out", str(place)])
            result = json.loads((place / "result.json").read_text("utf-8"))
            if result["checks"] and result["registered"] >= 4:
                anatomy = next((a for a in ("nose", "nasal", "colon", "abdomen") if a in place.name), "other")
                yield {
                    "patient": str(clip.parent),
                    "group": f"{'nasal' if anatomy == 'nose' else anatomy}, from video",
                    "checks": result["checks"],
                    **errors_of(place, clip),
                }


def errors_of(place: Path, clip: Path) -> dict[str, float]:
    """The true errors of a reconstruction, as `ExpectedError` defines them."""
    found, truth = read_sequence(place), read_sequence(clip)
    maps = depth_maps.true_maps(clip, MapGrid(found.cameras[0].depth_kind))
    ratios = []
    pairs = frames_of(found, truth)
    for row, true_row in pairs:
        seen = found.observations.frame == row
        true = maps[truth.frame_names[true_row]]
        there = sampled_at(true[None], found.projections[seen][None].float())[0].double()
        ratio = found.observed_depths[seen] / there
        ratios.append(ratio[(there > 0) & (ratio > 0)])
    ratio = torch.cat(ratios)
    mine, own = (list(rows) for rows in zip(*pairs, strict=True))
    return {
        "path": path_error(found.camera_centres[mine], truth.camera_centres[own]),
        "depth": float((ratio / ratio.quantile(0.5) - 1).abs().quantile(0.5)),
    }


def usable(rows: list[dict], error: str, names: tuple[str, ...]) -> list[dict]:
    """The rows with a true error in which these checks speak."""
    known = [row for row in rows if row[error] is not None and math.isfinite(row[error])]
    return [row for row in known if all(row["checks"][n]["passed"] is not None for n in names)]


def fitted_models(rows: list[dict], error: str) -> tuple[ErrorModel, ...]:
    """The models of one error, in the order of `CANDIDATES`."""
    return tuple(fitted(usable(rows, error, names), error, names) for names in CANDIDATES[error])


def fitted(rows: list[dict], error: str, names: tuple[str, ...]) -> ErrorModel:
    """One model; its interval is that of the residuals of patients that were left out one at a time.

    Reconstructions of videos and made cases count the same together, and the interval holds for each kind by itself:
    the outer of their ends.
    """
    terms = np.array([[log_of(checks_of(row)[name]) for name in names] for row in rows])
    target = np.log([max(row[error], 1e-4) for row in rows])
    patients = np.array([row["patient"] for row in rows])
    made = np.array(["kind" in row for row in rows])
    counts = np.where(made, max(made.sum(), 1), max((~made).sum(), 1)) ** -0.5
    left_out = np.empty(len(rows))
    for patient in np.unique(patients):
        rest = patients != patient
        intercept, weights = monotone(terms[rest], target[rest], counts[rest])
        left_out[~rest] = target[~rest] - intercept - terms[~rest] @ weights
    intercept, weights = monotone(terms, target, counts)
    ends = [conformal(left_out[kind]) for kind in (made, ~made) if kind.sum() >= FEWEST] or [conformal(left_out)]
    kept = {name: float(weight) for name, weight in zip(names, weights, strict=True)}
    return ErrorModel(float(intercept), kept, (min(low for low, _ in ends), max(high for _, high in ends)), COVERAGE)


def conformal(residuals: np.ndarray) -> tuple[float, float]:
    """Ends between which a further residual lies with the chance `COVERAGE`."""
    tail = (1 - COVERAGE) / 2 * len(residuals) / (len(residuals) + 1) - 0.5 / (len(residuals) + 1)
    low, high = np.quantile(residuals, [max(tail, 0), min(1 - tail, 1)])
    return float(low), float(high)


def monotone(terms: np.ndarray, target: np.ndarray, counts: np.ndarray) -> tuple[float, np.ndarray]:
    """Weighted least squares with weights of at least 0 and a free intercept; `counts` are roots of weights."""
    share = counts**2 / (counts**2).sum()
    middle, mean = share @ terms, share @ target
    weights, _ = nnls((terms - middle) * counts[:, None], (target - mean) * counts)
    return float(mean - middle @ weights), weights


def summary(rows: list[dict], models: ErrorModels) -> dict:
    """Share inside the interval, and expected against found, over all and by group and outcome."""
    found = {}
    outcomes = [judged(checks_of(row)).outcome for row in rows]
    groups = {"all": rows, "accepted": [r for r, o in zip(rows, outcomes, strict=True) if o == "accepted"]}
    groups |= {g: [r for r in rows if r["group"] == g] for g in sorted({r["group"] for r in rows})}
    for error in ("path", "depth"):
        for name, some in groups.items():
            found[f"{error}, {name}"] = measured(usable(some, error, ()), error, models)
    return found


def measured(rows: list[dict], error: str, models: ErrorModels) -> dict:
    """Figures of one group."""
    pairs = [(getattr(models.expected(checks_of(row)), error), row[error]) for row in rows]
    told = [(estimate, true) for estimate, true in pairs if estimate is not None]
    if not told:
        return {"reconstructions": len(rows), "with_estimate": 0}
    inside = [estimate.low <= true <= estimate.high for estimate, true in told]
    off = [abs(math.log(true / estimate.median)) for estimate, true in told]
    ranks = rankdata([e.median for e, _ in told]), rankdata([true for _, true in told])
    rank = np.corrcoef(*ranks)[0, 1] if len(told) > 3 else math.nan
    return {
        "reconstructions": len(rows),
        "with_estimate": len(told),
        "inside": round(float(np.mean(inside)), 3),
        "above": round(float(np.mean([true > e.high for e, true in told])), 3),
        "found_median": round(float(np.median([true for _, true in told])), 4),
        "expected_median": round(float(np.median([e.median for e, _ in told])), 4),
        "factor_off_median": round(math.exp(float(np.median(off))), 2),
        "upper_end_median": round(float(np.median([e.high for e, _ in told])), 4),
        "rank_correlation": round(float(rank), 2),
    }


if __name__ == "__main__":
    main()
