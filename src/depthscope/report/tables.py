"""Tables: key figures with what must stand beside them, the paper's own table, and the checks."""

from collections.abc import Iterable, Sequence as Rows

from depthscope.report.folder import CaseFolder, Clip, Results
from depthscope.report.markup import Figure, Html, Part, amount, element, joined, share, spoken_amount, whole

SQUARE_MM, SQUARE_UNITS = "mm\N{SUPERSCRIPT TWO}", "units\N{SUPERSCRIPT TWO}"

PAPER = (("patient 1", "0.84 \N{PLUS-MINUS SIGN} 0.10"), ("patient 2", "0.63 \N{PLUS-MINUS SIGN} 0.19"))
"""Mean residual of Liu et al. 2018, in mm, over scenes of 10 frames."""

DEPTH_ROWS = (
    ("mean relative error", "abs_rel", "share"),
    ("within a factor of 1.25", "delta1", "share"),
    ("root mean square error", "rmse", "length"),
    ("root mean square of ln ratios", "rmse_log", "plain"),
)


def table(head: Rows[str], rows: Iterable[Rows[Part]], caption: str, class_: str = "") -> Html:
    """A table whose first column names its rows; it scrolls by itself where the page is narrow."""
    top = element("tr", *(element("th", title, scope="col") for title in head))
    body = [
        element("tr", element("th", row[0], scope="row"), *(element("td", _or_dash(cell)) for cell in row[1:]))
        for row in rows
    ]
    made = element(
        "table", element("caption", caption), element("thead", top), element("tbody", *body), class_=class_ or None
    )
    return element("div", made, class_="scroll", tabindex=0, role="region", aria_label=caption)


def key_figures(case: CaseFolder) -> Html | None:
    """The figures of the case, each with its companions and the file that it stands in."""
    rows = [row for clip in case.clips for row in _of_clip(clip, len(case.clips) > 1)]
    run, truth = case.stages["run"], case.stages["surface_error"]
    best = "best" if run.get("best") else "validation"
    if (middle := run.figure(best, "median")) is not None:
        mean, drift = run.figure(best, "abs_rel"), run.figure(best, "scale_drift")
        beside = _list(("mean", share(mean)), ("drift of scale", share(drift)), ("steps", whole(run.figure("steps"))))
        points = "points trained on" if "trained on" in run.said("validated_on") else "points in validation"
        rows.append((f"Depth against {points}, median", share(middle), beside, middle.file))
    if (ate := truth.figure("path", "ate")) is not None:
        beside = _list(
            ("of the path's extent", share(truth.figure("path", "ate_of_extent"))),
            ("turned by", amount(truth.figure("path", "rotation_deg"), "degrees")),
            ("scale taken from", truth.said("scale_source") or None),
        )
        rows.append(("Camera path against the truth, RMS", amount(ate, "mm"), beside, ate.file))
    if not rows:
        return None
    return table(("", "value", "never without", "stands in"), rows, "Key figures", "figures")


def _of_clip(clip: Clip, several: bool) -> list[tuple[Part, ...]]:
    rows: list[tuple[Part, ...]] = []
    of = f", {clip.name}" if several else ""
    placed, points = clip.sequence.figure("registered"), clip.sequence.figure("points")
    if placed is not None:
        beside = _list(
            ("of frames", whole(clip.sequence.figure("frames"))),
            ("points", whole(points)),
            ("frames that see a point", amount(clip.sequence.figure("mean_track_length"))),
            ("reprojection", amount(clip.sequence.figure("mean_reprojection_px"), "px")),
        )
        rows.append((f"Frames placed{of}", whole(placed), beside, placed.file))
    area = clip.surface.figure("area")
    if area is not None:
        unit, scale = clip.surface.said("unit", "sfm"), clip.scale
        in_ct = None if unit == "mm" or scale is None else spoken_amount(area.value * scale.value**2, SQUARE_MM)
        beside = _list(
            ("at the scale of the registration", in_ct),
            ("voxel", amount(clip.surface.figure("voxel"), _unit(unit))),
            ("pixels used", share(clip.surface.figure("used_share"))),
            ("drift of scale", share(clip.surface.figure("scale_drift"))),
            ("frames", whole(clip.surface.figure("frames"))),
        )
        rows.append(
            (f"Area of the surface{of}", amount(area, SQUARE_MM if unit == "mm" else SQUARE_UNITS), beside, area.file)
        )
    mean = clip.registration.figure("residual_mm", "mean")
    if mean is not None:
        found = clip.registration
        beside = _list(
            ("sd", amount(found.figure("residual_mm", "std"), "mm")),
            ("inliers", share(found.figure("residual_mm", "inlier_share"))),
            ("scale", amount(found.figure("scale"), "mm")),
            ("sd of scale", amount(found.figure("scale_sd"), "mm")),
            ("coverage", share(found.figure("coverage"))),
            ("expected error at a landmark", amount(found.figure("predicted_tre_mm"), "mm")),
            ("spread over starts", amount(found.figure("start_spread_mm"), "mm")),
            ("halves of the clip apart", amount(found.figure("halves_apart_mm"), "mm")),
            ("probability that it is right", share(found.figure("confidence"))),
        )
        rows.append((f"Residual to the CT{of}", amount(mean, "mm"), beside, mean.file))
    return rows


def depth_table(results: Results) -> Html | None:
    """Errors of depth, each frame at its own scale and the whole clip at one scale, always side by side."""
    rows = []
    for title, key, kind in DEPTH_ROWS:
        pair = [results.figure("alignment", alignment, key) for alignment in ("per_frame_median", "per_sequence")]
        if None not in pair:
            rows.append((title, *(_spoken(figure, kind, results) for figure in pair)))
    if not rows:
        return None
    drift, flat = results.figure("scale_drift"), results.figure("flat_wall_abs_rel")
    rows.append(("drift of scale", "none, by construction", share(drift)))
    if flat is not None:
        rows.append(("a flat wall in its place, mean relative error", share(flat), None))
    protocol, frames = results.said("protocol", "not named"), results.figure("frames")
    number = f", {frames.value:.0f} frames" if frames is not None else ""
    head = ("", "each frame at its own scale", "one scale for the clip")
    return table(head, rows, f"Error of depth (protocol {protocol}{number})")


def scene_table(case: CaseFolder) -> Html | None:
    """The paper's table, residual of each scene as mean and sd, with what the paper could not show beside it."""
    rows: list[tuple[Part, ...]] = []
    for clip in case.clips:
        found = clip.registration
        if found.figure("residual_mm", "mean") is not None:
            tre = found.figure("tre_mm") or found.figure("tre_mm", "median")
            if tre is None and clip is case.clips[0]:  # the truth is measured on the first clip
                tre = case.stages["surface_error"].figure("registration", "target_error_mm", "median")
            refused = ", refused" if found.get("ambiguous") is True else ""
            row = (_pair(found, "residual_mm"), share(found.figure("residual_mm", "inlier_share")))
            rest = (amount(found.figure("predicted_tre_mm"), "mm"), amount(tre, "mm"))
            rows.append(
                (
                    clip.name or case.name,
                    f"registration to the CT{refused}",
                    *row,
                    *rest,
                    share(found.figure("confidence")),
                )
            )
    truth = case.stages["surface_error"]
    if truth.figure("surface", "accuracy", "mean") is not None:
        known = truth.said("scale_source", "the truth")
        rows.append((case.clips[0].name or case.name, known, _pair(truth, "surface", "accuracy"), *[None] * 4))
    if not rows:
        return None
    for patient, value in PAPER:
        rows.append((f"Liu et al. 2018, {patient}", "registration to the CT", f"{value} mm", *["not given"] * 4))
    head = (
        "scene",
        "placed by",
        "residual, mean \N{PLUS-MINUS SIGN} sd",
        "inliers",
        "expected TRE",
        "true TRE",
        "confidence",
    )
    return table(head, rows, "Residual of each scene, and what must stand beside it")


def surface_table(results: Results) -> Html | None:
    """Distances both ways between the surface and the true one."""
    rows = []
    for title, key in (("from the surface to the truth", "accuracy"), ("from the truth that was seen", "completeness")):
        row = [results.figure("surface", key, part) for part in ("median", "mean", "std", "p95")]
        if row[0] is not None:
            rows.append((title, *(amount(figure, "mm") for figure in row)))
    if not rows:
        return None
    scores = results.get("surface", "f_scores")
    for reach in scores if isinstance(scores, dict) else ():
        rows.append((f"F-score at {reach} mm", share(results.figure("surface", "f_scores", reach)), "", "", ""))
    return table(("", "median", "mean", "sd", "95 %"), rows, "The surface against the truth of the phantom")


def checks_table(results: Results) -> Html | None:
    """Every check of the structure from motion: value, gate, what chance gives, and a sentence."""
    found = results.get("checks")
    checks = (
        {name: check for name, check in found.items() if isinstance(check, dict)} if isinstance(found, dict) else {}
    )
    if not checks:
        return None
    groups = (
        ("failed", [name for name, check in checks.items() if check.get("passed") is False]),
        ("passed", [name for name, check in checks.items() if check.get("passed") is True]),
        ("had nothing to go by", [name for name, check in checks.items() if check.get("passed") is None]),
    )
    parts = []
    for word, names in groups:
        if not names:
            continue
        rows = [_check(name, checks[name], results) for name in names]
        head = ("check", "found", "must be", "by chance", "in words")
        made = table(head, rows, f"Checks that {word}", "checks")
        title = element("summary", f"{len(names)} {'check' if len(names) == 1 else 'checks'} {word}")
        parts.append(element("details", title, made, open=word == "failed"))
    return joined(*parts)


def _check(name: str, check: dict, results: Results) -> tuple[Part, ...]:
    sign = {"at least": "\N{GREATER-THAN OR EQUAL TO}", "at most": "\N{LESS-THAN OR EQUAL TO}"}
    gate, null = results.figure("checks", name, "gate"), results.figure("checks", name, "null")
    hint = str(check.get("hint") or "")
    words = joined(str(check.get("sentence") or ""), element("span", hint, class_="hint") if hint else None)
    limit = joined(sign.get(str(check.get("direction")), ""), " ", amount(gate)) if gate is not None else None
    return name.replace("_", " "), amount(results.figure("checks", name, "value")), limit, amount(null), words


def _spoken(figure: Figure | None, kind: str, results: Results) -> Html | None:
    if kind == "share":
        return share(figure)
    unit = results.get("truth", "unit") if kind == "length" else ""
    default = "mm" if kind == "length" and results.said("protocol").startswith("dense") else "units"
    return amount(figure, (unit if isinstance(unit, str) and unit else default) if kind == "length" else "")


def _pair(results: Results, *path: str) -> Html | None:
    mean, deviation = results.figure(*path, "mean"), results.figure(*path, "std")
    if mean is None or deviation is None:
        return amount(mean, "mm")
    return joined(amount(mean), " \N{PLUS-MINUS SIGN} ", amount(deviation, "mm"))


def _unit(unit: str) -> str:
    return "mm" if unit == "mm" else "units"


def _list(*pairs: tuple[str, Part]) -> Html | None:
    parts = [joined(name, "\N{NO-BREAK SPACE}", value) for name, value in pairs if value is not None]
    return (
        element("span", joined(*(joined("; " if i else "", part) for i, part in enumerate(parts)))) if parts else None
    )


def _or_dash(cell: Part) -> Part:
    return "\N{EM DASH}" if cell is None or cell == "" else cell
