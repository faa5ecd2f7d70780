"""``depthscope run INPUT --out CASE``: the whole river, from a video or a sequence to a surface."""

import dataclasses
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from tyro.conf import Positional, arg

from depthscope.case import Case, Stage
from depthscope.commands.flags import Device, Part
from depthscope.commands.stage_options import recipe_of, stage_options, with_device_and_seed
from depthscope.errors import BadInputError, NoAnswerError
from depthscope.formats.surfaces import Unit
from depthscope.recipes import Recipe, read_recipe, recipe_named, to_yaml, with_steps
from depthscope.video.cut import WHOLE, Cut, check_no_part
from depthscope.workspace import read_result, write_result

SEQUENCE, RUN, PREDICTION, SURFACE, REGISTRATION = "sequence", "run", "prediction", "surface", "registration"
REPORT = "report"
"""Folders of the stages."""


def run(
    input: Annotated[Positional[Path], arg(metavar="INPUT")],  # noqa: A002 - the name on the command line
    /,
    out: Path,
    camera: Path | None = None,
    ct: Path | None = None,
    recipe: str = "adapt",
    config: Path | None = None,
    steps: int | None = None,
    accept_rejected: bool = False,
    masks: Path | None = None,
    unit: Unit | None = None,
    device: Device = "auto",
    seed: int | None = None,
    settings: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], arg(name="set", metavar="STAGE.OPTION=VALUE")] = (),
    part: Part = WHOLE,
) -> int:
    """From a video to depth, a surface and a report; into the patient's CT where there is one.

    Structure from motion, training, prediction, fusion, registration and one page of all, stage by stage.

    What is up to date is not done again; an interrupted call goes on when it is given again.

    Args:
        input: Video, folder of images, or sequence folder.
        out: Folder for the case.
        camera: camera.yaml of the recording; without it the camera is self-calibrated, which is less sure.
        ct: The patient's CT (DICOM folder, NIfTI, NRRD, MetaImage), or a surface from it.
        recipe: adapt (the weights that ship, fitted to this video), fast (from nothing), paper-2018 or tmi-2020.
        config: YAML file with changes to the recipe.
        steps: Number of training steps.
        accept_rejected: Go on with structure from motion that was found wanting.
        masks: Folder of masks called as the frames, with classes.yaml, as depthscope predict writes them with a run of
            pretrain error-boosting: what is not tissue (instruments, highlights) is left out of every stage.
        unit: Unit of a --ct that is a surface: mm, cm or m. Without it the file decides, or mm.
        device: Where to compute; auto takes a GPU if there is one.
        seed: Of everything random.
        settings: An option of a stage (reconstruct, train, predict, fuse, register), named as by the stage's own
            command: train.steps=300, fuse.hole-voxels=4, train.training.batch=8. May be given several times.
        part: Which frames of INPUT are used.

    Returns:
        Exit code: 0 done, 3 where the structure from motion or the registration was refused or cannot be confirmed.
    """
    if not input.exists():
        raise BadInputError(
            f"{input} is missing", "a video, a folder of images, or a sequence folder", "check the path"
        )
    chosen = recipe_named(recipe)
    chosen = with_steps(chosen if config is None else read_recipe(config, chosen), steps)
    chosen = recipe_of(with_device_and_seed(chosen, None, seed), settings)
    extra = stage_options(settings)
    if seed is not None:
        extra["reconstruct"] = {"seed": seed, **extra.get("reconstruct", {})}
    console = Console(highlight=False, soft_wrap=True)
    case = Case(out)
    if ct is not None and not ct.exists():
        raise BadInputError(f"{ct} is missing", "a CT", "check the path")
    stages = river(
        case.folder,
        input,
        camera,
        chosen,
        ct,
        accept_rejected=accept_rejected,
        masks=masks,
        unit=unit,
        device=device,
        extra=extra,
        part=part,
    )
    stages = [*stages, reporting(case.folder, stages)]
    try:
        case.walk(stages, lambda line: console.print(line, style="bold", markup=False))
    except NoAnswerError:
        tell_report(case.folder, console)  # the page says why there is no answer
        raise
    for clip, folder in clips_of(case.folder / SURFACE, case.folder / SEQUENCE, input).items():
        console.print(f"{clip.name}: surface {folder / 'surface.ply'}, picture {folder / 'surface.jpg'}", markup=False)
    code = 0 if ct is None else registered(console, case.folder, input)
    console.print(f"in the browser: depthscope view {case.folder}", markup=False)
    console.print(f"report: {case.folder / REPORT / 'index.html'}", markup=False)
    return code


def registered(console: Console, case: Path, source: Path) -> int:
    """Tells how well each surface lies in the CT; the exit code."""
    code = 0
    for clip, folder in clips_of(case / REGISTRATION, case / SEQUENCE, source).items():
        found = read_result(folder)
        residual = found["residual_mm"]
        word = "refused" if found["ambiguous"] else "registered"
        code = 3 if found["ambiguous"] else code
        console.print(
            f"{clip.name}: {word}, residual {residual['mean']:.2f} mm, confidence {found['confidence']:.2f}: "
            f"{folder / 'aligned.ply'}",
            markup=False,
        )
    return code


def reporting(case: Path, stages: list[Stage]) -> Stage:
    """The stage that makes one page of all others."""

    def reported(folder: Path, resume: bool) -> None:
        from depthscope.commands.report import write_report

        write_report(case)

    options = {"version": version("depthscope")}
    return Stage(REPORT, "a page that shows it", reported, options, (), tuple(stage.name for stage in stages))


def tell_report(case: Path, console: "Console") -> None:
    """Writes the page of a case that ended early, and prints where it is."""
    from depthscope.commands.report import write_report

    console.print(f"report: {write_report(case)}", markup=False)


def river(
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
        from depthscope.commands.train import train
        from depthscope.training import LAST

        clips = usable(place, source, accept_rejected)
        given = () if masks is None else (masks,) * len(clips)
        resume = (folder / LAST).is_file()
        chosen = with_device_and_seed(recipe, None if device == "auto" else device, None)
        train(clips, folder, chosen, resume=resume, accept_rejected=accept_rejected, masks=given)

    def predicted(folder: Path, resume: bool) -> None:
        from depthscope.commands.predict import predict

        options = {"clouds": 0, "device": device, **extra.get("predict", {})}
        for_each(folder, lambda clip, out: predict(case / RUN, clip, out, sequence=clip, **options))

    def fused(folder: Path, resume: bool) -> None:
        from depthscope.commands.fuse import fuse

        maps = clips_of(case / PREDICTION, place, source)
        for_each(folder, lambda clip, out: fuse(maps[clip], clip, out, masks=masks, **extra.get("fuse", {})))

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
        from depthscope.commands.register import register

        surfaces, maps = clips_of(case / SURFACE, place, source), clips_of(case / PREDICTION, place, source)

        def work(clip: Path, out: Path) -> int:
            options = {"masks": masks, "unit": unit, **extra.get("register", {})}
            return register(surfaces[clip], target, out, sequence=clip, prediction=maps[clip], **options)

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
    from depthscope.commands.inspect import inspect
    from depthscope.formats import recognised

    if source.is_dir() and recognised(source):
        if camera is not None:
            raise BadInputError(f"--camera for {source}", "none: a sequence has its own", "leave it away")
        check_no_part(part, source)
        code = inspect(source, folder)
    else:
        from depthscope.commands.reconstruct import reconstruct

        given: dict[str, Any] = {} if part.whole else {"part": part}
        code = reconstruct(source, folder, camera, masks=masks, **(given | (extra or {})))
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


def quickened(recipe: Recipe, name: str, area_px: int, steps: int) -> Recipe:
    """A recipe on smaller images, with another number of steps."""
    supervision = dataclasses.replace(recipe.supervision, area_px=area_px)
    return with_steps(dataclasses.replace(recipe, name=name, supervision=supervision), steps)
