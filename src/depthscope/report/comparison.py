"""A comparison of recipes as one table, in Markdown and on one page."""

import time
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from depthscope.pictures import Picture, depth_picture, depth_range, resized
from depthscope.report.images import Embedded, embedded
from depthscope.report.markup import spoken_seconds
from depthscope.report.policy import policy, sealed
from depthscope.report.rendering import rendered
from depthscope.report.tables import Table

HEAD = ("recipe", "AbsRel, per frame", "delta1, per frame", "AbsRel, per clip", "scale drift", "examples", "time")
FIGURES = ("abs_rel", "delta1", "sequence_abs_rel", "scale_drift")

JUDGES = {"dense-1": "every pixel of the true depth", "sfm-points-1": "points of SfM kept from training"}
"""What judges by a protocol, in words."""

TALLEST_PX = 320
"""Height of a picture on the page."""

Rows = dict[str, dict[str, float]]


def cells(name: str, row: dict[str, float]) -> list[str]:
    """A row of the table: means with the spread of the seeds."""
    numbers = []
    for figure in FIGURES:
        std = row.get(f"{figure}_std", 0.0)
        numbers.append(f"{row[figure]:.3f}" + (f" \N{PLUS-MINUS SIGN} {std:.3f}" if std else ""))
    took = [f"{row['examples']:.0f}", spoken_seconds(row["seconds"])] if "seconds" in row else ["", ""]
    return [name, *numbers, *took]


def sentence(head: dict[str, Any]) -> str:
    """What was compared, in words."""
    protocols = sorted(set(head["judged_by"].values()))
    judges = [f"{JUDGES[name]} ({name})" if name in JUDGES else name for name in protocols]
    return (
        f"{len(head['clips'])} clips, {head['steps']} steps and {head['seeds']} seeds of each recipe, images of about "
        f"{head['area_px']} pixels; judged by {' and '.join(judges)} at the last step. "
        "Figures are means over clips and seeds, with the standard deviation over seeds."
    )


def markdown(head: dict[str, Any], rows: Rows) -> str:
    """The table as Markdown."""
    lines = [sentence(head), "", "| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    lines += ["| " + " | ".join(cells(name, row)) + " |" for name, row in rows.items()]
    return "\n".join(lines) + "\n"


def comparison_page(
    head: dict[str, Any],
    rows: Rows,
    frame: Path,
    depths: dict[str, Float[Tensor, "height width"]],
    truth: Float[Tensor, "rows columns"] | None = None,
) -> str:
    """The table with one frame and its depth by every recipe, as one HTML file.

    Args:
        head: What was compared: clips, judged_by, steps, seeds, area_px.
        rows: Figures of each recipe.
        frame: An image file.
        depths: Depth of that frame by each recipe; every map is shown in its own range.
        truth: Its true depth, where it is known.
    """
    from depthscope.video import read_image

    shown = {"frame": read_image(frame)}
    shown |= {"true depth": depth_picture(truth, depth_range(truth[None]))} if truth is not None else {}
    shown |= {name: depth_picture(depth, depth_range(depth[None])) for name, depth in depths.items()}
    listed = tuple((*cells(name, row),) for name, row in rows.items())
    text = rendered(
        "comparison.html.j2",
        policy=policy(),
        summary=sentence(head),
        table=Table("Errors of each recipe", HEAD, listed),
        pictures=[captioned(picture, name, rows.get(name)) for name, picture in shown.items()],
        clips=head["clips"],
        date=time.strftime("%Y-%m-%d"),
    )
    return sealed(text)


def captioned(picture: Picture, name: str, row: dict[str, float] | None) -> tuple[Embedded, str]:
    """A picture with its name and, where it is of a recipe, that recipe's error."""
    caption = name if row is None else f"{name}: AbsRel {row['abs_rel']:.3f} over all frames"
    alt = name if row is None else f"depth by {name}"
    small = resized(picture, TALLEST_PX) if picture.shape[0] > TALLEST_PX else picture
    return embedded(small, alt), caption
