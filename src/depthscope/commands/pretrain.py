"""``depthscope pretrain TASK INPUT... --out RUN``."""

import dataclasses
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import docstring_parser
import tyro

from depthscope.commands import simulated_depth
from depthscope.commands.flags import REGISTRY, Part
from depthscope.errors import BadInputError, DepthscopeError
from depthscope.pretext import SYSTEMS, Pretext, stored_options, system_named, write_encoder
from depthscope.pretrained.encoders import encoder_named
from depthscope.training import LAST
from depthscope.training.processes import is_first
from depthscope.video.cut import WHOLE

NEXT = {
    "jigsaw": "depthscope train SEQUENCE... --encoder {run} --out DEPTH",
    "exemplar": "depthscope predict {run} {input} --query IMAGE --out NEIGHBOURS",
    "colorization": "depthscope train SEQUENCE... --encoder {run} --out DEPTH",
    "video-colorization": "depthscope predict {run} {input} --out TRACKS",
    "audio-visual": "depthscope predict {run} {input} --out SOUNDS",
    "deepcluster": "depthscope predict {run} {input} --keyframes 40 --out KEYFRAMES",
    "error-boosting": "depthscope predict {run} {input} --out MASKS",
}
"""What a user does with a run of each system."""


def parse(arguments: list[str]) -> Callable[[], int]:
    """The call that the arguments ask for; each system has options of its own."""
    name = next((argument for argument in arguments if not argument.startswith("-")), None)
    if name is None or (arguments[0] in ("-h", "--help")):
        print(f"usage: depthscope pretrain {{{','.join((*SYSTEMS, 'depth'))}}} INPUT... --out RUN\n")
        print("Learns from unlabelled video, or (depth) from the true depth of simulated frames.")
        print("depthscope pretrain TASK --help has the options of each.")
        if name is None and not {"-h", "--help"} & set(arguments):
            raise BadInputError("no task", f"one of {', '.join(SYSTEMS)}")
        return lambda: 0
    rest = list(arguments)
    rest.remove(name)
    if name == "depth":
        return lambda: simulated_depth.parse(rest)
    system = system_named(name)
    base = _resumed(rest) if "--resume" in rest else system()
    if not isinstance(base, system):  # type: ignore[arg-type]
        raise BadInputError(f"the run in --out learned {type(base).__name__}", name, "name its task")
    given = tyro.cli(
        _parser(name, base), args=rest, prog=f"depthscope pretrain {name}", config=CONFIG, registry=REGISTRY
    )
    own = {field.name: getattr(given, field.name) for field in dataclasses.fields(base)}  # type: ignore[arg-type]
    return lambda: pretrain(given, dataclasses.replace(base, **own))  # type: ignore[type-var]


CONFIG = (tyro.conf.AvoidSubcommands,)


def pretrain(given: Any, options: Any) -> int:
    """Learns, writes ``encoder.pt``, ``result.json`` and ``provenance.yaml``, and prints what the scores are worth."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from depthscope.corpus import read_corpus
    from depthscope.workspace import (
        content_hash,
        empty,
        holding,
        telling_write_errors,
        write_provenance,
        write_result,
    )

    start, out, console = time.perf_counter(), given.out, Console(highlight=False)
    if given.start is not None:
        options = dataclasses.replace(options, encoder=encoder_named(given.start))
    if given.steps is not None:
        options = dataclasses.replace(options, training=_with_steps(options.training, given.steps))
    chosen = {key: value for key in ("accelerator", "seed") if (value := getattr(given, key)) is not None}
    options = dataclasses.replace(options, training=dataclasses.replace(options.training, **chosen))
    with telling_write_errors(out), holding(out, given.inputs):
        if not given.resume and (out / LAST).is_file():
            raise BadInputError(
                f"{out} holds a run already", "a new folder", "go on with --resume, or choose another --out"
            )
        fresh = not any(out.iterdir())
        try:
            columns = (SpinnerColumn(), TextColumn("{task.description} {task.completed:.0f}"), TimeElapsedColumn())
            with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
                task = bar.add_task("frames")
                store = given.store or out / "store"
                corpus = read_corpus(
                    given.inputs, options.frames, store, lambda count: bar.advance(task, count), given.part
                )
            first = is_first(os.environ)
            if first:
                console.print(told_of(corpus), soft_wrap=True)
            learned = options.learn(corpus, out, resume=given.resume)
            if not first:
                return 0
            encoder = write_encoder(learned.encoder.folded(), options.encoder, out)
            result = {f.name: getattr(learned.result, f.name) for f in dataclasses.fields(learned.result)}
            scores = [dataclasses.asdict(score) for score in learned.scores]
            total = {"frames": len(corpus), "videos": list(corpus.videos), "size_px": list(corpus.size_px)}
            head = {"task": given.task, "encoder": encoder.name, **total, "scores": scores, "notes": learned.notes}
            write_result(out, {**head, **result})
            write_provenance(
                out,
                options=dataclasses.asdict(options) | given.part.options,
                inputs={str(path): content_hash(path) for path in given.inputs},
                seconds=time.perf_counter() - start,
            )
        except (DepthscopeError, OSError):
            if fresh and not any(out.rglob(LAST)):  # nothing to resume: leave no trace
                empty(out)
            raise
    for note in learned.notes:
        console.print(note, soft_wrap=True)
    for score in learned.scores:
        console.print(f"  {score}", soft_wrap=True)
    console.print(f"{learned.result.steps} steps in {learned.result.seconds:.0f} s: {out / 'encoder.pt'}")
    console.print("a score proves nothing by itself; depthscope transfer measures what the encoder is worth")
    console.print(f"next: {NEXT[given.task].format(run=out, input=given.inputs[0])}", soft_wrap=True)
    return 0


def told_of(corpus) -> str:
    """What there is to learn from, in words."""
    width, height = corpus.size_px
    videos = f"{len(corpus.videos)} video" + ("s" if len(corpus.videos) > 1 else "")
    return f"{len(corpus)} frames of {videos} at {width} x {height}, {len(corpus.held)} kept to measure on"


def _with_steps(training, steps: int):
    every = {name: min(getattr(training, name), steps) for name in ("validate_every", "save_every")}
    return dataclasses.replace(training, steps=steps, **every)


def _resumed(arguments: list[str]) -> Pretext:
    """The options of the run in ``--out``."""
    for number, argument in enumerate(arguments):
        if argument == "--out" and number + 1 < len(arguments):
            return stored_options(Path(arguments[number + 1]))[1]
        if argument.startswith("--out="):
            return stored_options(Path(argument.split("=", 1)[1]))[1]
    raise BadInputError("--resume without --out", "the run to go on with")


def _parser(name: str, base: Any) -> type:
    """The options of the verb and of the system, with the system's values as defaults."""

    def flag(kind: object, text: str, default: object = dataclasses.MISSING, **more: Any) -> tuple:
        return Annotated[kind, tyro.conf.arg(help=text, **more)], dataclasses.field(default=default)

    named = {
        "inputs": (
            Annotated[
                tyro.conf.Positional[tuple[Path, ...]],
                tyro.conf.arg(metavar="INPUT...", help="Videos, folders of images, folders of sequences."),
            ],
            dataclasses.field(),
        ),
        "out": flag(Path, "Folder for the run."),
        "steps": flag(int | None, "Number of steps (as --training.steps).", None),
        "resume": flag(bool, "Go on with the run in --out.", False),
        "start": flag(
            Path | None,
            "What the encoder starts from: a run of depthscope pretrain or train, shipped, or imagenet.",
            None,
            name="encoder",
        ),
        "accelerator": flag(
            Literal["auto", "cpu", "cuda", "mps"] | None,
            "Where to compute; auto takes a GPU if there is one (as --training.accelerator).",
            None,
            name="device",
        ),
        "seed": flag(int | None, "Of weights, draws and augmentation (as --training.seed).", None),
        "part": (Part, dataclasses.field(default=WHOLE)),
        "store": flag(Path | None, "Where to keep the decoded frames (default: in --out).", None),
        "task": (tyro.conf.Suppress[str], dataclasses.field(default=name)),
    }
    rows = [(key, kind, default) for key, (kind, default) in named.items()]
    hints = get_type_hints(type(base))
    told = {row.arg_name: row.description for row in docstring_parser.parse(type(base).__doc__ or "").params}
    for field in dataclasses.fields(base):
        kind = Annotated[hints[field.name], tyro.conf.arg(help=told.get(field.name))]
        rows.append((field.name, kind, dataclasses.field(default=getattr(base, field.name))))
    options = dataclasses.make_dataclass("Pretrain", rows, frozen=True)
    options.__doc__ = (type(base).__doc__ or "").split("\n", 1)[0]
    return options
