"""From clips and a recipe to a run."""

import dataclasses
import os
import time
from pathlib import Path

from depthscope.errors import BadInputError, DepthscopeError
from depthscope.formats.frame_masks import masked, masks_of
from depthscope.inspection.stored import checked_verdict
from depthscope.progress import suggest
from depthscope.recipes import Recipe
from depthscope.runs import ValidatedOn
from depthscope.runs.inputs import EVERY_S, opened, unique_names
from depthscope.runs.learned_camera import write_learned_camera
from depthscope.sequence import Sequence
from depthscope.training import LAST, launched
from depthscope.training.processes import is_first
from depthscope.unposed_clip import UnposedClip
from depthscope.video.cut import WHOLE, Cut


def train(
    sequences: tuple[Path, ...],
    out: Path,
    recipe: Recipe,
    *,
    resume: bool,
    store: Path | None = None,
    accept_rejected: bool = False,
    camera: Path | None = None,
    mask: Path | None = None,
    masks: tuple[Path, ...] = (),
    split: Path | None = None,
    every_s: float = EVERY_S,
    part: Cut = WHOLE,
) -> int:
    """Trains, writes ``result.json``, ``provenance.yaml`` and ``recipe.yaml``, and prints where to go next."""
    from depthscope.recipes import to_yaml
    from depthscope.runs import train_recipe
    from depthscope.workspace import (
        content_hash,
        empty,
        holding,
        telling_write_errors,
        write_provenance,
        write_result,
        write_text,
    )

    start = time.perf_counter()
    given_files = [path for path in (*sequences, *masks, camera, mask, split) if path is not None]
    with telling_write_errors(out), holding(out, given_files):
        if not resume and (out / LAST).is_file():
            raise BadInputError(
                f"{out} holds a run already", "a new folder", "go on with --resume, or choose another --out"
            )
        fresh = not any(out.iterdir())
        try:
            read: list[Sequence | UnposedClip] = []
            sources: list[Path] = []
            for folder, foreign in zip(sequences, masks_of(sequences, masks), strict=True):
                place = store or out / "store"
                given = opened(folder, recipe, camera, mask, split, store=place, every_s=every_s, part=part)
                given = [masked(one, foreign) for one in given]
                sequence = all(isinstance(one, Sequence) for one in given)
                note = checked_verdict(folder, accept_rejected) if sequence else ""
                if note and is_first(os.environ):
                    print(note)
                read, sources = [*read, *given], [*sources, *[folder] * len(given)]
            read = unique_names(read, sources)
            fabric = launched(recipe.training)
            kept_back = recipe.supervision.holdout.kept_back(len(read))
            for number, one in enumerate(read if fabric.is_global_zero else ()):
                print(f"{one.name}: {described(one)}{', kept from training' if number in kept_back else ''}")
            if kept_back and fabric.is_global_zero:
                print(f"training on {len(read) - len(kept_back)} of {len(read)} clips; the others are validated on")
            if not resume and fabric.is_global_zero:
                write_text(out / "recipe.yaml", to_yaml(recipe))
            result = train_recipe(recipe, read, out, resume=resume, store=store, fabric=fabric)
            if not fabric.is_global_zero:
                return 0
            write_learned_camera(out, [one.cameras[0] for one in read])
            figures = {f.name: getattr(result, f.name) for f in dataclasses.fields(result)}
            write_result(out, {"recipe": recipe.name, "sequences": [sequence.name for sequence in read], **figures})
            inputs = {str(folder): content_hash(folder) for folder in (*sequences, *masks)}
            seconds = time.perf_counter() - start
            write_provenance(out, options=dataclasses.asdict(recipe), inputs=inputs, seconds=seconds)
        except (DepthscopeError, OSError):
            if fresh and not (out / LAST).is_file():  # nothing to resume: leave no trace
                empty(out)
            raise
    print(
        f"{result.steps} steps in {result.seconds:.0f} s ({result.pairs_per_second:.1f} pairs/s, {result.precision}); "
        f"{validated(result.best or result.validation, result.validated_on)}"
    )
    suggest(f"depthscope predict {out} {sequences[0]} --out PREDICTION")
    return 0


def described(clip: Sequence | UnposedClip) -> str:
    """What a clip brings, in words."""
    frames = f"{len(clip)} frames"
    if isinstance(clip, Sequence):
        return f"{frames}, {len(clip.points)} points, {len(clip.observations)} observations"
    if clip.right_camera is not None:
        return f"{frames} of two eyes {clip.right_camera.baseline:g} {clip.right_camera.unit} apart"
    return f"{frames} without structure from motion"


def validated(best: dict[str, float], on: ValidatedOn) -> str:
    """What a validation found, in words."""
    if "abs_rel" in best:
        beware = "" if on.kept else " (no measure of accuracy)"
        return f"{on}: AbsRel {best['abs_rel']:.4f}, median {best['median']:.4f}{beware}"
    return f"{on}: photometric error {best['score']:.4f} (no measure of depth)"
