"""Whether training in bf16 is as accurate as in fp32: whole trainings of one clip, measured at removed points.

    python benchmarks/bf16.py SEQUENCE --out DIR [--seeds 3] [--area-px 20000] [--steps 500] [--native]

Both arms train the recipe FAST with the same seeds, once in fp32 and once under bf16 autocast, as `--training.precision
bf16` does. A CPU without units for bf16 takes a reference kernel for its convolutions, nine times slower than fp32; so
the convolutions of bf16 tensors are computed here from the same bf16 numbers in fp32 and rounded once, which is what
the units do (they multiply exactly and add in fp32). `--native` leaves the kernels as they are: on a CPU that has
the units this also measures speed. The first step is computed both ways, and the difference is part of the record.

Writes ``bf16.json`` and prints the table.
"""

import argparse
import dataclasses
import json
import platform
import time
from contextlib import nullcontext
from pathlib import Path

import torch
from heart import line, measured, no_defect, sized
from torch.utils._python_dispatch import TorchDispatchMode

from depthscope.formats import read_sequence
from depthscope.recipes import FAST, Recipe, with_steps
from depthscope.training.options import computes_in_bf16

CONVOLUTIONS = {torch.ops.aten.convolution.default, torch.ops.aten.convolution_backward.default}


class Bf16Units(TorchDispatchMode):
    """Convolutions of bf16 tensors as units for bf16 compute them: exact products, sums in fp32, one rounding."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """One operator."""
        if func not in CONVOLUTIONS or args[0].dtype != torch.bfloat16:
            return func(*args, **(kwargs or {}))
        wide = [a.float() if isinstance(a, torch.Tensor) else a for a in args]
        found = func(*wide, **(kwargs or {}))
        if isinstance(found, torch.Tensor):
            return found.bfloat16()
        return tuple(None if one is None else one.bfloat16() for one in found)


def main() -> None:
    """Reads the arguments and runs what they ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sequence", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--area-px", type=int, default=20_000)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--native", action="store_true", help="leave the convolutions to the machine's own kernels")
    given = parser.parse_args()
    sequence = read_sequence(given.sequence)
    recipe = with_steps(sized(FAST, given.area_px), given.steps)
    given.out.mkdir(parents=True, exist_ok=True)
    record = {
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}",
        "units": computes_in_bf16(),
        "native": given.native,
        "date": time.strftime("%Y-%m-%d"),
        "steps": recipe.training.steps,
        "first_step": first_step(recipe, sequence, given.out),
        "rows": [],
    }
    print(f"first step, native kernels against ours: {record['first_step']}", flush=True)
    for seed in given.seeds:
        for precision in ("fp32", "bf16"):
            arm = with_precision(recipe, precision)
            units = Bf16Units() if precision == "bf16" and not given.native else nullcontext()
            with units:
                row = measured(sequence, arm, no_defect, given.out / f"{precision}-{seed}", seed, 0)
            record["rows"].append({"arm": precision, "seed": seed, **row})
            print(line(record["rows"][-1]), flush=True)
            (given.out / "bf16.json").write_text(json.dumps(record, indent=2))


def with_precision(recipe: Recipe, precision: str) -> Recipe:
    """The recipe in this precision."""
    return dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, precision=precision))


def first_step(recipe: Recipe, sequence, out: Path) -> dict[str, float]:
    """Loss of the first batch in fp32, in bf16 by the machine's kernels, and in bf16 by ours."""
    from depthscope.runs import train_recipe

    losses = {}
    for name, precision, units in (
        ("fp32", "fp32", nullcontext()),
        ("bf16, native", "bf16", nullcontext()),
        ("bf16, as units", "bf16", Bf16Units()),
    ):
        one = with_precision(with_steps(recipe, 1), precision)
        with units:
            result = train_recipe(one, [sequence], out / f"first-{name}", quiet=True, store=out / "store")
        losses[name] = result.losses["loss"]
    return losses


if __name__ == "__main__":
    main()
