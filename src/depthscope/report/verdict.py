"""The verdict in plain words: usable or not, in what unit, and how far to trust it."""

from dataclasses import dataclass
from typing import Literal

from depthscope.report.folder import CaseFolder, Clip, Results
from depthscope.report.markup import Figure, Html, amount, joined, share, whole

Standing = Literal["usable", "limited", "unusable", "unknown"]

WRONG_ABS_REL = 0.25
"""Mean relative error of depth at one scale above which the truth contradicts the checks."""

WRONG_TURN_DEG = 30.0
"""Turn of the cameras against the truth above which it contradicts them."""

WRONG_MM = 3.0
"""Median error of a registration that was not refused above which the truth contradicts it."""


@dataclass(frozen=True)
class Spoken:
    """What a reader is told first.

    Attributes:
        standing: In one word.
        headline: In one sentence.
        sentences: Why, in what unit, and how far to trust it.
        reasons: Of a refusal, as the checks gave them.
    """

    standing: Standing
    headline: str
    sentences: tuple[Html, ...]
    reasons: tuple[str, ...]


def spoken(case: CaseFolder) -> Spoken:
    """The verdict on a case."""
    sequence = case.stages["sequence"]
    accepted = _accepted(case)
    reasons = tuple(reason for clip in case.clips for reason in clip.sequence.lines("reasons"))
    reasons = reasons or tuple(sequence.lines("reasons"))
    sentences = (
        _reconstruction(case),
        *_contradictions(case),
        *_unit(case),
        *_depth(case),
        *_surface(case),
        *_lens(case),
    )
    standing, headline = _headline(case, accepted)
    return Spoken(standing, headline, tuple(s for s in sentences if s is not None), reasons)


def outcome(clip: Clip) -> str:
    """What the checks said of a clip: accepted, refused, cannot tell, or nothing ("")."""
    accepted = clip.sequence.get("accepted")
    if not isinstance(accepted, bool):
        return ""
    return "accepted" if accepted else clip.sequence.said("outcome", "refused")


def _accepted(case: CaseFolder) -> str:
    """The best outcome of the clips."""
    found = [outcome(clip) for clip in case.clips]
    return next((word for word in ("accepted", "cannot tell", "refused") if word in found), "")


def _headline(case: CaseFolder, accepted: str) -> tuple[Standing, str]:
    used = any(clip.prediction or clip.surface for clip in case.clips)
    if not accepted:
        return "unknown", "No verdict: nothing here says whether the structure from motion can be trusted."
    if accepted == "cannot tell":
        told = "the structure from motion could not be confirmed: nothing refuses it, but it is unlike sound ones"
        return "unknown", f"Cannot tell: {told}{', and it was used all the same' if used else ''}."
    if accepted != "accepted":
        if used:
            return "unusable", "Not to be trusted: the structure from motion was refused, and was used all the same."
        return "unusable", "Not usable: the structure from motion was refused."
    if wrong(case):
        return "unusable", "Wrong, although it passed its own checks: the truth of this phantom contradicts it."
    registrations = [clip.registration for clip in case.clips if clip.registration]
    if any(r.get("ambiguous") is True for r in registrations):
        return "limited", "Usable for shape; its place and its size in the CT are not known."
    if registrations:
        return "usable", "Usable, in millimetres by registration to the CT."
    if case.stages["surface_error"]:
        return "usable", "Usable, and measured against the truth of a phantom."
    if any(clip.surface for clip in case.clips):
        return "limited", "Usable for shape, not for lengths: nothing tells millimetres here."
    if used:
        return "limited", "Depth is usable for shape, not for lengths; it was not yet fused into a surface."
    return "limited", "The structure from motion is usable; depth was not yet computed from it."


def wrong(case: CaseFolder) -> bool:
    """Whether a known truth contradicts the result."""
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


def _reconstruction(case: CaseFolder) -> Html | None:
    sequence = case.stages["sequence"]
    frames, registered = sequence.figure("frames"), sequence.figure("registered")
    points = sequence.figure("points")
    if registered is None:
        return None
    of = joined(" of ", whole(frames)) if frames is not None else None
    start = joined("Structure from motion placed ", whole(registered), of, " frames by ", whole(points), " points. ")
    checks = [check for clip in case.clips for check in (clip.sequence.get("checks") or {}).values()]
    passed = [check.get("passed") for check in checks if isinstance(check, dict)]
    if not passed:
        return start
    silent = f"; {passed.count(None)} had nothing to go by" if None in passed else ""
    judged = len(passed) - passed.count(None)
    clips = f" over {len(case.clips)} clips" if len(case.clips) > 1 else ""
    return joined(start, f"{passed.count(True)} of {judged} checks{clips} passed{silent}.")


def _contradictions(case: CaseFolder) -> list[Html]:
    if not wrong(case):
        return []
    said = []
    turn = case.stages["surface_error"].figure("path", "rotation_deg")
    if _above(turn, WRONG_TURN_DEG):
        degrees = amount(turn, "degrees")
        said.append(joined("The cameras are turned by ", degrees, " against the true ones."))
    return said


def _unit(case: CaseFolder) -> list[Html]:
    said = []
    for clip in case.clips:
        results, name = clip.registration, f"{clip.name}: " if clip.name else ""
        if not results:
            continue
        scale, deviation = results.figure("scale"), results.figure("scale_sd")
        source = results.said("scale_source", "registration to the CT")
        if results.get("ambiguous") is True:
            said.append(joined(name, "The registration was refused: it tells no millimetres."))
            continue
        plus = joined(" \N{PLUS-MINUS SIGN} ", amount(deviation)) if deviation is not None else None
        said.append(joined(name, "Millimetres come from ", source, ": one unit is ", amount(scale), plus, " mm."))
    truth = case.stages["surface_error"]
    if truth and (source := truth.said("scale_source")):
        said.append(joined("Errors in millimetres take their scale from ", source, ", which a patient does not have."))
    if not said:
        said.append(
            joined("Lengths are in the free unit of the reconstruction: ratios mean something, millimetres do not.")
        )
    return said


def _depth(case: CaseFolder) -> list[Html]:
    said, truth, run = [], case.stages["depth_error"], case.stages["run"]
    frame = share(truth.figure("alignment", "per_frame_median", "abs_rel"))
    clip = share(truth.figure("alignment", "per_sequence", "abs_rel"))
    if frame is not None and clip is not None:
        against = (
            "the true depth of every pixel" if _dense(truth) else "the reconstruction's own points, not the anatomy"
        )
        drift = share(truth.figure("scale_drift"))
        beside = joined("; the scale drifts by ", drift, " from frame to frame") if drift is not None else None
        said.append(
            joined(
                f"Against {against}, depth is off by ", frame, " in the mean with each frame at its own scale, and by ",
                clip, " at one scale for the clip", beside, ".",
            )
        )  # fmt: skip
    middle = share(run.figure("best", "median") or run.figure("validation", "median"))
    if middle is not None:
        drift = share(run.figure("best", "scale_drift") or run.figure("validation", "scale_drift"))
        beside = joined(", with a drift of scale of ", drift) if drift is not None else None
        said.append(
            joined(
                "In validation it meets the points of structure from motion", _trained_points(run), " within ", middle,
                " (median)", beside, ". That is agreement with the reconstruction, not with the anatomy.",
            )
        )  # fmt: skip
    return said


def _trained_points(run: Results) -> str:
    """What is to be said of the points of a validation, where none were kept from training."""
    return " that it was trained on, as none were kept," if "trained on" in run.said("validated_on") else ""


def _surface(case: CaseFolder) -> list[Html]:
    said, truth = [], case.stages["surface_error"]
    middle, far = truth.figure("surface", "accuracy", "median"), truth.figure("surface", "accuracy", "p95")
    if middle is not None:
        seen = truth.figure("surface", "completeness", "median")
        rest = joined("; from the true wall that was seen to it, ", amount(seen, "mm")) if seen is not None else None
        to = joined(", and 95\N{NO-BREAK SPACE}% of it within ", amount(far, "mm")) if far is not None else None
        said.append(
            joined("The surface lies ", amount(middle, "mm"), " from the true one in the median", to, rest, ".")
        )
    for clip in case.clips:
        results = clip.registration
        mean, tre = results.figure("residual_mm", "mean"), results.figure("predicted_tre_mm")
        if mean is None:
            continue
        expected = (
            joined("; the error at a landmark is expected to be ", amount(tre, "mm")) if tre is not None else None
        )
        sure = results.figure("confidence")
        chance = (
            joined(" The registration is right with a probability of ", share(sure), ".") if sure is not None else None
        )
        off = truth.figure("registration", "target_error_mm", "median") if clip is case.clips[0] else None
        true = joined(" In truth it is ", amount(off, "mm"), " off in the median.") if off is not None else None
        name = f"{clip.name}: " if clip.name else ""
        said.append(
            joined(
                name, "The residual to the CT is ", amount(mean, "mm"), expected,
                ". A small residual alone does not prove a right registration.", chance, true,
            )
        )  # fmt: skip
        said += [joined(name, "Refused as ambiguous: ", reason) for reason in results.lines("reasons")]
    return said


def _lens(case: CaseFolder) -> list[Html]:
    sources = {clip.sequence.said("camera_source") for clip in case.clips}
    if "self-calibrated" not in sources:
        return []
    return [joined("The camera was not calibrated but guessed from the video: angles and depth are less sure.")]
