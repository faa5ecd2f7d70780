"""``depthscope evaluate PREDICTION TRUTH --out DIR``."""

import csv
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import torch
from jaxtyping import Bool
from torch import Tensor
from tyro.conf import Positional, arg

from depthscope.errors import BadInputError
from depthscope.evaluation import DepthEvaluation, FrameDepth, cross_view_difference, evaluated, flat_wall
from depthscope.formats import depth_maps
from depthscope.prediction import points_of, sampled_at
from depthscope.sequence import Sequence

POINTS, DENSE = "sfm-points-1", "dense-1"


def evaluate(
    prediction: Annotated[Positional[Path], arg(metavar="PREDICTION")],
    truth: Annotated[Positional[Path], arg(metavar="TRUTH")],
    /,
    out: Path,
    run: Path | None = None,
    gap: int = 6,
    protocol: Literal["auto", "sfm-points-1", "dense-1"] = "auto",
) -> int:
    """Errors of predicted depth maps against a sequence's SfM points, or against true depth maps.

    Args:
        prediction: Folder written by depthscope predict.
        truth: Sequence folder, or a folder of true depth maps (float TIFF) with the same names.
        out: Folder for result.json and frames.csv.
        run: Training run: measure only at the points that it kept from training, and scale by the others.
        gap: Frames between the two views whose depths are compared.
        protocol: What to compare; auto decides by what TRUTH is.
    """
    from rich.console import Console

    from depthscope.formats import read_sequence, recognised
    from depthscope.workspace import content_hash, write_provenance, write_result, writing_folder

    if gap < 1:
        raise BadInputError(f"--gap {gap}", "1 or more")
    start = time.perf_counter()
    maps = depth_maps.listed(prediction)
    figures: dict = {}
    if protocol == POINTS or (protocol == "auto" and recognised(truth)):
        sequence = read_sequence(truth)
        measured = held_out_points(sequence, run) if run is not None else None
        result = evaluated(frames_at_points(maps, sequence, measured), POINTS)
        figures["points"] = "kept from training" if run is not None else "all, also those trained on"
        floor = evaluated(flat_frames(maps, sequence, measured), POINTS)
        figures["flat_wall_abs_rel"] = floor.per_frame_median.abs_rel
        figures["cross_view"] = {"gap": gap, "mean_relative_difference": consistency(maps, sequence, gap)}
    else:
        result = evaluated(frames_of_maps(maps, depth_maps.listed(truth)), DENSE)
    with writing_folder(out) as folder:
        write_result(folder, {**summary(result), **figures})
        write_rows(folder / "frames.csv", result)
        inputs = {str(path): content_hash(path) for path in (prediction, truth)}
        write_provenance(folder, options={"gap": gap, "run": run}, inputs=inputs, seconds=time.perf_counter() - start)
    Console(highlight=False).print(table(result, figures))
    return 0


def summary(result: DepthEvaluation) -> dict:
    """The figures of ``result.json``."""
    return {
        "alignment": {"per_frame_median": asdict(result.per_frame_median), "per_sequence": asdict(result.per_sequence)},
        "median_abs_rel": result.median_abs_rel,
        "scale_drift": result.scale_drift,
        "protocol": result.protocol,
        "frames": result.frames,
        "skipped": list(result.skipped),
    }


def held_out_points(sequence: Sequence, run: Path) -> Bool[Tensor, " points"]:
    """Which points of the sequence the run kept from training.

    Raises:
        BadInputError: It kept none.
    """
    from depthscope.prediction import load_model
    from depthscope.supervision.clip import held_out

    kept = held_out(sequence, load_model(run).recipe.supervision).points
    if not bool(kept.any()):
        raise BadInputError(f"{run} kept no points from training", "a run with supervision.holdout.points above 0")
    return kept


def frames_at_points(
    maps: dict[str, Path], sequence: Sequence, measured: Bool[Tensor, " points"] | None
) -> Iterator[FrameDepth]:
    """Predicted depth and SfM depth at the points of every frame that has a prediction."""
    for number, name in enumerate(sequence.frame_names):
        if name not in maps:
            continue
        depth = depth_maps.read(maps[name])
        size = depth.shape[1], depth.shape[0]

        def compared(chosen: Tensor | None, number: int = number, depth: Tensor = depth, size: tuple = size):
            pixels, truth = points_of(sequence, number, size, chosen)
            found = sampled_at(depth[None], pixels[None].float())[0]
            return found[found > 0], truth[found > 0].float()

        anchors = None if measured is None else compared(~measured)
        yield FrameDepth(name, *compared(measured), scale_from=anchors)


def flat_frames(
    maps: dict[str, Path], sequence: Sequence, measured: Bool[Tensor, " points"] | None
) -> Iterator[FrameDepth]:
    """The same frames with a flat wall in place of the prediction."""
    for frame in frames_at_points(maps, sequence, measured):
        anchors = frame.truth if frame.scale_from is None else frame.scale_from[1]
        if not len(anchors):
            continue
        wall = flat_wall(frame.truth, anchors)
        yield FrameDepth(frame.name, wall, frame.truth, (torch.ones(1), torch.ones(1)))


def frames_of_maps(maps: dict[str, Path], truths: dict[str, Path]) -> Iterator[FrameDepth]:
    """Predicted and true depth at all pixels that both know; maps of another size are resized to the truth."""
    for name, other in same_frames(truths, maps).items():
        depth, truth = depth_maps.read(maps[other]), depth_maps.read(truths[name])
        if depth.shape != truth.shape:
            depth = resized_to(depth, truth.shape)
        both = (depth > 0) & (truth > 0)
        yield FrameDepth(name, depth[both], truth[both])


def same_frames(truths: Iterable[str], maps: Iterable[str]) -> dict[str, str]:
    """Which prediction is of which frame: of the same name, or else of the same number at the end of the name.

    Raises:
        BadInputError: None is.
    """
    truths, maps = list(truths), list(maps)
    common = {name: name for name in truths if name in set(maps)}
    if common:
        return common
    numbered = {frame_number(name): name for name in maps}
    if len(numbered) == len(maps) and None not in numbered:
        common = {name: numbered[n] for name in truths if (n := frame_number(name)) in numbered}
    if not common or len(set(common.values())) < len(common):
        raise BadInputError(
            f"no depth map of TRUTH ({truths[0]}, ...) has a prediction ({maps[0]}, ...)",
            "the same frame names, or names that end in the same numbers",
            "predict on the frames of TRUTH",
        )
    return common


def frame_number(name: str) -> int | None:
    """The number at the end of a name, or None."""
    found = re.search(r"(\d+)$", name)
    return int(found[1]) if found else None


def resized_to(depth: Tensor, shape: torch.Size) -> Tensor:
    """The map at another size, sampled in inverse depth at the pixel centres."""
    from depthscope.geometry.depth import pixel_grid

    size = depth.new_tensor([depth.shape[1] / shape[1], depth.shape[0] / shape[0]])
    return sampled_at(depth[None], (pixel_grid(shape[0], shape[1], depth) * size)[None])[0]


def consistency(maps: dict[str, Path], sequence: Sequence, gap: int) -> float | None:
    """Cross-view difference of the maps after bringing each to its SfM points; None where no two frames overlap."""
    from depthscope.prediction import frame_scales

    numbers = [n for n, name in enumerate(sequence.frame_names) if name in maps]
    if len(numbers) <= gap:
        return None
    depth = torch.stack([depth_maps.read(maps[sequence.frame_names[n]]) for n in numbers])
    size = depth.shape[2], depth.shape[1]

    def scaled_map(depth: Tensor, number: int) -> Tensor:
        try:
            return depth * frame_scales(depth[None], sequence, range(number, number + 1), size)
        except BadInputError:  # no point of this frame tells its scale: nothing of it is known
            return torch.zeros_like(depth)

    scaled = torch.stack([scaled_map(d, n) for d, n in zip(depth, numbers, strict=True)])
    unit = sequence.median_depth
    camera = sequence.cameras[0].undistorted().resized(size).pinhole.to(torch.float32)
    motions = sequence.camera_from_world[torch.tensor(numbers)].scaled(1 / unit)
    try:
        return cross_view_difference(scaled / unit, scaled > 0, motions, camera, gap)
    except BadInputError:  # no two frames overlap
        return None


def write_rows(path: Path, result: DepthEvaluation) -> None:
    """The metrics of every frame, for paired tests."""
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["frame", "scale", *asdict(result.rows[0][2])])
        for name, factor, metrics in result.rows:
            writer.writerow([name, f"{factor:.6g}", *(f"{value:.6g}" for value in asdict(metrics).values())])


def table(result: DepthEvaluation, figures: dict):
    """Both alignments side by side."""
    from rich.table import Table

    drawn = Table(title=f"{result.frames} frames, protocol {result.protocol}", title_justify="left")
    for column in ("alignment", "AbsRel", "RMSE", "RMSE log", "delta1"):
        drawn.add_column(column)
    for name, m in (("per frame (shape only)", result.per_frame_median), ("per sequence", result.per_sequence)):
        drawn.add_row(name, f"{m.abs_rel:.4f}", f"{m.rmse:.4g}", f"{m.rmse_log:.4f}", f"{m.delta1:.4f}")
    said = [f"scale drift {result.scale_drift:.4f}", f"median |error| {result.median_abs_rel:.4f}"]
    if "flat_wall_abs_rel" in figures:
        said.append(f"a flat wall would have AbsRel {figures['flat_wall_abs_rel']:.4f}")
    view = figures.get("cross_view", {})
    if view.get("mean_relative_difference") is not None:
        said.append(f"views {view['gap']} frames apart differ by {view['mean_relative_difference']:.4f}")
    drawn.caption = "; ".join(said)
    return drawn
