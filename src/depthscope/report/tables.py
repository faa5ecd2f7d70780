"""Tables: the figures of a case with their context, errors against ground truth, and the checks."""

from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup

from depthscope.report.folder import CaseFolder, ClipResults, Results
from depthscope.report.markup import Figure, Part, amount, joined, phrase, share, spoken_amount, whole

SQUARE_MM, SQUARE_UNITS = "mm\N{SUPERSCRIPT TWO}", "units\N{SUPERSCRIPT TWO}"

DEPTH_ROWS = (
    ("Mean relative error (AbsRel)", "abs_rel", "share"),
    ("Pixels within a factor of 1.25 (\N{GREEK SMALL LETTER DELTA}1)", "delta1", "share"),
    ("Root mean square error (RMSE)", "rmse", "length"),
    ("RMSE of ln depth", "rmse_log", "plain"),
)


@dataclass(frozen=True)
class Table:
    """A table whose first column names its rows.

    Attributes:
        caption: What it shows.
        head: Titles of the columns.
        rows: Cells; None is shown as a dash.
        kind: Class of its style.
    """

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[Part, ...], ...]
    kind: str = ""


@dataclass(frozen=True)
class Checks:
    """The checks of one result.

    Attributes:
        title: How many, and how they came out.
        table: The checks.
        failed: Whether they are those that failed.
    """

    title: str
    table: Table
    failed: bool


def key_figures(case: CaseFolder) -> Table | None:
    """The figures of the case, each with its context and the file that it stands in."""
    rows = [row for clip in case.clips for row in _of_clip(clip, len(case.clips) > 1)]
    run, truth = case.stages["run"], case.stages["surface_error"]
    best = "best" if run.get("best") else "validation"
    if (middle := run.figure(best, "median")) is not None:
        mean, drift = run.figure(best, "abs_rel"), run.figure(best, "scale_drift")
        context = _list(("mean", share(mean)), ("scale drift", share(drift)), ("steps", whole(run.figure("steps"))))
        points = "training points" if "trained on" in run.said("validated_on") else "held-out points"
        rows.append((f"Depth error at {points}, median", share(middle), context, middle.file))
    if (ate := truth.figure("path", "ate")) is not None:
        context = _list(
            ("share of the path's extent", share(truth.figure("path", "ate_of_extent"))),
            ("rotation", amount(truth.figure("path", "rotation_deg"), "degrees")),
            ("scale from", truth.said("scale_source") or None),
        )
        rows.append(("Camera path error against ground truth (ATE, RMS)", amount(ate, "mm"), context, ate.file))
    return Table("Key figures", ("Figure", "Value", "Context", "File"), tuple(rows), "figures") if rows else None


def _of_clip(clip: ClipResults, several: bool) -> Iterable[tuple[Part, ...]]:
    of = f", {clip.name}" if several else ""
    placed = clip.sequence.figure("registered")
    if placed is not None:
        context = _list(
            ("of frames", whole(clip.sequence.figure("frames"))),
            ("points", whole(clip.sequence.figure("points"))),
            ("mean track length", amount(clip.sequence.figure("mean_track_length"), "frames")),
            ("reprojection error", amount(clip.sequence.figure("mean_reprojection_px"), "px")),
        )
        yield f"Frames placed by structure from motion{of}", whole(placed), context, placed.file
    area = clip.surface.figure("area")
    if area is not None:
        unit, scale = clip.surface.said("unit", "sfm"), clip.scale
        in_ct = None if unit == "mm" or scale is None else spoken_amount(area.value * scale.value**2, SQUARE_MM)
        context = _list(
            ("at the scale of the registration", in_ct),
            ("voxel", amount(clip.surface.figure("voxel"), _unit(unit))),
            ("pixels used", share(clip.surface.figure("used_share"))),
            ("scale drift", share(clip.surface.figure("scale_drift"))),
            ("frames", whole(clip.surface.figure("frames"))),
        )
        yield f"Surface area{of}", amount(area, SQUARE_MM if unit == "mm" else SQUARE_UNITS), context, area.file
    found = clip.registration
    mean = found.figure("residual_mm", "mean")
    if mean is not None:
        context = _list(
            ("sd", amount(found.figure("residual_mm", "std"), "mm")),
            ("inliers", share(found.figure("residual_mm", "inlier_share"))),
            ("all vertices", amount(found.figure("residual_all_vertices_mm"), "mm")),
            ("scale", amount(found.figure("scale"), "mm")),
            ("sd of the scale", amount(found.figure("scale_sd"), "mm")),
            ("coverage", share(found.figure("coverage"))),
            ("expected error at a landmark", amount(found.figure("predicted_tre_mm"), "mm")),
            ("spread over starts", amount(found.figure("start_spread_mm"), "mm")),
            ("difference between the clip's halves", amount(found.figure("halves_apart_mm"), "mm")),
            ("probability that it is right", share(found.figure("confidence"))),
        )
        refused = ", refused" if found.get("ambiguous") is True else ""
        yield f"Residual of the registration to the CT{refused}{of}", amount(mean, "mm"), context, mean.file


def depth_table(results: Results) -> Table | None:
    """Errors of depth, each frame at its own scale and the whole clip at one scale, always side by side."""
    rows: list[tuple[Part, ...]] = []
    for title, key, kind in DEPTH_ROWS:
        pair = [results.figure("alignment", alignment, key) for alignment in ("per_sequence", "per_frame_median")]
        if None not in pair:
            rows.append((title, *(_shown(figure, kind, results) for figure in pair)))
    if not rows:
        return None
    drift, flat = results.figure("scale_drift"), results.figure("flat_wall_abs_rel")
    rows.append(("Scale drift", share(drift), "removed by this alignment"))
    if flat is not None:
        rows.append(("For comparison: AbsRel of a flat wall", None, share(flat)))
    protocol, frames = results.said("protocol", "not named"), results.figure("frames")
    number = f", {frames.value:.0f} frames" if frames is not None else ""
    head = ("Error", "One scale for the clip", "Each frame at its own scale")
    return Table(f"Error of depth (protocol {protocol}{number})", head, tuple(rows))


def scene_table(case: CaseFolder) -> Table | None:
    """The residual of each clip's registration, with what must stand beside it."""
    rows: list[tuple[Part, ...]] = []
    for clip in case.clips:
        found = clip.registration
        if found.figure("residual_mm", "mean") is None:
            continue
        true = found.figure("tre_mm") or found.figure("tre_mm", "median")
        if true is None and clip is case.clips[0]:  # the truth is measured on the first clip
            true = case.stages["surface_error"].figure("registration", "target_error_mm", "median")
        rows.append(
            (
                clip.name or case.name,
                "refused" if found.get("ambiguous") is True else "accepted",
                _pair(found, "residual_mm"),
                share(found.figure("residual_mm", "inlier_share")),
                amount(found.figure("predicted_tre_mm"), "mm"),
                amount(true, "mm"),
                share(found.figure("confidence")),
            )
        )
    head = (
        "ClipResults",
        "Registration",
        "Residual, mean \N{PLUS-MINUS SIGN} sd",
        "Inliers",
        "Expected error at a landmark",
        "True error",
        "Probability that it is right",
    )
    return Table("Registration of each clip to the CT", head, tuple(rows)) if rows else None


def surface_table(results: Results) -> Table | None:
    """Distances both ways between the surface and the true one."""
    rows: list[tuple[Part, ...]] = []
    for title, key in (
        ("Accuracy: surface to ground truth", "accuracy"),
        ("Completeness: ground truth that was seen, to surface", "completeness"),
    ):
        row = [results.figure("surface", key, part) for part in ("median", "mean", "std", "p95")]
        if row[0] is not None:
            rows.append((title, *(amount(figure, "mm") for figure in row)))
    if not rows:
        return None
    scores = results.get("surface", "f_scores")
    for reach in scores if isinstance(scores, dict) else ():
        rows.append((f"F-score at {reach} mm", share(results.figure("surface", "f_scores", reach)), "", "", ""))
    head = ("Distance", "Median", "Mean", "Standard deviation", "95\N{NO-BREAK SPACE}% are below")
    return Table("The surface against the phantom's ground truth", head, tuple(rows))


def checks_of(results: Results) -> tuple[Checks, ...]:
    """Every check of the structure from motion: value, limit, what chance gives, and a sentence; failed ones first."""
    found = results.get("checks")
    checks = (
        {name: check for name, check in found.items() if isinstance(check, dict)} if isinstance(found, dict) else {}
    )
    made = []
    for word, passed in (("failed", False), ("passed", True), ("did not apply", None)):
        names = [name for name, check in checks.items() if check.get("passed") is passed]
        if names:
            rows = tuple(_check(name, checks[name], results) for name in names)
            head = ("Check", "Found", "Limit", "By chance", "Meaning")
            title = f"{len(names)} {'check' if len(names) == 1 else 'checks'} {word}"
            made.append(Checks(title, Table(f"Checks that {word}", head, rows, "checks"), word == "failed"))
    return tuple(made)


def _check(name: str, check: dict, results: Results) -> tuple[Part, ...]:
    sign = {"at least": "\N{GREATER-THAN OR EQUAL TO}", "at most": "\N{LESS-THAN OR EQUAL TO}"}
    gate, null = results.figure("checks", name, "gate"), results.figure("checks", name, "null")
    hint = str(check.get("hint") or "")
    advice = phrase('<span class="hint">{}</span>', hint) if hint else None
    words = joined(str(check.get("sentence") or ""), advice)
    limit = None if gate is None else phrase("{} {}", sign.get(str(check.get("direction")), ""), amount(gate))
    return name.replace("_", " "), amount(results.figure("checks", name, "value")), limit, amount(null), words


def _shown(figure: Figure | None, kind: str, results: Results) -> Markup | None:
    if kind == "share":
        return share(figure)
    unit = results.get("truth", "unit") if kind == "length" else ""
    default = "mm" if kind == "length" and results.said("protocol").startswith("dense") else "units"
    return amount(figure, (unit if isinstance(unit, str) and unit else default) if kind == "length" else "")


def _pair(results: Results, *path: str) -> Markup | None:
    mean, deviation = results.figure(*path, "mean"), results.figure(*path, "std")
    if mean is None or deviation is None:
        return amount(mean, "mm")
    return phrase("{} \N{PLUS-MINUS SIGN} {}", amount(mean), amount(deviation, "mm"))


def _unit(unit: str) -> str:
    return "mm" if unit == "mm" else "units"


def _list(*pairs: tuple[str, Part]) -> Markup | None:
    parts = [phrase("{}\N{NO-BREAK SPACE}{}", name, value) for name, value in pairs if value is not None]
    return joined(*parts, by="; ") if parts else None
