"""Errors of depth maps: at the points of a sequence, or at every pixel of true depth by some protocol."""

import csv
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from depthscope.agreement import agreement, depth_remarks, ray_lengths
from depthscope.errors import BadInputError
from depthscope.evaluation import (
    ComparedFrame,
    DepthEvaluation,
    DepthProtocol,
    MapPair,
    MeanErrorProtocol,
    along_ray,
    along_ray_at,
    cross_view_difference,
    evaluated,
    flat_wall,
)
from depthscope.evaluation.depth import NoOverlapError
from depthscope.evaluation.frame_names import same_frames
from depthscope.evaluation.misplaced_maps import placement_warning
from depthscope.evaluation.mistaken_maps import inverse_warning, nothing_in_common, protocol_warning, shape_warning
from depthscope.evaluation.unit_mistakes import scale_warning
from depthscope.formats import depth_maps
from depthscope.geometry.depth import sampled_at
from depthscope.geometry.map_grid import RECORDED, MapGrid
from depthscope.ground_truth import GroundTruth
from depthscope.prediction import points_of, points_seen
from depthscope.sequence import Sequence
from depthscope.workspace import read_result

Z_ON_RECORDED = MapGrid("z")
"""Depth maps that say nothing of themselves."""

POINTS = "sfm-points-1"
"""The protocol at the points of structure from motion."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Maps and truths of the same frames, read one at a time whenever they are gone through.

    Attributes:
        names: Of the frames.
        read: The prediction and the truth of a frame, of one size, 0 where unknown.
        lengths: Distance along the ray over z at the pixels of a frame, or None where the camera is not known, or depth
            is no z.
    """

    names: tuple[str, ...]
    read: Callable[[str], tuple[Tensor, Tensor]]
    lengths: Callable[[str], Tensor] | None = None

    def __iter__(self) -> Iterator[MapPair]:
        for name in self.names:
            yield (name, *self.read(name))


@dataclass(frozen=True, eq=False)
class ComparedFrames:
    """What a protocol compares of each pair."""

    pairs: Pairs
    protocol: DepthProtocol

    def __iter__(self) -> Iterator[ComparedFrame]:
        for pair in self.pairs:
            yield self.protocol.frame(*pair)


def at_points(prediction: Path, truth: Path, run: Path | None, gap: int) -> tuple[DepthEvaluation, dict]:
    """The metrics at the points of a sequence, and what belongs beside them."""
    from depthscope.formats import read_sequence

    sequence, grid = read_sequence(truth), depth_maps.grid_of(prediction)
    listed = depth_maps.listed(prediction)
    maps = {name: listed[same] for name, same in same_frames(sequence.frame_names, listed).items()}
    measured = held_out_points(sequence, run) if run is not None else None
    result = evaluated(frames_at_points(maps, sequence, measured, grid), POINTS)
    floor = evaluated(flat_frames(maps, sequence, measured, grid), POINTS)
    rays = along_ray_at(rays_at_points(maps, sequence, grid))
    warnings = [*doubted_scale(result, {unit_of(prediction)}, sequence.unit), *filter(None, [rays.warning])]
    if run is None and is_aligned(prediction):
        warnings.append("these maps were brought to these very points: give --run RUN for points kept from training")
    if any((truth / "depth").glob("*.tif*")):
        warnings.append(f"compared at the sparse points; for every pixel give the depth maps, {truth / 'depth'}")
    return result, {
        "warnings": warnings,
        "along_ray": asdict(rays),
        "points": "kept from training" if run is not None else "all, also those trained on",
        "flat_wall_abs_rel": floor.per_frame_median.abs_rel,
        "cross_view": {"gap": gap, "mean_relative_difference": consistency(maps, sequence, gap, grid)},
    }


def at_pixels(prediction: Path, truth: Path, protocol: DepthProtocol) -> tuple[DepthEvaluation, dict]:
    """The metrics at all pixels that a protocol counts, and its own figures.

    Raises:
        BadInputError: No frame fits, or the protocol needs millimetres and the predictions have none.
    """
    from depthscope.formats import is_truth, read_truth

    maps, grid = depth_maps.listed(prediction), depth_maps.grid_of(prediction)
    figures: dict[str, Any] = {"depth": grid.kind}
    warnings: list[str] = []
    if is_truth(truth):
        dense = read_truth(truth)
        pairs, unit = pairs_of_truth(maps, dense, grid), dense.unit
        warnings += protocol_warning(protocol, dense.layout)
        found = agreement(dense)
        warnings += [*depth_remarks(dense), *([found.warning] if found.warning else [])]
        figures["truth"] = {"layout": dense.layout, "unit": dense.unit, "notes": list(dense.notes)}
        figures["depth_agreement"] = found.difference
    else:
        pairs = pairs_of_maps(maps, depth_maps.true_maps(truth, grid))
        unit = unit_of(truth)
    first, name = pairs.read(pairs.names[0]), next(iter(maps.values()))
    warnings += shape_warning(depth_maps.read(name), first[1], str(name))
    try:
        result, own = by_protocol(pairs, protocol, {unit_of(prediction)})
    except NoOverlapError:
        raise nothing_in_common(pairs, str(prediction), str(truth)) from None
    # A tilted wall's inverse depth looks mirrored: what explains more comes first.
    warnings += inverse_warning(pairs) or placement_warning(pairs.names, pairs.read)
    warnings += doubted_scale(result, {unit_of(prediction)}, unit)
    if pairs.lengths is not None:
        rays = along_ray(pairs, pairs.lengths)
        figures["along_ray"] = asdict(rays)
        warnings += [rays.warning] if rays.warning else []
    return result, {**figures, **own, "warnings": warnings}


def doubted_scale(result: DepthEvaluation, units: set[str | None], unit: str | None) -> list[str]:
    """What to say about the scale between predictions and a truth of these units, where both say mm."""
    return scale_warning(result.scale) if units == {"mm"} and unit == "mm" else []


def by_protocol(pairs: Pairs, protocol: DepthProtocol, units: set[str | None]) -> tuple[DepthEvaluation, dict]:
    """The metrics of some pairs by a protocol, and its own figures, if it has any.

    Args:
        pairs: Predictions and truths.
        protocol: What is compared.
        units: That the predictions say they have; None where they do not say.

    Raises:
        BadInputError: No frame fits, or the protocol needs millimetres and the predictions have none.
    """
    metric = units <= {"mm", None}
    if isinstance(protocol, MeanErrorProtocol) and not metric:
        other = ", ".join(sorted(unit for unit in units if unit not in ("mm", None)))
        raise BadInputError(
            f"predictions in '{other}' for {protocol.name}", "millimetres: it scales nothing", "predict with a scale"
        )
    compared = ComparedFrames(pairs, protocol)
    result = evaluated(compared, protocol.name, protocol.clamp, metric=protocol.metric and metric)
    own = protocol.figures(pairs)
    return result, {"as_published": own} if own else {}


def at_pixels_of_split(
    prediction: Path, root: Path, split: Path, protocol: DepthProtocol
) -> tuple[DepthEvaluation, dict]:
    """The metrics over all frames of all drives of KITTI that a list names, each frame counted alike, as published.

    Args:
        prediction: Folder with a folder of predictions for each drive, called as in the list.
        root: Folder that the names in the list start from.
        split: The list; frames without true depth are left out and counted (the annotated maps lack 45 of Eigen's 697).
        protocol: What is compared.

    Raises:
        BadInputError: A drive or a prediction is missing, or no frame has true depth.
    """
    from depthscope.formats import kitti, kitti_depth

    drives, parts, without, units = kitti.left_of_split(root, split), {}, 0, set()
    for drive, clip in drives.items():
        truth = kitti_depth.read(root / drive)
        maps = depth_maps.listed(prediction / drive)
        wanted = [clip.frame_names[frame] for frame in clip.targets or ()]
        missing = [name for name in wanted if name not in maps]
        if missing:
            raise BadInputError(
                f"{prediction / drive} lacks {len(missing)} of {len(wanted)} frames of the list ({missing[0]}, ...)",
                "a prediction of every frame of the list",
                f"depthscope predict RUN {root} --frame-list {split} --out {prediction}",
            )
        number = {name: n for n, name in enumerate(truth.frame_names)}
        known = [name for name in wanted if truth.depth[number[name]] is not None]
        without += len(wanted) - len(known)
        units.add(unit_of(prediction / drive))
        if known:
            pairs = pairs_of_truth({name: maps[name] for name in known}, truth)
            parts |= {f"{drive}/{name}": (pairs, name) for name in pairs.names}
    if not parts:
        raise BadInputError(
            f"no frame of {split} has true depth below {root}", "lidar or annotated maps", "unpack them"
        )
    every = Pairs(tuple(parts), lambda name: parts[name][0].read(parts[name][1]))
    result, own = by_protocol(every, protocol, units)
    rays = along_ray(every, lambda name: lengths_in(*parts[name]))
    warnings = [*doubted_scale(result, units, "mm"), *filter(None, [rays.warning])]
    return result, {
        "warnings": warnings,
        "along_ray": asdict(rays),
        "split": {"drives": len(drives), "frames": len(parts), "without_true_depth": without},
        **own,
    }


def lengths_in(pairs: Pairs, name: str) -> Tensor:
    """Distance along the ray over z at the pixels of a frame; 1 where its camera is not known."""
    return torch.ones_like(pairs.read(name)[1]) if pairs.lengths is None else pairs.lengths(name)


def unit_of(prediction: Path) -> str | None:
    """The unit that predictions say they have, None where they do not say."""
    unit = said_of(prediction).get("unit")
    return unit if isinstance(unit, str) else None


def said_of(prediction: Path) -> dict:
    """The ``result.json`` of predictions, in their folder or above the maps; empty where there is none."""
    places = [place for place in (prediction, prediction.parent) if (place / "result.json").is_file()]
    return read_result(places[0]) if places else {}


def summary(result: DepthEvaluation) -> dict:
    """The figures of ``result.json``."""
    metric = {} if result.metric is None else {"metric": asdict(result.metric)}
    factors = [factor for _, factor, _ in result.rows]
    return {
        "alignment": {
            "per_frame_median": asdict(result.per_frame_median),
            "per_sequence": asdict(result.per_sequence),
            **metric,
        },
        "scale": {
            "per_sequence": result.scale,
            "per_frame_median": {
                "median": float(torch.tensor(factors, dtype=torch.float64).quantile(0.5)),
                "least": min(factors),
                "greatest": max(factors),
            },
        },
        "median_abs_rel": result.median_abs_rel,
        "scale_drift": result.scale_drift,
        "protocol": result.protocol,
        "frames": result.frames,
        "skipped": list(result.skipped),
    }


def is_aligned(prediction: Path) -> bool:
    """Whether the maps were brought to the points of a sequence."""
    return said_of(prediction).get("aligned_to_points") is True


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
    maps: dict[str, Path], sequence: Sequence, measured: Bool[Tensor, " points"] | None, grid: MapGrid = RECORDED
) -> Iterator[ComparedFrame]:
    """Predicted depth and SfM depth at the points of every frame that has a prediction."""
    for number, name in enumerate(sequence.frame_names):
        if name not in maps:
            continue
        depth = depth_maps.read(maps[name])
        size = depth.shape[1], depth.shape[0]

        def compared(chosen: Tensor | None, number: int = number, depth: Tensor = depth, size: tuple = size):
            pixels, truth = points_of(sequence, number, size, chosen, grid)
            found = sampled_at(depth[None], pixels[None].float())[0]
            return found[found > 0], truth[found > 0].float()

        anchors = None if measured is None else compared(~measured)
        yield ComparedFrame(name, *compared(measured), scale_from=anchors)


def rays_at_points(
    maps: dict[str, Path], sequence: Sequence, grid: MapGrid = RECORDED
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Predicted and SfM depth, and distance along the ray over z, at the points of every frame with a prediction.

    Nothing of frames whose depth is the distance, and is said to be.
    """
    for number, name in enumerate(sequence.frame_names):
        if name not in maps:
            continue
        depth = depth_maps.read(maps[name])
        if grid.kind_of(sequence.cameras[number]) != "z":
            continue
        pixels, truth = points_of(sequence, number, (depth.shape[1], depth.shape[0]), maps=grid)
        points = points_seen(sequence, number, maps=grid)
        found = sampled_at(depth[None], pixels[None].float())[0]
        yield found[found > 0], truth[found > 0], (points.norm(dim=-1) / points[:, 2])[found > 0]


def flat_frames(
    maps: dict[str, Path], sequence: Sequence, measured: Bool[Tensor, " points"] | None, grid: MapGrid = RECORDED
) -> Iterator[ComparedFrame]:
    """The same frames with a flat wall in place of the prediction."""
    for frame in frames_at_points(maps, sequence, measured, grid):
        anchors = frame.truth if frame.scale_from is None else frame.scale_from[1]
        if not len(anchors):
            continue
        wall = flat_wall(frame.truth, anchors)
        yield ComparedFrame(frame.name, wall, frame.truth, (torch.ones(1), torch.ones(1)))


def pairs_of_maps(maps: dict[str, Path], truths: depth_maps.TrueMaps) -> Pairs:
    """Predicted and true depth; maps of another size are resized to the truth."""
    same = same_frames(truths, maps)

    def read(name: str) -> tuple[Tensor, Tensor]:
        depth, truth = depth_maps.read(maps[same[name]]), truths[name]
        return (depth if depth.shape == truth.shape else resized_to(depth, truth.shape)), truth

    camera = truths.shown_by
    known = camera is not None and truths.grid.kind == "z"
    return Pairs(tuple(same), read, (lambda _: ray_lengths(camera)) if known else None)


def pairs_of_truth(maps: dict[str, Path], truth: GroundTruth, grid: MapGrid = Z_ON_RECORDED) -> Pairs:
    """Predicted depth and a dataset's, on the pixels of the predictions.

    Raises:
        BadInputError: No frame with depth has a prediction.
    """
    place = {name: n for n, name in enumerate(truth.frame_names) if truth.depth[n] is not None}
    try:
        same = same_frames(place, maps) if place else {}
    except BadInputError as error:
        raise BadInputError(f"{truth.name} ({truth.layout}): {error.found}", error.expected, error.remedy) from None
    if not same:
        raise BadInputError(f"{truth.name} ({truth.layout}): no frame has depth", "a clip with depth", "check TRUTH")

    def read(name: str) -> tuple[Tensor, Tensor]:
        depth, known = depth_maps.read(maps[same[name]]), truth.depth_of(place[name])
        if truth.cameras is not None:
            known = depth_maps.on_grid(known, truth.cameras[place[name]], grid)
        return (depth if depth.shape == known.shape else resized_to(depth, known.shape)), known

    def lengths(name: str) -> Tensor:
        assert truth.cameras is not None
        return ray_lengths(grid.undistorted or truth.cameras[place[name]])

    known_lens = truth.cameras is not None and grid.kind == "z"
    return Pairs(tuple(same), read, lengths if known_lens else None)


def resized_to(depth: Tensor, shape: torch.Size) -> Tensor:
    """The map at another size, sampled in inverse depth at the pixel centres."""
    from depthscope.geometry.depth import pixel_grid

    size = depth.new_tensor([depth.shape[1] / shape[1], depth.shape[0] / shape[0]])
    return sampled_at(depth[None], (pixel_grid(shape[0], shape[1], depth) * size)[None])[0]


def consistency(maps: dict[str, Path], sequence: Sequence, gap: int, grid: MapGrid = RECORDED) -> float | None:
    """Cross-view difference of the maps after bringing each to its SfM points; None where no two frames overlap."""
    from depthscope.prediction import frame_scales

    numbers = [n for n, name in enumerate(sequence.frame_names) if name in maps]
    if len(numbers) <= gap:
        return None
    depth = torch.stack([depth_maps.read(maps[sequence.frame_names[n]]) for n in numbers])
    size = depth.shape[2], depth.shape[1]

    def scaled_map(depth: Tensor, number: int) -> Tensor:
        try:
            return depth * frame_scales(depth[None], sequence, range(number, number + 1), size, grid)
        except BadInputError:  # no point of this frame tells its scale: nothing of it is known
            return torch.zeros_like(depth)

    scaled = torch.stack([scaled_map(d, n) for d, n in zip(depth, numbers, strict=True)])
    unit = sequence.median_depth
    recorded = sequence.cameras[0]
    camera = grid.camera(recorded, size).lens(grid.kind_of(recorded), grid=True).to(torch.float32)
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
