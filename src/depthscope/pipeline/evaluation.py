"""Errors of results against the truth, by a protocol with a name, as a folder."""

import time
from decimal import Decimal
from pathlib import Path
from typing import Any

from depthscope.errors import BadInputError
from depthscope.evaluation import (
    DENSE,
    DEPTH_PROTOCOLS,
    PATH_PROTOCOLS,
    SURFACE,
    SURFACE_PROTOCOLS,
    DepthEvaluation,
    DepthProtocol,
    PathProtocol,
    SurfaceProtocol,
)
from depthscope.evaluation.depth_folders import POINTS, at_pixels, at_pixels_of_split, at_points, summary, write_rows
from depthscope.evaluation.path_files import measured_path
from depthscope.evaluation.surface_files import measured_surface
from depthscope.formats.surfaces import Unit
from depthscope.formats.times import parsed

AUTO = "auto"


Known = DepthProtocol | PathProtocol | SurfaceProtocol


def seconds_of(option: str, text: str) -> Decimal:
    """A time in seconds with all its digits.

    Raises:
        BadInputError: It is no number.
    """
    value = parsed(text)
    if value is None:
        raise BadInputError(f"{option} {text}", "a number of seconds", "write it in digits")
    return value


def protocol_named(name: str) -> Known | None:
    """The protocol of this name; None for auto and for the one at points, which depend on TRUTH.

    Raises:
        BadInputError: There is none; the known ones are listed.
    """
    if name in (AUTO, POINTS):
        return None
    known: tuple[Known, ...] = (*DEPTH_PROTOCOLS, *PATH_PROTOCOLS, *SURFACE_PROTOCOLS)
    for protocol in known:
        if protocol.name == name:
            return protocol
    depth, path, surface = (
        ", ".join(p.name for p in group) for group in (DEPTH_PROTOCOLS, PATH_PROTOCOLS, SURFACE_PROTOCOLS)
    )
    raise BadInputError(
        f"no protocol '{name}'", f"{AUTO}; for depth {POINTS}, {depth}; for paths {path}; for surfaces {surface}"
    )


def table(result: DepthEvaluation, figures: dict):
    """Both alignments side by side."""
    from rich.table import Table

    drawn = Table(title=f"{result.frames} frames, protocol {result.protocol}", title_justify="left")
    for column in ("alignment", "AbsRel", "RMSE", "RMSE log", "delta1"):
        drawn.add_column(column)
    rows = [("per frame (shape only)", result.per_frame_median), ("per sequence", result.per_sequence)]
    rows += [] if result.metric is None else [("none, in mm", result.metric)]
    for name, m in rows:
        drawn.add_row(name, f"{m.abs_rel:.4f}", f"{m.rmse:.4g}", f"{m.rmse_log:.4f}", f"{m.delta1:.4f}")
    factors = [factor for _, factor, _ in result.rows]
    scaled = (
        f"predictions were scaled by {result.scale:.4g}, frame by frame by {min(factors):.4g} to {max(factors):.4g}"
    )
    said = [scaled, f"scale drift {result.scale_drift:.4f}", f"median |error| {result.median_abs_rel:.4f}"]
    if "flat_wall_abs_rel" in figures:
        said.append(f"a flat wall would have AbsRel {figures['flat_wall_abs_rel']:.4f}")
    said += [f"{key} {value:.4g}" for key, value in figures.get("as_published", {}).items()]
    if figures.get("depth_agreement") is not None:
        said.append(f"depth of TRUTH differs between its frames by {figures['depth_agreement']:.2%}")
    view = figures.get("cross_view", {})
    if view.get("mean_relative_difference") is not None:
        said.append(f"views {view['gap']} frames apart differ by {view['mean_relative_difference']:.4f}")
    drawn.caption = "; ".join(said)
    return drawn


def table_of(protocol: str, figures: dict[str, Any]):
    """The figures under their names."""
    from rich.table import Table

    drawn = Table(title=f"protocol {protocol}", title_justify="left")
    for column in ("figure", "value"):
        drawn.add_column(column)
    for name, value in _flat(figures):
        drawn.add_row(name, f"{value:.4g}" if isinstance(value, float) else str(value))
    return drawn


def _flat(figures: dict[Any, Any], before: str = "") -> list[tuple[str, Any]]:
    rows = []
    for key, value in figures.items():
        name = f"{before}{key}"
        if isinstance(value, dict):
            rows += _flat(value, f"{name} ")
        elif isinstance(value, list | tuple):
            for part in value:
                rows += _flat(part, f"{name} {part.get('gap', '')} ") if isinstance(part, dict) else []
        elif name != "protocol":
            rows.append((name, value))
    return rows


def evaluate_folder(
    prediction: Path,
    truth: Path,
    out: Path,
    run: Path | None = None,
    gap: int = 6,
    protocol: str = AUTO,
    seen_from: Path | None = None,
    split: Path | None = None,
    unit: Unit | None = None,
    truth_unit: Unit | None = None,
    time_limit_s: str = "",
    time_offset_s: str = "0",
) -> int:
    """The errors of depth maps, a camera path or a surface by a protocol, as a folder.

    The parameters are those of ``depthscope evaluate``.
    """
    from rich.console import Console

    from depthscope.formats import is_truth, recognised, surfaces
    from depthscope.workspace import content_hash, write_provenance, write_result, writing_folder

    chosen = protocol_named(protocol)
    for name, path in (("PREDICTION", prediction), ("TRUTH", truth)):
        if not path.exists():
            raise BadInputError(f"{name} {path} is missing", "a folder or a file", "check the path")
    if gap < 1:
        raise BadInputError(f"--gap {gap}", "1 or more")
    limit_s = seconds_of("--time-limit-s", time_limit_s) if time_limit_s else None
    offset_s = seconds_of("--time-offset-s", time_offset_s)
    if chosen is None and protocol == AUTO and prediction.suffix.lower() in surfaces.ENDINGS:
        chosen = SURFACE
    if split is not None and not isinstance(chosen or DENSE, DepthProtocol):
        raise BadInputError(f"--frame-list for {protocol}", "a protocol for depth", "say --protocol kitti-eigen")
    on_points = protocol == POINTS or (chosen is None and recognised(truth) and not is_truth(truth))
    if run is not None and not on_points:
        raise BadInputError(f"--run for {protocol}", f"it only with {POINTS}", "leave it away")
    if (unit or truth_unit) and not isinstance(chosen, SurfaceProtocol):
        raise BadInputError("--unit without surfaces", "it where surfaces are compared", "leave it away")
    start, rows, figures = time.perf_counter(), None, {}
    if isinstance(chosen, PathProtocol):
        figures = measured_path(prediction, truth, chosen, limit_s, offset_s)
        shown = table_of(chosen.name, figures)
    elif isinstance(chosen, SurfaceProtocol):
        figures = measured_surface(prediction, truth, chosen, seen_from, unit, truth_unit)
        shown = table_of(chosen.name, figures)
    else:
        assert chosen is None or isinstance(chosen, DepthProtocol)
        if split is not None:
            rows, beside = at_pixels_of_split(prediction, truth, split, chosen or DENSE)
        elif on_points:
            rows, beside = at_points(prediction, truth, run, gap)
        else:
            rows, beside = at_pixels(prediction, truth, chosen or DENSE)
        figures, shown = {**summary(rows), **beside}, table(rows, beside)
    if prediction.resolve() == truth.resolve():
        remark = f"{prediction} is PREDICTION and TRUTH: no error can be found"
        figures = {**figures, "notes": [*figures.get("notes", ()), remark]}
    with writing_folder(out, inputs=(prediction, truth)) as folder:
        write_result(folder, figures)
        if rows is not None:
            write_rows(folder / "frames.csv", rows)
        sources = (prediction, truth) if split is None else (prediction, split)  # a whole KITTI is not hashed
        inputs = {str(path): content_hash(path) for path in sources}
        options: dict[str, Any] = {"gap": gap, "run": run, "protocol": protocol, "unit": unit, "truth_unit": truth_unit}
        options |= {"time_limit_s": time_limit_s, "time_offset_s": time_offset_s}
        write_provenance(folder, options=options, inputs=inputs, seconds=time.perf_counter() - start)
    Console(highlight=False).print(shown)
    console = Console(soft_wrap=True, highlight=False)
    for note in (*figures.get("notes", ()), *figures.get("truth", {}).get("notes", ())):
        console.print(f"  {note}", markup=False)
    for warning in figures.get("warnings", ()):
        console.print(f"warning: {warning}", markup=False)
    return 0
