"""Whether a run may go on: with the recipe, the sequences and the masks that it began with."""

from pathlib import Path
from typing import Any

from depthscope.errors import BadInputError
from depthscope.training.checkpoint import LAST, load_checkpoint

MACHINE_OPTIONS = ("workers", "accelerator", "devices")
"""Options of `Training` that do not decide the weights: a run may go on with others."""


def check_resumable(out: Path, record: dict[str, Any]) -> None:
    """Refuses to go on with the run in `out` under another record, before anything is made for it.

    Raises:
        BadInputError: There is nothing to resume, or it has another recipe or other sequences.
    """
    check_same_record(load_checkpoint(out / LAST), record, out)


def check_same_record(saved: dict[str, Any], given: dict[str, Any] | None, out: Path) -> None:
    """A run goes on only with the recipe and the sequences it began with; the machine may be another."""
    given = given or {}
    before, now = (_deciding_lines(record.get("recipe")) for record in (saved, given))
    if "recipe" in given and before != now:
        changed = [f"'{b.strip()}' to '{n.strip()}'" for b, n in zip(before, now, strict=False) if b != n]
        raise BadInputError(
            f"{out} was trained with another recipe (changed: {', '.join(changed[:3]) or 'its length'})",
            "the same one",
            "leave the options away to resume, or choose another --out",
        )
    if "sequences" in given and saved.get("sequences") != given["sequences"]:
        raise BadInputError(
            f"{out} was trained on other sequences ({', '.join(saved.get('sequences', ()))})",
            "the same ones in the same order",
            "give those to resume, or choose another --out",
        )
    if "masked" in given and saved.get("masked", []) != given["masked"]:
        raise BadInputError(
            f"{out} was trained with masks of {', '.join(saved.get('masked', [])) or 'no sequence'}",
            "the same to go on",
            "give the same --masks to resume, or choose another --out",
        )


def _deciding_lines(recipe: object) -> list[str]:
    """The lines of a recipe but for those that say who computes it."""
    return [line for line in str(recipe).splitlines() if line.split(":")[0].strip() not in MACHINE_OPTIONS]
