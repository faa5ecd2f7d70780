"""``depthscope compare INPUT... --recipes A,B --out DIR``."""

import dataclasses
import time
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from depthscope.comparison import (
    all_judged,
    compared,
    equal_budget,
    named,
    true_depth,
)
from depthscope.errors import BadInputError
from depthscope.evaluation import DENSE
from depthscope.evaluation.depth_folders import (
    POINTS,
)
from depthscope.pipeline.cases import with_device_and_seed
from depthscope.training.devices import Device
from depthscope.workspace import (
    content_hash,
    holding,
    telling_write_errors,
    write_provenance,
    write_result,
    write_text,
)


def compare(
    inputs: Annotated[Positional[tuple[Path, ...]], arg(metavar="INPUT...")],
    /,
    recipes: str,
    out: Path,
    steps: int = 500,
    seeds: int = 3,
    batch: int | None = None,
    area_px: int = 40_000,
    device: Device = "auto",
) -> int:
    """Trains several recipes on the same clips with equal steps, and measures them alike: one table and one page.

    Every recipe gets the same image size, the same held-out points and the same seeds; network, objective, optimiser
    and augmentation are its own. Networks are judged at the last step. Where a clip's folder has true depth in depth/
    this judges, else the points that were kept from training. A comparison that was interrupted goes on where it was.

    Args:
        inputs: Sequence folders.
        recipes: Names or YAML files of recipes, with commas between them.
        out: Folder for result.json, compare.md, compare.html and the runs.
        steps: Optimiser steps of every run.
        seeds: How often every recipe is trained.
        batch: Examples in a step; by default the recipe's own.
        area_px: About how many pixels the networks see.
        device: Where to compute; auto takes a GPU if there is one.
    """
    from rich.console import Console

    from depthscope.report.comparison import comparison_page, markdown

    if steps < 1 or seeds < 1:
        raise BadInputError(f"--steps {steps} and --seeds {seeds}", "1 or more each")
    start = time.perf_counter()
    chosen = [equal_budget(recipe, steps, batch, area_px) for recipe in named(recipes)]
    chosen = [with_device_and_seed(recipe, None if device == "auto" else device, None) for recipe in chosen]
    clips = all_judged(inputs)
    console = Console(highlight=False)
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not (out / "runs").is_dir()):
        raise BadInputError(f"{out} exists and is not a comparison", "a new folder", "choose another --out")
    with telling_write_errors(out), holding(out, inputs):
        found = compared(
            chosen, clips, seeds, out, lambda run, rows: console.print(f"{run}: {errors_line(rows)}", soft_wrap=True)
        )
        head = {
            "clips": [one.sequence.name for one in clips],
            "judged_by": {one.sequence.name: POINTS if one.truth is None else DENSE.name for one in clips},
            "steps": steps,
            "seeds": seeds,
            "batch": {recipe.name: recipe.training.batch for recipe in chosen},
            "area_px": area_px,
        }
        write_result(out, {**head, "recipes": found.table, "rows": found.rows})
        write_text(out / "compare.md", markdown(head, found.table))
        frame = clips[0].sequence.images[len(clips[0].sequence) // 2]
        page = comparison_page(head, found.table, frame, found.shown, true_depth(clips[0], frame.stem))
        write_text(out / "compare.html", page)
        options = {recipe.name: dataclasses.asdict(recipe) for recipe in chosen}
        inputs_hashed = {str(folder): content_hash(folder) for folder in inputs}
        write_provenance(out, options=options, inputs=inputs_hashed, seconds=time.perf_counter() - start)
    console.print(f"\n{markdown(head, found.table)}\n{out / 'compare.html'}", soft_wrap=True)
    return 0


def errors_line(rows: list[dict]) -> str:
    """The errors of a run on every clip."""
    errors = ", ".join(f"{row['clip']} {row['abs_rel']:.4f} ({row['sequence_abs_rel']:.4f})" for row in rows)
    return f"AbsRel per frame (per clip): {errors}; {rows[0]['seconds']:.0f} s"
