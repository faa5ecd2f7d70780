"""``depthscope transfer RUN INPUT... --out DIR``."""

import dataclasses
import statistics
import time
from collections.abc import Sequence as Rows
from pathlib import Path
from typing import Annotated

import torch
from tyro.conf import Positional, arg

from depthscope.commands.compare import Judged, all_judged, figures, flat_figures, made_equal, predicted, trained
from depthscope.commands.train import with_encoder
from depthscope.errors import BadInputError
from depthscope.recipes import Recipe, recipe_named
from depthscope.workspace import read_result

RANDOM_FROZEN, SCRATCH, SCRATCH_LONG = "random, frozen", "scratch", "scratch, as many steps in all"
FROZEN, TUNED = "pretext, frozen", "pretext, fine-tuned"
ARMS = (RANDOM_FROZEN, SCRATCH, SCRATCH_LONG, FROZEN, TUNED)
"""What is compared. The claim is the last one against the better of the two from scratch."""

FEWEST_FRAMES = 8
"""Of a clip, that a share of it is cut down to at least."""


def transfer(
    run: Annotated[Positional[Path], arg(metavar="RUN")],
    inputs: Annotated[Positional[tuple[Path, ...]], arg(metavar="INPUT...")],
    /,
    out: Path,
    recipe: str = "fast",
    steps: int = 200,
    seeds: int = 3,
    shares: tuple[float, ...] = (0.1, 0.25, 1.0),
    rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3),
    test: int = 0,
    area_px: int = 20_000,
    batch: int = 4,
) -> int:
    """Whether a pretrained encoder helps depth on these clips: five arms on the same examples, none of them favoured.

    Every arm gets the same clips, draws and learning rates; the best rate is chosen on points kept from training, and
    the clips that are left for the test are looked at once. A gain whose seeds disagree in sign is called no gain.

    Args:
        run: A run of depthscope pretrain.
        inputs: Sequences with structure from motion, at least two; the last ones are the test.
        out: Folder for the runs, ``result.json`` and ``transfer.md``.
        recipe: How depth is learned.
        steps: Of every arm; the long one from scratch has the pretext run's besides.
        seeds: How many; each is a random encoder of its own for the frozen one.
        shares: How much of each clip is trained on: of its frames, from the first on.
        rates: Learning rates that every arm tries with the first seed.
        test: How many of the clips are the test; a third if 0.
        area_px: Pixels of the network's image.
        batch: Pairs in a step.
    """
    from rich.console import Console

    from depthscope.workspace import content_hash, telling_write_errors, write_provenance, write_result

    start, console = time.perf_counter(), Console(highlight=False)
    _check(inputs, steps, seeds, shares, rates, test)
    base = made_equal(recipe_named(recipe), steps, batch, area_px)
    started = with_encoder(base, run)
    before = int(read_result(run)["steps"])
    clips = all_judged(inputs)
    count = test or max(1, len(clips) // 3)
    known, unseen = clips[:-count], clips[-count:]
    with telling_write_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        flat = statistics.fmean(flat_figures(one)["abs_rel"] for one in unseen)
        rows = []
        for share in sorted(shares):
            some = [Judged(part_of(one, share), one.truth) for one in known]
            for arm, one in arms(base, started, before).items():
                place = out / "runs" / f"{share:g}" / arm.replace(",", "").replace(" ", "-")
                swept = {rate: _score(with_rate(one, rate, 0), some, place, out / "store") for rate in rates}
                rate = min(swept, key=lambda rate: swept[rate])
                for seed in range(seeds):
                    seeded = with_rate(one, rate, seed)
                    folder = run_of(place, seeded)
                    _score(seeded, some, place, out / "store")
                    found = [figures(predicted(folder, clip.sequence), clip, folder) for clip in unseen]
                    means = {key: statistics.fmean(row[key] for row in found) for key in found[0]}
                    rows.append({"share": share, "arm": arm, "seed": seed, "rate": rate, **means})
                own = [row["abs_rel"] for row in rows if row["share"] == share and row["arm"] == arm]
                console.print(
                    f"{share:.0%} of the frames, {arm}: AbsRel {statistics.fmean(own):.4f} "
                    f"({min(own):.4f} to {max(own):.4f}), rate {rate:g}",
                    soft_wrap=True,
                )
        claims = {f"{share:g}": claim(rows, share) for share in sorted(shares)}
        head = {
            "run": str(run),
            "task": read_result(run).get("task"),
            "recipe": base.name,
            "steps": steps,
            "pretext_steps": before,
            "seeds": seeds,
            "trained_on": [one.sequence.name for one in known],
            "tested_on": [one.sequence.name for one in unseen],
            "flat_abs_rel": flat,
        }
        write_result(out, {**head, "claims": claims, "rows": rows})
        (out / "transfer.md").write_text(markdown(head, rows, claims))
        hashes = {str(folder): content_hash(folder) for folder in inputs}
        seconds = time.perf_counter() - start
        write_provenance(out, options=dataclasses.asdict(started), inputs=hashes, seconds=seconds)
    console.print(f"\n{markdown(head, rows, claims)}\n{out / 'transfer.md'}", soft_wrap=True)
    return 0


def arms(base: Recipe, started: Recipe, before: int) -> dict[str, Recipe]:
    """The recipes that are compared, all with the encoder's shape of the pretext run.

    Args:
        base: The recipe from scratch.
        started: The same with the pretext encoder.
        before: Steps of the pretext run.
    """
    fresh = with_encoder_options(started, weights="")
    longer = dataclasses.replace(fresh.training, steps=fresh.training.steps + before)
    return {
        RANDOM_FROZEN: with_encoder_options(fresh, frozen=True),
        SCRATCH: fresh,
        SCRATCH_LONG: dataclasses.replace(fresh, training=longer),
        FROZEN: with_encoder_options(started, frozen=True),
        TUNED: started,
    }


def with_encoder_options(recipe: Recipe, **options: object) -> Recipe:
    """The recipe with other options of its network's encoder, wherever the network keeps them."""
    from depthscope.networks import ResidualDisparity, ResUNet

    match recipe.network:
        case ResUNet():
            network = dataclasses.replace(recipe.network, **options)  # type: ignore[arg-type]
        case ResidualDisparity():
            encoder = dataclasses.replace(recipe.network.encoder, **options)  # type: ignore[arg-type]
            network = dataclasses.replace(recipe.network, encoder=encoder)
        case _:
            raise BadInputError(f"the network of {recipe.name}", "one with an encoder that can be replaced")
    return dataclasses.replace(recipe, network=network)


def with_rate(recipe: Recipe, rate: float, seed: int) -> Recipe:
    """The recipe at another learning rate, with another seed."""
    optimiser = dataclasses.replace(recipe.training.optimiser, learning_rate=rate)
    return dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, optimiser=optimiser, seed=seed))


def part_of(one: Judged, share: float):
    """The first frames of a clip: their share of it, but `FEWEST_FRAMES` at least."""
    count = max(min(FEWEST_FRAMES, len(one.sequence)), round(share * len(one.sequence)))
    return (
        one.sequence
        if count >= len(one.sequence)
        else one.sequence.with_frames(torch.arange(len(one.sequence)) < count)
    )


def run_of(place: Path, recipe: Recipe) -> Path:
    """The folder of a run."""
    return place / f"{recipe.training.optimiser.learning_rate:g}-{recipe.training.seed}"


def _score(recipe: Recipe, clips: Rows[Judged], place: Path, store: Path) -> float:
    """Trains, or goes on with what is there; the error at points that were kept from training."""
    import json

    folder = run_of(place, recipe)
    done = folder / "score.json"
    if not done.is_file():
        result = trained(recipe, list(clips), folder, store)
        done.write_text(json.dumps(result))
    return float(json.loads(done.read_text())["score"])


def claim(rows: list[dict], share: float) -> dict[str, object]:
    """The gain of the fine-tuned encoder over the better arm from scratch, seed by seed; positive is better."""

    def by_seed(arm: str) -> list[float]:
        return [row["abs_rel"] for row in rows if row["share"] == share and row["arm"] == arm]

    best = min((SCRATCH, SCRATCH_LONG), key=lambda arm: statistics.fmean(by_seed(arm)))
    gains = [scratch - tuned for scratch, tuned in zip(by_seed(best), by_seed(TUNED), strict=True)]
    agreed = all(gain > 0 for gain in gains) or all(gain < 0 for gain in gains)
    mean = statistics.fmean(gains)
    verdict = "no gain" if not agreed else "a gain" if mean > 0 else "a loss"
    return {"against": best, "gain": mean, "gains": gains, "verdict": verdict}


def markdown(head: dict, rows: list[dict], claims: dict[str, dict]) -> str:
    """The table: mean and range over seeds of AbsRel on the clips left for the test."""
    lines = [
        f"AbsRel per frame on {', '.join(head['tested_on'])}; {head['steps']} steps after {head['pretext_steps']} of "
        f"{head['task']}, {head['seeds']} seeds; a flat wall has {head['flat_abs_rel']:.4f}.",
        "",
        "| share of the frames | " + " | ".join(ARMS) + " | fine-tuned against the better from scratch |",
        "|---|" + "---|" * (len(ARMS) + 1),
    ]
    for share, found in claims.items():
        cells = []
        for arm in ARMS:
            own = [row["abs_rel"] for row in rows if f"{row['share']:g}" == share and row["arm"] == arm]
            cells.append(f"{statistics.fmean(own):.4f} ({min(own):.4f}-{max(own):.4f})")
        lines.append(f"| {float(share):.0%} | {' | '.join(cells)} | {found['gain']:+.4f}: {found['verdict']} |")
    return "\n".join(lines) + "\n"


def _check(inputs: Rows[Path], steps: int, seeds: int, shares: Rows[float], rates: Rows[float], test: int) -> None:
    if len(inputs) < 2:
        raise BadInputError(f"{len(inputs)} sequence", "two or more: the last ones are the test")
    if steps < 1 or seeds < 1 or not 0 <= test < len(inputs):
        raise BadInputError(f"--steps {steps}, --seeds {seeds}, --test {test}", "1 or more, and fewer than the inputs")
    if not shares or any(not 0 < share <= 1 for share in shares) or not rates or any(rate <= 0 for rate in rates):
        raise BadInputError(f"--shares {shares}, --rates {rates}", "shares above 0 to 1, and positive rates")
