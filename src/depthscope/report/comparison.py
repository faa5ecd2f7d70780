"""A comparison of recipes as one table, in Markdown and on one page."""

import time
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from depthscope.pictures import Picture, depth_picture, depth_range, resized
from depthscope.report.images import embedded
from depthscope.report.markup import Html, element, spoken_seconds
from depthscope.report.policy import policy, sealed
from depthscope.report.tables import table

HEAD = ("recipe", "AbsRel, per frame", "delta1, per frame", "AbsRel, per clip", "scale drift", "examples", "time")
FIGURES = ("abs_rel", "delta1", "sequence_abs_rel", "scale_drift")

JUDGES = {"dense-1": "every pixel of the true depth", "sfm-points-1": "points of SfM kept from training"}
"""What judges by a protocol, in words."""

TALLEST_PX = 320
"""Height of a picture on the page."""

Table = dict[str, dict[str, float]]


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


def markdown(head: dict[str, Any], rows: Table) -> str:
    """The table as Markdown."""
    lines = [sentence(head), "", "| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    lines += ["| " + " | ".join(cells(name, row)) + " |" for name, row in rows.items()]
    return "\n".join(lines) + "\n"


def comparison_page(
    head: dict[str, Any],
    rows: Table,
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
    pictures = [figure(picture, name, rows.get(name)) for name, picture in shown.items()]
    title = "Recipes compared \N{EN DASH} depthscope"
    top = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=policy()),
        element("title", title),
        element("link", rel="icon", href="data:,"),
        element("style", Html(files("depthscope.report").joinpath("style.css").read_text(encoding="utf-8"))),
    )
    listed = [cells(name, row) for name, row in rows.items()]
    body = element(
        "body",
        element("header", element("p", "depthscope", class_="name"), element("h1", "Recipes compared")),
        element(
            "main",
            element("section", element("p", sentence(head)), table(HEAD, listed, "Errors of each recipe")),
            element(
                "section",
                element("h2", "One frame, each map in its own range of depth"),
                element("div", *pictures, class_="gallery"),
            ),
            element("section", element("h2", "Clips"), element("ul", *(element("li", c) for c in head["clips"]))),
        ),
        element("footer", element("p", f"Made by depthscope {version('depthscope')} on {time.strftime('%Y-%m-%d')}.")),
    )
    return sealed(f"<!DOCTYPE html>\n{element('html', top, body, lang='en')}\n")


def figure(picture: Picture, name: str, row: dict[str, float] | None) -> Html:
    """A picture with its name and, where it is of a recipe, that recipe's error."""
    told = name if row is None else f"{name}: AbsRel {row['abs_rel']:.3f} over all frames"
    alt = name if row is None else f"depth by {name}"
    small = resized(picture, TALLEST_PX) if picture.shape[0] > TALLEST_PX else picture
    return element("figure", embedded(small, alt), element("figcaption", told))
