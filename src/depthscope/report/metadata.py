"""What a reader must know of a case before its figures: video, camera, CT, network, when and where it was made."""

from pathlib import Path

from depthscope.report.folder import CaseFolder
from depthscope.report.markup import Part, phrase, whole

CAMERAS = {
    "given": "calibrated",
    "self-calibrated": "estimated from the video, not calibrated",
    "simulated": "simulated, exactly known",
}
"""Where a camera comes from, in words."""


def metadata(case: CaseFolder) -> tuple[tuple[str, Part], ...]:
    """Title and value of what is known."""
    rows: list[tuple[str, Part]] = [("Case", case.name)]
    sequence, run = case.stages["sequence"], case.stages["run"]
    if case.stages["patient"]:
        anatomy = case.stages["patient"].said("anatomy")
        rows.append(("Patient", f"simulated{', ' + anatomy if anatomy else ''}: no real person"))
    rows.append(("Video", _video(case)))
    if len(case.clips) > 1:
        rows.append(("Clips", str(len(case.clips))))
    frames, placed = sequence.figure("frames"), sequence.figure("registered")
    if frames is not None:
        rows.append(
            (
                "Frames",
                phrase(
                    "{}{}",
                    phrase("{} of ", whole(placed)) if placed else None,
                    phrase("{}{}", whole(frames), " placed" if placed else ""),
                ),
            )
        )
    rows.append(("Camera", _camera(case)))
    target = next((clip.registration.said("target") for clip in case.clips if clip.registration), "")
    rows.append(("CT", target or ("none" if sequence else None)))
    if run:
        steps = run.figure("steps")
        trained = phrase(", {}", whole(steps, "steps")) if steps else None
        rows.append(("Network", phrase("recipe {}{}", run.said("recipe", "not named"), trained)))
    finished = [str(results.provenance.get("finished", "")) for results in case.stages.values()]
    rows.append(("Computed", max(finished, default="")[:10] or None))
    return tuple((title, value) for title, value in rows if value)


def _video(case: CaseFolder) -> str:
    """Names of the inputs of structure from motion, without their folders, which may name a person."""
    sequences = [case.stages["sequence"], *(clip.sequence for clip in case.clips)]
    for results in sequences:
        inputs = results.provenance.get("inputs")
        if isinstance(inputs, dict):
            names = [
                Path(str(name)).name for name in inputs if Path(str(name)).suffix not in (".yaml", ".yml", ".json")
            ]
            if names:
                return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return ""


def _camera(case: CaseFolder) -> str:
    found = case.clips[0].sequence
    camera = found.get("camera")
    parts = []
    if isinstance(camera, dict):
        size = camera.get("size_px")
        parts = [str(camera["model"])] if camera.get("model") else []
        if isinstance(size, list) and len(size) == 2:
            parts.append(f"{size[0]} \N{MULTIPLICATION SIGN} {size[1]} pixels")
    source = found.said("camera_source")
    if source:
        parts.append(CAMERAS.get(source, source))
    return ", ".join(parts)
