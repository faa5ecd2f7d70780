"""``depthscope train INPUT... --out RUN``."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from depthscope.commands.flags import REGISTRY
from depthscope.pipeline.cases import with_device_and_seed
from depthscope.pipeline.training import train
from depthscope.pretrained.encoders import with_encoder
from depthscope.pretrained.start import with_start
from depthscope.recipes import FAST, RECIPES, Recipe, from_yaml, read_recipe, recipe_named, with_steps
from depthscope.runs.inputs import EVERY_S
from depthscope.training import LAST, load_checkpoint
from depthscope.video.cut import WHOLE, Cut

PARTS = ("network", "objective", "supervision", "augmentation", "training")


def parse(arguments: list[str]) -> Callable[[], int]:
    """The call that the arguments ask for; flags override the file, and the file the recipe."""
    base = _base_recipe(arguments)
    options = _parser(base)
    given = tyro.cli(
        options, args=arguments, prog="depthscope train", config=(tyro.conf.AvoidSubcommands,), registry=REGISTRY
    )
    recipe = with_steps(dataclasses.replace(base, **{part: getattr(given, part) for part in PARTS}), given.steps)
    recipe = with_device_and_seed(recipe, given.device, given.seed)
    if given.encoder is not None:
        recipe = with_encoder(recipe, given.encoder)
    if given.start is not None:
        recipe = with_start(recipe, given.start)
    return lambda: train(
        given.sequences,
        given.out,
        recipe,
        resume=given.resume,
        store=given.store,
        accept_rejected=given.accept_rejected,
        camera=given.camera,
        mask=given.mask,
        masks=given.masks,
        split=given.split,
        every_s=given.every_s,
        part=given.part,
    )


def changed_recipe(base: Recipe, words: list[str]) -> Recipe:
    """A recipe with the options that these words of a command line set."""
    line = ["INPUT", "--out", "RUN", *words]
    config = (tyro.conf.AvoidSubcommands,)
    given = tyro.cli(_parser(base), args=line, prog="depthscope run --set train", config=config, registry=REGISTRY)
    return with_steps(dataclasses.replace(base, **{part: getattr(given, part) for part in PARTS}), given.steps)


def _base_recipe(arguments: list[str]) -> Recipe:
    """The recipe before flags: of the checkpoint to resume, else as named, changed by the file."""
    name, file, out = (_value_of(arguments, flag) for flag in ("--recipe", "--config", "--out"))
    if "--resume" in arguments and out is not None and name is None and file is None:
        content = load_checkpoint(Path(out) / LAST)
        return from_yaml(content.get("recipe", ""), source=f"the recipe in {out}")
    recipe = FAST if name is None else recipe_named(name)
    return recipe if file is None else read_recipe(Path(file), recipe)


def _value_of(arguments: list[str], flag: str) -> str | None:
    for number, argument in enumerate(arguments):
        if argument == flag and number + 1 < len(arguments):
            return arguments[number + 1]
        if argument.startswith(flag + "="):
            return argument.split("=", 1)[1]
    return None


def _parser(base: Recipe) -> type:
    """The command's options, with the recipe's values as defaults and its variants as types."""

    def flag(kind: object, text: str, default: object = dataclasses.MISSING, **more: Any) -> tuple:
        return Annotated[kind, tyro.conf.arg(help=text, **more)], dataclasses.field(default=default)

    named = {
        "sequences": (
            Annotated[
                tyro.conf.Positional[tuple[Path, ...]],
                tyro.conf.arg(
                    metavar="INPUT...",
                    help="Folders of sequences (JHU, COLMAP); to learn by view synthesis also KITTI drives, and "
                    "videos or folders of images with --camera.",
                ),
            ],
            dataclasses.field(),
        ),
        "out": flag(Path, "Folder for the run."),
        "recipe": flag(str, f"One of {', '.join(RECIPES)}.", base.name),
        "config": flag(Path | None, "YAML file with changes to the recipe.", None),
        "steps": flag(int | None, "Number of steps (as --training.steps).", None),
        "resume": flag(bool, "Go on with the run in --out.", False),
        "encoder": flag(
            Path | None,
            "What the encoder starts from: a run of depthscope pretrain or train, shipped, or imagenet.",
            None,
        ),
        "start": flag(
            str | None,
            "A run whose weights, all of them, the network begins with; 'shipped' for those that come with depthscope, "
            "'' for random ones.",
            None,
            name="weights",
            aliases=("--start",),
        ),
        "device": flag(
            Literal["auto", "cpu", "cuda", "mps"] | None,
            "Where to compute; auto takes a GPU if there is one (as --training.accelerator).",
            None,
        ),
        "seed": flag(int | None, "Of weights, draws and augmentation (as --training.seed).", None),
        "accept_rejected": flag(bool, "Train also on sequences whose stored verdict is not 'accepted'.", False),
        "camera": flag(Path | None, "A camera.yaml for images that come without SfM.", None),
        "mask": flag(
            Path | None,
            "One image for all frames, white where they show tissue.",
            None,
            name="content-mask",
            aliases=("--mask",),
        ),
        "masks": flag(
            tuple[Path, ...],
            "Masks of each INPUT, in their order (classes.yaml and PNGs called as the frames, as depthscope predict "
            "writes them with a run of pretrain error-boosting): what is not tissue is not learned from.",
            (),
        ),
        "split": flag(
            Path | None,
            "KITTI: a list of the frames to train on; INPUT is the folder it starts from.",
            None,
            name="frame-list",
            aliases=("--split",),
        ),
        "every_s": flag(float, "Videos: seconds from one frame to the next.", EVERY_S),
        "part": (Cut, dataclasses.field(default=WHOLE)),
        "store": flag(Path | None, "Where to keep frames at network size (default: in --out).", None),
    }
    fields = [(name, kind, default) for name, (kind, default) in named.items()]
    fields += [(part, type(getattr(base, part)), dataclasses.field(default=getattr(base, part))) for part in PARTS]
    options = dataclasses.make_dataclass("Train", fields, frozen=True)
    options.__doc__ = "Train a depth network on sequences with SfM, or by view synthesis on video alone."
    return options
