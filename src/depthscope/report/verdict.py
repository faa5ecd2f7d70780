"""The verdict in plain words: what the result can be used for, and how far it may be off."""

from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from depthscope.report.folder import CaseFolder, ClipResults, Results
from depthscope.report.markup import Figure, Part, amount, joined, phrase, plain, share, whole

Standing = Literal["usable", "limited", "unusable", "unknown"]

WRONG_ABS_REL = 0.25
"""Mean relative error of depth at one scale above which the ground truth contradicts the checks."""

WRONG_TURN_DEG = 30.0
"""Turn of the cameras against the ground truth above which it contradicts them."""

WRONG_MM = 3.0
"""Median error of an accepted registration above which the ground truth contradicts it."""

SMALL_MM = 2.0
"""Largest error of a result that is called usable without a limit: what surgical navigation asks of a target."""

SURE = 0.9
"""Probability of a registration from which it is called usable without a limit."""

RESEARCH_USE = "For research use only. Not a medical device: not for diagnosis, planning or guidance of treatment."
"""Stands on every page."""


@dataclass(frozen=True)
class VerdictSection:
    """What a reader is told first.

    Attributes:
        standing: In one word, which decides the colour.
        label: The same in a few words.
        headline: In one sentence, with its limit.
        sentences: Why, in what unit, and how far to trust it.
        reasons: Of a refusal, as the checks gave them.
    """

    standing: Standing
    label: str
    headline: Markup
    sentences: tuple[Markup, ...]
    reasons: tuple[str, ...]

    @property
    def text(self) -> str:
        """The headline without markup."""
        return plain(self.headline)


def verdict(case: CaseFolder) -> VerdictSection:
    """The verdict on a case."""
    sequence = case.stages["sequence"]
    reasons = tuple(reason for clip in case.clips for reason in clip.sequence.lines("reasons"))
    reasons = reasons or tuple(sequence.lines("reasons"))
    sentences = (
        *_errors(case),
        *_units(case),
        *_registrations(case),
        *_depth(case),
        _reconstruction(case),
        *_expected_errors(case),
        *_lens(case),
    )
    standing, label, headline = _headline(case)
    return VerdictSection(
        standing, label, phrase("{}", headline), tuple(phrase("{}", s) for s in sentences if s is not None), reasons
    )


def outcome(clip: ClipResults) -> str:
    """What the checks said of a clip: accepted, refused, cannot tell, or nothing ("")."""
    accepted = clip.sequence.get("accepted")
    if not isinstance(accepted, bool):
        return ""
    return "accepted" if accepted else clip.sequence.said("outcome", "refused")


def _outcome(case: CaseFolder) -> str:
    """The best outcome of the clips."""
    found = [outcome(clip) for clip in case.clips]
    return next((word for word in ("accepted", "cannot tell", "refused") if word in found), "")


def _headline(case: CaseFolder) -> tuple[Standing, str, Part]:
    """Standing, label and headline."""
    accepted = _outcome(case)
    used = any(clip.prediction or clip.surface for clip in case.clips)
    if not accepted:
        return (
            "unknown",
            "No verdict",
            "No verdict: nothing here says whether structure from motion worked on this video.",
        )
    if accepted == "cannot tell":
        return (
            "unknown",
            "Not confirmed",
            "Cannot tell: no check refuses the structure from motion, but it does not look like a sound one"
            f"{'; depth was computed from it all the same' if used else ''}.",
        )
    if accepted != "accepted":
        return (
            "unusable",
            "Not usable",
            "Do not use: structure from motion was refused, and depth was computed from it all the same."
            if used
            else "Not usable: structure from motion was refused.",
        )
    if wrong(case):
        return (
            "unusable",
            "Wrong",
            "Wrong, although it passed its own checks: the ground truth of this phantom contradicts it.",
        )
    return _accepted(case)


def _accepted(case: CaseFolder) -> tuple[Standing, str, Part]:
    """The headline of a case whose reconstruction was accepted and that no ground truth contradicts."""
    registered = [clip.registration for clip in case.clips if clip.registration]
    refused = any(found.get("ambiguous") is True for found in registered)
    surface = case.stages["surface_error"].figure("surface", "accuracy", "p95")
    if registered and not refused:
        return _registered(case, registered)
    if surface is not None:
        off, place = amount(surface, "mm", 2), ", and its place in the CT is not known" if refused else ""
        if surface.value <= SMALL_MM and not refused:
            line = phrase("Usable for shape: 95\N{NO-BREAK SPACE}% of the wall is within {} of the true one.", off)
            return "usable", "Usable", line
        line = phrase("Usable for shape: 5\N{NO-BREAK SPACE}% of the wall is more than {} off{}.", off, place)
        return "limited", "Usable within limits", line
    if refused:
        line = "Usable for shape only: its place and its size in the CT are not known."
        return "limited", "Usable within limits", line
    if any(clip.surface for clip in case.clips):
        line = "Usable for shape, not for lengths: nothing here gives a scale in millimetres."
        return "limited", "Usable within limits", line
    if any(clip.prediction for clip in case.clips):
        line = "Depth is usable for shape, not for lengths; it has not been fused into a surface."
        return "limited", "Usable within limits", line
    line = "Structure from motion is usable; depth has not been computed from it."
    return "limited", "Usable within limits", line


def _registered(case: CaseFolder, registered: list[Results]) -> tuple[Standing, str, Part]:
    """The headline where every registration was accepted: by the largest error that is known or expected."""
    truth = case.stages["surface_error"]
    true = _largest(truth.figure("registration", "target_error_mm", "p95"), truth.figure("surface", "accuracy", "p95"))
    if true is None:
        true = truth.figure("registration", "target_error_mm", "median")
    if true is not None:
        half = true.path[-1] == "median"
        part, off = "half" if half else "5\N{NO-BREAK SPACE}%", amount(true, "mm", 2)
        if true.value <= SMALL_MM and not half:
            line = phrase(
                "Usable in millimetres: 95\N{NO-BREAK SPACE}% of the wall is within {} of its true place.", off
            )
            return "usable", "Usable", line
        line = phrase("Usable for shape: {} of the wall is more than {} off.", part, off)
        return "limited", "Usable within limits", line
    expected = _largest(*(found.figure("predicted_tre_mm") for found in registered))
    apart = _largest(
        *(
            found.figure("residual_all_vertices_mm") or found.figure("residual_mm", "mean")
            for found in registered
        )
    )  # fmt: skip
    sure = min((f for found in registered if (f := found.figure("confidence")) is not None), key=_value, default=None)
    limits = joined(
        None if expected is None else phrase("expect an error of {} at a landmark", amount(expected, "mm", 2)),
        None if apart is None else phrase("on average the surface lies {} from the CT's wall", amount(apart, "mm", 2)),
        None
        if sure is None or sure.value >= SURE
        else phrase("the registration is right with a probability of only {}", share(sure)),
        by="; ",
    )
    small = all(f is not None and f.value <= SMALL_MM for f in (expected, apart))
    limits = phrase(": {}", limits) if limits else None
    if small and (sure is None or sure.value >= SURE):
        return "usable", "Usable", phrase("Usable in millimetres by registration to the CT{}.", limits)
    return "limited", "Usable within limits", phrase("Usable within limits, registered to the CT{}.", limits)


def wrong(case: CaseFolder) -> bool:
    """Whether a known ground truth contradicts the result."""
    error = case.stages["depth_error"].figure("alignment", "per_sequence", "abs_rel")
    turn = case.stages["surface_error"].figure("path", "rotation_deg")
    off = case.stages["surface_error"].figure("registration", "target_error_mm", "median")
    believed = bool(case.clips) and case.clips[0].registration.get("ambiguous") is False
    return (
        (_dense(case.stages["depth_error"]) and _above(error, WRONG_ABS_REL))
        or _above(turn, WRONG_TURN_DEG)
        or (believed and _above(off, WRONG_MM))
    )


def _dense(results: Results) -> bool:
    """Whether depth was compared with true depth, not with points of the reconstruction itself."""
    return results.said("protocol").startswith("dense")


def _above(figure: Figure | None, limit: float) -> bool:
    return figure is not None and figure.value > limit


def _value(figure: Figure) -> int | float:
    return figure.value


def _largest(*figures: Figure | None) -> Figure | None:
    return max((figure for figure in figures if figure is not None), key=_value, default=None)


def _reconstruction(case: CaseFolder) -> Markup | None:
    sequence = case.stages["sequence"]
    frames, registered, points = (sequence.figure(key) for key in ("frames", "registered", "points"))
    if registered is None:
        return None
    of = None if frames is None else phrase(" of {}", whole(frames))
    by = None if points is None else phrase(", from {} points", whole(points))
    start = phrase("Structure from motion placed {}{} frames{}. ", whole(registered), of, by)
    checks = [check for clip in case.clips for check in (clip.sequence.get("checks") or {}).values()]
    passed = [check.get("passed") for check in checks if isinstance(check, dict)]
    if not passed:
        return start
    silent = f"; {passed.count(None)} did not apply" if None in passed else ""
    judged = len(passed) - passed.count(None)
    clips = f" over {len(case.clips)} clips" if len(case.clips) > 1 else ""
    return joined(start, f"{passed.count(True)} of {judged} checks{clips} passed{silent}.")


def _expected_errors(case: CaseFolder) -> list[Markup]:
    """What structure from motion is probably wrong by, clip by clip, by its own checks."""
    made = []
    for clip in case.clips:
        parts = []
        for key, name in (("path", "the camera path by {} of its extent"), ("depth", "depth by {}")):
            median, low, high, coverage = (
                clip.sequence.figure("expected_error", key, part) for part in ("median", "low", "high", "coverage")
            )
            if median is not None and high is not None:
                interval = phrase("{} ({} interval: {} to {})", share(median), share(coverage), share(low), share(high))
                parts.append(phrase(name, interval))
        if parts:
            start = phrase("{}Expected error of structure from motion: ", f"{clip.name}: " if clip.name else "")
            made.append(joined(start, joined(*parts, by=", "), "."))
    return made


def _errors(case: CaseFolder) -> list[Markup]:
    """What the ground truth of a phantom says of the surface and the camera."""
    made, truth = [], case.stages["surface_error"]
    turn = truth.figure("path", "rotation_deg")
    if wrong(case) and _above(turn, WRONG_TURN_DEG):
        made.append(phrase("The cameras are turned by {} against the true ones.", amount(turn, "degrees")))
    middle, far = truth.figure("surface", "accuracy", "median"), truth.figure("surface", "accuracy", "p95")
    if middle is None:
        return made
    seen = truth.figure("surface", "completeness", "median")
    to = None if far is None else phrase(" and 95\N{NO-BREAK SPACE}% within {}", amount(far, "mm"))
    rest = None
    if seen is not None:
        rest = phrase(" The other way, from the true wall that the camera saw, the median is {}.", amount(seen, "mm"))
    made.append(
        phrase("Measured against the true anatomy, half of the wall is within {}{}.{}", amount(middle, "mm"), to, rest)
    )
    return made


def _units(case: CaseFolder) -> list[Markup]:
    made: list[Markup] = []
    for clip in case.clips:
        results, name = clip.registration, f"{clip.name}: " if clip.name else ""
        if not results:
            continue
        scale, deviation = results.figure("scale"), results.figure("scale_sd")
        source = results.said("scale_source", "registration to the CT")
        if results.get("ambiguous") is True:
            made.append(phrase("{}The registration was refused, so it gives no millimetres.", name))
            continue
        plus = None if deviation is None else phrase(" \N{PLUS-MINUS SIGN} {}", amount(deviation))
        made.append(phrase("{}Millimetres come from {}: one unit is {}{} mm.", name, source, amount(scale), plus))
    truth = case.stages["surface_error"]
    if truth and (source := truth.said("scale_source")):
        made.append(phrase("Errors in millimetres take their scale from {}, which a patient does not have.", source))
    if not made:
        made.append(
            Markup(
                "Lengths are in the free unit of the reconstruction: compare them with each other, not with a ruler."
            )
        )
    return made


def _registrations(case: CaseFolder) -> list[Markup]:
    made, truth = [], case.stages["surface_error"]
    for clip in case.clips:
        results = clip.registration
        mean, expected = results.figure("residual_mm", "mean"), results.figure("predicted_tre_mm")
        if mean is None:
            continue
        sure = results.figure("confidence")
        off = truth.figure("registration", "target_error_mm", "median") if clip is case.clips[0] else None
        parts = (
            phrase("{}The residual to the CT is {}", f"{clip.name}: " if clip.name else "", amount(mean, "mm")),
            None if expected is None else phrase(", the expected error at a landmark {}", amount(expected, "mm")),
            Markup("; a small residual alone does not prove a registration right."),
            None if sure is None else phrase(" It is right with a probability of {}.", share(sure)),
            None if off is None else phrase(" In truth it is {} off in the median.", amount(off, "mm")),
        )
        made.append(joined(*parts))
        made += [
            phrase("{}Refused: {}.", f"{clip.name}: " if clip.name else "", reason.rstrip("."))
            for reason in results.lines("reasons")
        ]
    return made


def _depth(case: CaseFolder) -> list[Markup]:
    made, truth, run = [], case.stages["depth_error"], case.stages["run"]
    frame = share(truth.figure("alignment", "per_frame_median", "abs_rel"))
    clip = share(truth.figure("alignment", "per_sequence", "abs_rel"))
    if frame is not None and clip is not None:
        against = "the true depth of every pixel" if _dense(truth) else "the reconstruction's own points"
        drift = share(truth.figure("scale_drift"))
        made.append(
            joined(
                phrase("Against {}, depth is off by {} on average at one scale for the clip", against, clip),
                phrase(", and by {} with each frame at its own scale", frame),
                None if drift is None else phrase("; the scale drifts by {} from frame to frame", drift),
                ".",
            )
        )
    middle = share(run.figure("best", "median") or run.figure("validation", "median"))
    if middle is not None:
        drift = share(run.figure("best", "scale_drift") or run.figure("validation", "scale_drift"))
        made.append(
            joined(
                phrase("The network meets {} within {} (median)", _validation_points(run), middle),
                None if drift is None else phrase(", with a scale drift of {}", drift),
                ": agreement with the reconstruction, not with the anatomy.",
            )
        )
    return made


def _validation_points(run: Results) -> str:
    trained = "trained on" in run.said("validated_on")
    return "the points it was trained on (none were held out)" if trained else "held-out points"


def _lens(case: CaseFolder) -> list[Markup]:
    if "self-calibrated" not in {clip.sequence.said("camera_source") for clip in case.clips}:
        return []
    return [Markup("The camera was not calibrated but estimated from the video: angles and depth are less certain.")]
