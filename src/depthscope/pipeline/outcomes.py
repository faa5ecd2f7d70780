"""The outcomes of a verdict as they are printed."""

from collections.abc import Iterable

WORDS = {
    "accepted": "[bold green]usable[/]",
    "refused": "[bold red]refused[/]",
    "cannot tell": "[bold yellow]cannot tell[/]",
}
"""By outcome, with the colour it is printed in."""


UNDECIDED = (
    "Nothing refuses this reconstruction, but it is too unlike sound ones to be confirmed: look at its points in the "
    "images and go on with --accept-rejected, or reconstruct another stretch of the video."
)
"""What "cannot tell" means, and what to do."""


def best_outcome(outcomes: Iterable[str]) -> str:
    """The best of several; "refused" where there are none."""
    found = set(outcomes)
    return next((outcome for outcome in ("accepted", "cannot tell") if outcome in found), "refused")
