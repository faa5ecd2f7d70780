"""When is a CT refused that differs from what the video saw: another patient's, or tissue that changed since?

    python benchmarks/learned.py --patients PATIENTS --sfm SFM --out DIR
    python benchmarks/changed_anatomy.py --patients PATIENTS --sfm SFM --learned DIR [--spreads 0.5 1 2]

How different must an anatomy be to be told from the patient's own? Each clip's own CT surface is bent by smooth ripples
of 8 to 30 mm wavelength, each axis with the given standard deviation in mm, and twenty of the clip's depth maps are
registered to it with no start, checked by halves. Beside the refusals stand the median difference in shape that is left
where the registration put the surface, and how far that is from where the unbent one lies. Done clips are not done
again. Writes ``changed_anatomy.json`` beside the records of ``learned.py``.
"""

import argparse
import json
import platform
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from learned import learned_frames, scene_of, target_of, thinned, true_points, unlike_by
from registration import similarity

from depthscope.evaluation.ground_truth import true_from_sfm_by_points
from depthscope.formats import read_sequence
from depthscope.registration import Target
from depthscope.simulation.anatomy.field import Ripples

WAVELENGTHS_MM = (8.0, 16.0, 30.0)


def main() -> None:
    """Reads the arguments, does what is missing, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=Path, nargs="+", required=True)
    parser.add_argument("--sfm", type=Path, required=True)
    parser.add_argument("--learned", type=Path, required=True)
    parser.add_argument("--spreads", type=float, nargs="+", default=(0.5, 1.0, 2.0))
    given = parser.parse_args()
    place = given.learned / "changed_anatomy.json"
    rows = json.loads(place.read_text("utf-8"))["rows"] if place.is_file() else []
    done = {(row["clip"], row["spread_mm"]) for row in rows}
    clips = [clip for folder in given.patients for clip in sorted(folder.glob("**/clip_*")) if clip.is_dir()]
    for spread in given.spreads:
        for number, clip in enumerate(clips):
            name = f"{clip.parent.name}_{clip.name}"
            if (name, spread) in done or not (given.learned / f"{name}.json").is_file():
                continue
            rows.append({"clip": name, "spread_mm": spread, **changed(clip, given, spread, number)})
            print(told(rows[-1]), flush=True)
            record = {
                "machine": f"{platform.machine()}, torch {torch.__version__}",
                "date": time.strftime("%Y-%m-%d"),
                "table": table(rows),
                "rows": rows,
            }
            place.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(table(rows), indent=1))


def changed(clip: Path, given: argparse.Namespace, spread_mm: float, seed: int) -> dict:
    """The registration of a clip to its own CT's surface after it was bent."""
    work = given.learned / "work" / f"{clip.parent.name}_{clip.name}" / "prediction"
    sequence, truth = (read_sequence(p) for p in (given.sfm / "clips" / clip.parent.name / clip.name, clip))
    true = true_from_sfm_by_points(sequence, truth, clip / "depth")
    surface = target_of(clip, {}).surface
    bent = replace(surface, points=surface.points.double() + bending(surface.points.double(), spread_mm, seed))
    record = scene_of(thinned(learned_frames(sequence, work)), Target(bent), true, "bent")
    moved = similarity(record["matrix"]).apply(true.inverse().apply(true_points(clip)))
    return {**record, "unlike_mm": unlike_by(moved, bent)}


def bending(points: torch.Tensor, spread_mm: float, seed: int) -> torch.Tensor:
    """Smooth displacements of points in mm, each axis of this standard deviation."""
    draw = np.random.default_rng((seed, 77))
    each = spread_mm / len(WAVELENGTHS_MM) ** 0.5
    axes = [Ripples.drawn(draw, WAVELENGTHS_MM, (each,) * len(WAVELENGTHS_MM)) for _ in range(3)]
    return torch.stack([axis(points) for axis in axes], -1)


def told(row: dict) -> str:
    """A registration in one line."""
    return (
        f"{row['clip']} bent by {row['spread_mm']} mm: {'refused' if row['reasons'] else 'ACCEPTED'}, confidence "
        f"{row['confidence']:.2f}, shape differs by {row['unlike_mm']:.2f} mm, {row['tre_surface_mm']:.2f} mm away, "
        f"residual {row['residual_mm']['mean']:.2f} mm"
    )


def table(rows: list[dict]) -> list[dict]:
    """For each spread: how many were refused, and what the accepted ones are like."""
    found = []
    for spread in sorted({row["spread_mm"] for row in rows}):
        of = [row for row in rows if row["spread_mm"] == spread]
        accepted = [row for row in of if not row["reasons"]]
        found.append(
            {
                "spread_mm": spread,
                "clips": len(of),
                "refused": len(of) - len(accepted),
                "unlike_mm": float(np.median([row["unlike_mm"] for row in of])),
                "away_of_accepted_mm": [float(row["tre_surface_mm"]) for row in accepted],
                "residual_mm": float(np.mean([row["residual_mm"]["mean"] for row in of])),
            }
        )
    return found


if __name__ == "__main__":
    main()
