"""``depthscope pretrain depth STORE... --unseen STORE... --out RUN``."""

import dataclasses
import time
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional, arg

from depthscope.errors import BadInputError
from depthscope.supervised.simulated_depth import SimulatedDepth


def simulated_depth(
    inputs: Annotated[Positional[tuple[Path, ...]], arg(metavar="STORE...")],
    /,
    out: Path,
    unseen: tuple[Path, ...],
    steps: int | None = None,
    resume: bool = False,
    start: Annotated[Path | None, arg(name="weights", aliases=("--start",))] = None,
    options: Annotated[SimulatedDepth, arg(name="")] = SimulatedDepth(),  # noqa: B008 (frozen)
) -> int:
    """Learn depth from simulated frames whose true depth is known: the network that ships is made so.

    Args:
        inputs: Folders that depthscope stills made, to learn from.
        out: Folder for the run; it is used as a run of depthscope train is.
        unseen: Folders of other patients, to measure on.
        steps: Number of steps (as --training.steps).
        resume: Go on with the run in --out.
        start: A run whose weights this one begins with.
        options: How.
    """
    from depthscope.prediction import load_model
    from depthscope.simulation.still_store import StillStore
    from depthscope.supervised.simulated_depth import learn
    from depthscope.training import LAST
    from depthscope.workspace import holding, telling_write_errors, write_provenance, write_result

    began = time.perf_counter()
    if steps is not None:
        options = dataclasses.replace(options, training=dataclasses.replace(options.training, steps=steps))
    every = {n: min(getattr(options.training, n), options.training.steps) for n in ("validate_every", "save_every")}
    options = dataclasses.replace(options, training=dataclasses.replace(options.training, **every))
    weights = None
    if start is not None:
        model = load_model(start)
        if model.recipe.network != options.network:
            raise BadInputError(f"{start} has the network {model.recipe.network}", f"{options.network}")
        weights = model.network.state_dict()
    frames, other = StillStore.read(inputs), StillStore.read(unseen)
    print(
        f"{len(frames)} frames of {len(frames.patients)} patients, {len(other)} of {len(other.patients)} to measure on"
    )
    with telling_write_errors(out), holding(out, (*inputs, *unseen)):
        if not resume and (out / LAST).is_file():
            raise BadInputError(
                f"{out} holds a run already", "a new folder", "go on with --resume, or choose another --out"
            )
        result = learn(options, frames, other, out, resume=resume, start=weights)
        figures = {f.name: getattr(result, f.name) for f in dataclasses.fields(result)}
        write_result(out, {"task": "depth", "frames": len(frames), "patients": len(frames.patients), **figures})
        stores = {str(folder): f"{len(StillStore.read([folder]))} frames" for folder in (*inputs, *unseen)}
        write_provenance(out, options=dataclasses.asdict(options), inputs=stores, seconds=time.perf_counter() - began)
    score = result.best or result.validation
    print(
        f"{result.steps} steps in {result.seconds:.0f} s; AbsRel on unseen patients {score['abs_rel']:.4f}, "
        f"{score['abs_rel_without_rays']:.4f} without a camera"
    )
    print(f"next: depthscope predict {out} INPUT --out DEPTH, or depthscope train SEQUENCE --weights {out} --out RUN")
    return 0


def parse(arguments: list[str]) -> int:
    """Reads the arguments and does it."""
    from depthscope.commands.flags import REGISTRY

    return tyro.cli(simulated_depth, args=arguments, prog="depthscope pretrain depth", registry=REGISTRY)
