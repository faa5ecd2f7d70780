"""The stages of a case: from a video to a surface, into the CT, and a page of all."""

import dataclasses
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from depthscope.case import Stage
from depthscope.errors import BadInputError, NoAnswerError
from depthscope.formats.surfaces import Unit
from depthscope.recipes import Recipe, to_yaml, with_steps
from depthscope.training.devices import Device
from depthscope.video.cut import WHOLE, Cut, check_no_part
from depthscope.workspace import read_result, write_result


def with_device_and_seed(recipe: Recipe, device: str | None, seed: int | None) -> Recipe:
    """The recipe with another device or another seed of training, where they are given."""
    given = {"accelerator": device, "seed": seed}
    training = dataclasses.replace(recipe.training, **{key: value for key, value in given.items() if value is not None})
    return dataclasses.replace(recipe, training=training)


SEQUENCE, RUN, PREDICTION, SURFACE, REGISTRATION = "sequence", "run", "prediction", "surface", "registration"


REPORT = "report"
"""Folders of the stages."""


def reporting(case: Path, stages: list[Stage]) -> Stage:
    """The stage that makes one page of all others."""

    def reported(folder: Path, resume: bool) -> None:
        from depthscope.pipeline.reporting import write_report

        write_report(case)

    options = {"version": version("depthscope")}
    return Stage(REPORT, "a page that shows it", reported, options, (), tuple(stage.name for stage in stages))


def case_stages(
    case: Path,
    source: Path,
    camera: Path | None,
    recipe: Recipe,
    ct: Path | None = None,
    *,
    accept_rejected: bool = False,
    masks: Path | None = None,
    unit: Unit | None = None,
    after: tuple[str, ...] = (),
    device: Device = "auto",
    extra: dict[str, dict[str, Any]] | None = None,
    part: Cut = WHOLE,
) -> list[Stage]:
    """The stages from frames to a surface.

    Args:
        case: Folder of the case.
        source: Video, folder of images, or sequence folder.
        camera: camera.yaml, or None.
        recipe: How the network is trained.
        ct: The CT to register to, or None.
        accept_rejected: Whether a refused sequence is used all the same.
        masks: Folder of masks of the frames, or None.
        unit: Of a CT that is a surface, or None.
        after: Stages that make `source`, where it lies in the case itself.
        device: Where networks compute; no result is stale because of it.
        extra: Further arguments of the stages' functions, by their names.
        part: Which frames of `source` are used.
    """
    extra = extra or {}
    outside = () if after else tuple(path for path in (source, camera, masks) if path is not None)
    place = case / SEQUENCE

    def reconstructed(folder: Path, resume: bool) -> None:
        sequence_of(source, camera, folder, accept_rejected, masks, part, extra.get("reconstruct"))

    def trained(folder: Path, resume: bool) -> None:
        from depthscope.pipeline.training import train
        from depthscope.training import LAST

        clips = usable(place, source, accept_rejected)
        given = () if masks is None else (masks,) * len(clips)
        resume = (folder / LAST).is_file()
        chosen = with_device_and_seed(recipe, None if device == "auto" else device, None)
        train(clips, folder, chosen, resume=resume, accept_rejected=accept_rejected, masks=given)

    def predicted(folder: Path, resume: bool) -> None:
        from depthscope.pipeline.prediction import predict_folder

        options = {"clouds": 0, "device": device, **extra.get("predict", {})}
        for_each(folder, lambda clip, out: predict_folder(case / RUN, clip, out, sequence=clip, **options))

    def fused(folder: Path, resume: bool) -> None:
        from depthscope.pipeline.fusion import fuse_folder

        maps = clips_of(case / PREDICTION, place, source)
        for_each(folder, lambda clip, out: fuse_folder(maps[clip], clip, out, masks=masks, **extra.get("fuse", {})))

    def for_each(folder: Path, work: Callable[[Path, Path], int]) -> None:
        clips = clips_of(folder, place, source)
        for clip, out in clips.items():
            work(clip, out)
        if len(clips) > 1:
            write_result(folder, {"clips": [out.name for out in clips.values()]})

    def set_for(verb: str) -> dict[str, Any]:
        return {"set": extra[verb]} if extra.get(verb) else {}

    stages = [
        Stage(
            SEQUENCE,
            "structure from motion, and whether it can be trusted",
            reconstructed,
            {
                "accept_rejected": accept_rejected,
                "camera": camera is not None,
                **part.options,
                **set_for("reconstruct"),
            },
            outside,
            after,
        ),
        Stage(RUN, "train a network on its points", trained, {"recipe": to_yaml(recipe)}, (), (*after, SEQUENCE)),
        Stage(PREDICTION, "depth of every frame", predicted, set_for("predict"), (), (SEQUENCE, RUN)),
        Stage(SURFACE, "one surface", fused, set_for("fuse"), (), (SEQUENCE, PREDICTION)),
    ]
    if ct is None:
        return stages
    target = ct

    def registered_to_ct(folder: Path, resume: bool) -> None:
        from depthscope.pipeline.registration import register_folder

        surfaces, maps = clips_of(case / SURFACE, place, source), clips_of(case / PREDICTION, place, source)

        def work(clip: Path, out: Path) -> int:
            options = {"masks": masks, "unit": unit, **extra.get("register", {})}
            return register_folder(surfaces[clip], target, out, sequence=clip, prediction=maps[clip], **options)

        for_each(folder, work)

    options = {**({} if unit is None else {"unit": unit}), **set_for("register")}
    files, before = () if after else (ct,), (*after, SEQUENCE, PREDICTION, SURFACE)
    return [*stages, Stage(REGISTRATION, "into the CT, with no start", registered_to_ct, options, files, before)]


def sequence_of(
    source: Path,
    camera: Path | None,
    folder: Path,
    accept_rejected: bool,
    masks: Path | None = None,
    part: Cut = WHOLE,
    extra: dict[str, Any] | None = None,
) -> None:
    """A verdict on a sequence folder, or structure from motion on anything else.

    Raises:
        NoAnswerError: It was refused or cannot be confirmed, or, whatever was accepted beforehand, placed no frame.
    """
    from depthscope.formats import recognised
    from depthscope.pipeline.inspection import inspect_folder

    if source.is_dir() and recognised(source):
        if camera is not None:
            raise BadInputError(f"--camera for {source}", "none: a sequence has its own", "leave it away")
        check_no_part(part, source)
        code = inspect_folder(source, folder)
    else:
        from depthscope.pipeline.reconstruction import reconstruct_folder

        given: dict[str, Any] = {} if part.whole else {"part": part}
        code = reconstruct_folder(source, folder, camera, masks=masks, **(given | (extra or {})))
    result = read_result(folder)
    if code and not (accept_rejected and result["registered"]):
        undecided = result.get("outcome") == "cannot tell"
        word = "cannot be confirmed" if undecided else "was refused"
        remedy = f"see {folder / 'result.json'}"
        if result["registered"]:
            remedy += "; go on all the same with --accept-rejected"
        raise NoAnswerError(
            f"the structure from motion of {source} {word}: {'; '.join(result['reasons']) or 'no reason was given'}",
            "one that can be trusted",
            remedy,
        )


def usable(place: Path, source: Path, accept_rejected: bool) -> tuple[Path, ...]:
    """The sequence folders to train on: `source` itself, or what `reconstruct` made and accepted."""
    from depthscope.formats import recognised

    if source.is_dir() and recognised(source):
        return (source,)
    result = read_result(place)
    if "clips" not in result:
        return (place,)
    return tuple(
        place / clip["name"]
        for clip in result["clips"]
        if clip["registered"] and (clip["accepted"] or accept_rejected) and not clip.get("map")
    )


def clips_of(folder: Path, place: Path, source: Path) -> dict[Path, Path]:
    """The folder in `folder` for each sequence: itself where there is one only."""
    sequences = usable(place, source, accept_rejected=True)
    result = read_result(place)
    if "clips" in result:
        accepted = {clip["name"] for clip in result["clips"] if clip["accepted"]}
        chosen = [sequence for sequence in sequences if sequence.name in accepted] or list(sequences)
        return {sequence: folder / sequence.name for sequence in chosen}
    return dict.fromkeys(sequences, folder)


def downscaled(recipe: Recipe, name: str, area_px: int, steps: int) -> Recipe:
    """A recipe on smaller images, with another number of steps."""
    supervision = dataclasses.replace(recipe.supervision, area_px=area_px)
    return with_steps(dataclasses.replace(recipe, name=name, supervision=supervision), steps)
