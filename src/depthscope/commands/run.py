"""``depthscope run INPUT --out CASE``: the whole pipeline, from a video or a sequence to a surface."""

from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from tyro.conf import Positional, arg

from depthscope.case import Case
from depthscope.commands.flags import Part
from depthscope.commands.stage_options import recipe_of, stage_options
from depthscope.errors import BadInputError, NoAnswerError
from depthscope.formats.surfaces import Unit
from depthscope.pipeline.cases import (
    REGISTRATION,
    REPORT,
    SEQUENCE,
    SURFACE,
    case_stages,
    clips_of,
    reporting,
    with_device_and_seed,
)
from depthscope.pipeline.reporting import tell_report
from depthscope.recipes import read_recipe, recipe_named, with_steps
from depthscope.training.devices import Device
from depthscope.video.cut import WHOLE
from depthscope.workspace import read_result


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
    stages = case_stages(
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
