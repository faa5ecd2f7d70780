"""Depth without training: what a network is worth on patients, lenses and clips that it has never seen.

    depthscope stills --out STILLS --patients 4 --frames 24 --split test
    depthscope simulate --out CLIPS/nasal --patients 3 --frames 24 --split test
    depthscope simulate --out CLIPS/colon --anatomy colon --patients 3 --frames 24 --split test
    python benchmarks/zero_shot.py --run shipped --out DIR [--stills STILLS] [--clips CLIPS] [--sinus SEQUENCE]
                                   [--porcine VIDEO --porcine-depth VIDEO]

Stills: AbsRel of each frame at its own scale, by anatomy, by field of view, with and without the rays, in the inner and
the outermost part of the picture, beside true steps of depth, and how often the error is within what is predicted.
Clips: `predict` and `evaluate` as a user calls them. Sinus: AbsRel at the points of its SfM, beside a flat wall.
Porcine: rank correlation with the depth of another method, read from the colours of its video (jet, near is blue).
Writes ``zero_shot.json`` and prints it.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from depthscope.formats import read_sequence
from depthscope.networks import as_prediction
from depthscope.networks.ray_channels import takes_rays
from depthscope.prediction import DepthModel, Recording, load_model, points_of, predict, sampled_at
from depthscope.simulation.still_store import StillStore
from depthscope.supervised import Placement
from depthscope.supervised.draws import gathered
from depthscope.video import read_video, video_size

FIELDS_DEG = (0, 80, 100, 130, 150, 180)
"""Borders of the fields of view that are told apart."""

STEP = 0.1
"""Neighbours whose depths differ by more than this share make a step."""

BESIDE_PX = 3
"""So near to a step is beside it."""


def main() -> None:
    """Reads the arguments, measures what is there, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", default="shipped")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--stills", type=Path, nargs="*", default=[])
    parser.add_argument("--clips", type=Path)
    parser.add_argument("--sinus", type=Path)
    parser.add_argument("--porcine", type=Path)
    parser.add_argument("--porcine-depth", type=Path)
    given = parser.parse_args()
    model = load_model(given.run)
    given.out.mkdir(parents=True, exist_ok=True)
    figures: dict = {
        "run": str(given.run),
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()}, torch {torch.__version__}",
    }
    if given.stills:
        figures["stills"] = of_stills(model, StillStore.read(given.stills))
    if given.clips:
        figures["clips"] = of_clips(given.run, given.clips, given.out)
    if given.sinus:
        figures["sinus"] = of_points(model, given.sinus)
    if given.porcine:
        figures["porcine"] = of_colours(model, given.porcine, given.porcine_depth)
    (given.out / "zero_shot.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))


def of_stills(model: DepthModel, store: StillStore, size_px: tuple[int, int] = (192, 160)) -> dict:
    """Errors of frames as they were recorded, by what they show."""
    rows: dict[str, list[float]] = defaultdict(list)
    within: list[tuple[float, float]] = []
    for patient in store.patients:
        fields = json.loads((patient.folder / "result.json").read_text("utf-8"))["field_deg"]
        first = sum(p.frames for p in store.patients[: store.patients.index(patient)])
        frames = [store[first + n] for n in range(patient.frames)]
        for at in range(0, len(frames), 8):
            some = frames[at : at + 8]
            batch = gathered([Placement().plain(f, size_px) for f in some], range(at, at + len(some)))
            images = batch.images.float() / 255 * batch.content[:, None]
            for name, rays in (("rays", batch.rays), ("no rays", torch.zeros_like(batch.rays))):
                shown = torch.cat([images, rays], 1) if takes_rays(model.network) else images
                with torch.inference_mode():
                    said = as_prediction(model.network(shown.contiguous(memory_format=torch.channels_last)))
                for row in range(len(batch)):
                    known = batch.depth[row] > 0
                    if int(known.sum()) < 100:
                        continue
                    error, relative = aligned(said.log_depth[row], batch.depth[row], known)
                    if name == "no rays":
                        rows[f"{patient.anatomy}, no rays"].append(float(relative[known].mean()))
                        continue
                    field = fields[at + row]
                    low = max(f for f in FIELDS_DEG if f <= field)
                    high = min(f for f in FIELDS_DEG if f > field)
                    for place in (patient.anatomy, f"field {low} to {high} degrees"):
                        rows[place].append(float(relative[known].mean()))
                    for zone, mask in zones(batch.content[row], batch.depth[row]).items():
                        if int((mask & known).sum()) > 20:
                            rows[zone].append(float(relative[mask & known].mean()))
                    if said.log_std is not None:
                        ratio = error.abs() / said.log_std[row].exp()
                        within.append(tuple(float((ratio[known] < n).float().mean()) for n in (1, 2)))
                    dark = brightness_depth(images[row])
                    rows[f"{patient.anatomy}, brightness alone"].append(
                        float(aligned(dark, batch.depth[row], known)[1][known].mean())
                    )
    found: dict = {name: {"abs_rel": statistics.fmean(v), "frames": len(v)} for name, v in sorted(rows.items())}
    if within:
        found["within 1 and 2 predicted deviations"] = [statistics.fmean(w[i] for w in within) for i in (0, 1)]
    return found


def aligned(log_depth: Tensor, depth: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Log error and relative error at the scale of the median ratio."""
    error = log_depth - depth.clamp_min(1e-6).log()
    error = error - error[known].quantile(0.5)
    return error, error.expm1().abs()


def brightness_depth(image: Tensor) -> Tensor:
    """Log depth if light fell with the square of it and all tissue were alike."""
    linear = image.mean(0).clamp_min(0.02) ** 2.2
    return -0.5 * linear.log()


def zones(content: Tensor, depth: Tensor) -> dict[str, Tensor]:
    """Parts of a picture: by the distance from its middle, and beside steps of true depth."""
    inside = content.nonzero().float()
    middle = inside.mean(0)
    radius = (torch.stack(torch.meshgrid(*map(torch.arange, content.shape), indexing="ij"), -1) - middle).norm(dim=-1)
    share = radius / radius[content].max()
    z = depth.numpy()
    low, high = cv2.erode(z, np.ones((3, 3), np.uint8)), cv2.dilate(z, np.ones((3, 3), np.uint8))
    step = ((high - low > STEP * high) & (low > 0)).astype(np.uint8)
    beside = cv2.dilate(step, np.ones((2 * BESIDE_PX - 1,) * 2, np.uint8)) > 0
    return {
        "inner half of the radius": share < 0.5,
        "outermost tenth of the radius": share > 0.9,
        "beside steps of depth": torch.from_numpy(beside),
    }


def of_clips(run: str, clips: Path, out: Path) -> dict:
    """AbsRel of whole clips by the commands."""
    found = {}
    for clip in sorted(p.parent for p in clips.rglob("depth") if p.is_dir()):
        name = "-".join(clip.relative_to(clips).parts)
        for what, arguments in (
            ("predict", ["predict", run, str(clip), "--out", str(out / name / "depth"), "--clouds", "0"]),
            (
                "evaluate",
                ["evaluate", str(out / name / "depth"), str(clip / "depth"), "--out", str(out / name / "error")],
            ),
        ):
            if not (out / name / {"predict": "depth", "evaluate": "error"}[what] / "result.json").is_file():
                subprocess.run([sys.executable, "-m", "depthscope", *arguments], check=True, capture_output=True)
        alignment = json.loads((out / name / "error" / "result.json").read_text("utf-8"))["alignment"]
        found[name] = {kind: alignment[kind]["abs_rel"] for kind in ("per_frame_median", "per_sequence")}
        found[name]["delta1"] = alignment["per_frame_median"]["delta1"]
    return found


def of_points(model: DepthModel, folder: Path) -> dict:
    """Agreement with the points of a sequence: AbsRel of each frame, correlation and slope of log depths."""
    sequence = read_sequence(folder)
    flat, relative, correlation, slope, ratios = [], [], [], [], []
    for number, map_ in enumerate(predict(model, Recording.of_sequence(sequence))):
        height, width = map_.depth.shape
        pixels, sparse = points_of(sequence, number, (width, height))
        said = sampled_at(map_.depth[None], pixels[None].float())[0]
        used = (said > 0) & (sparse > 0)
        x, y = said[used].double().log().numpy(), sparse[used].double().log().numpy()
        if len(x) < 20:
            continue
        ratios.append(float(np.median(y - x)))
        relative.append(float(np.abs(np.exp(x - y + np.median(y - x)) - 1).mean()))
        flat.append(float(np.abs(np.exp(np.median(y) - y) - 1).mean()))
        correlation.append(float(np.corrcoef(x, y)[0, 1]))
        slope.append(float(x.std() / y.std()))
    return {
        "abs_rel": statistics.fmean(relative),
        "abs_rel_flat_wall": statistics.fmean(flat),
        "correlation_of_log_depth": statistics.fmean(correlation),
        "range_over_that_of_the_points": statistics.fmean(slope),
        "scale_drift": statistics.pstdev(ratios),
        "frames": len(relative),
    }


def of_colours(model: DepthModel, video: Path, colours: Path) -> dict:
    """Rank correlation with a depth video in colours."""
    levels = np.arange(256, dtype=np.uint8)[:, None]
    jet = cv2.applyColorMap(levels, cv2.COLORMAP_JET).reshape(256, 3)[:, ::-1].astype(np.float32)
    count, size = video_size(video)
    found = []
    for map_, other in zip(
        predict(model, Recording(names(count), read_video(video), size)), frames_of(colours), strict=False
    ):
        height, width = map_.depth.shape
        small = cv2.resize(other, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
        nearest = ((small[:, :, None] - jet) ** 2).sum(-1).argmin(-1)
        used = map_.depth.numpy() > 0
        found.append(float(spearmanr(map_.depth.numpy()[used][::7], nearest[used][::7]).statistic))
    return {"rank_correlation_median": statistics.median(found), "worst": min(found), "frames": len(found)}


def names(count: int) -> tuple[str, ...]:
    """A name for each frame."""
    return tuple(f"{n:06d}" for n in range(count))


def frames_of(video: Path) -> Iterable[np.ndarray]:
    """Its frames as arrays."""
    for frame in read_video(video):
        yield frame.numpy()


if __name__ == "__main__":
    main()
