"""Supervision by SfM against view synthesis under an endoscope's light: ``depthscope compare`` on equal terms.

    depthscope simulate --out PATIENTS --patients 2 --clips 1 --split train
    python benchmarks/reconstruction.py --on PATIENTS --keep --out SFM
    python benchmarks/photometric_compare.py SFM/clips/*/* --truth PATIENTS --out DIR [--steps 400] [--seeds 3]
    python benchmarks/photometric_compare.py SINUS_SEQUENCE --out DIR          (judged at points kept from training)

Every arm has the same small network with four scales, optimiser, rate, batch and steps, and differs in its objective
alone: the paper's terms, our robust form of them, SfMLearner, Monodepth2 with a pose network, the same with the motions
of structure from motion, and with brightness brought into line besides; `fast` and `endoscopy-photometric` as they are
shipped stand beside them. Writes what ``compare`` writes: ``result.json``, ``compare.md``, ``compare.html``.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from depthscope.cli import main as depthscope
from depthscope.networks import DepthRange, DispNet, KnownMotion, SnippetPose
from depthscope.objectives import ViewSynthesis
from depthscope.objectives.photometric import AffineBrightness, MinimumReprojection, SecondOrder
from depthscope.recipes import ENDOSCOPY_PHOTOMETRIC, FAST, MONODEPTH2_M, PAPER_2018, SFMLEARNER, Recipe, to_yaml
from depthscope.supervision import SnippetRule
from depthscope.training import Adam

NETWORK = DispNet(widths=(16, 32, 64, 128, 128), depth=DepthRange(0.1, 10.0))
POSE = SnippetPose(widths=(16, 32, 64, 64, 64), deep=64)
FLOW_PX = 8.0
"""How far the points of a source have moved, where structure from motion chooses it."""


def main() -> None:
    """Writes the recipes and compares them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="+", help="sequences with structure from motion")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--truth", type=Path, help="the simulated patients that the clips are of")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--area-px", type=int, default=12_000)
    parser.add_argument("--arms", nargs="*")
    given = parser.parse_args()
    recipes = given.out / "recipes"
    recipes.mkdir(parents=True, exist_ok=True)
    names = []
    for recipe in arms(given.area_px):
        if not given.arms or recipe.name in given.arms:
            (recipes / f"{recipe.name}.yaml").write_text(to_yaml(recipe))
            names.append(str(recipes / f"{recipe.name}.yaml"))
    clips = [with_truth(clip, given.truth, given.out / "clips") for clip in given.clips] if given.truth else given.clips
    depthscope(
        ["compare", *map(str, clips), "--recipes", ",".join(names), "--out", str(given.out / "comparison")]
        + ["--steps", str(given.steps), "--seeds", str(given.seeds)]
        + ["--batch", str(given.batch), "--area-px", str(given.area_px)]
    )


def arms(area_px: int) -> list[Recipe]:
    """The recipes; steps, batch and image size are set by ``compare``."""
    # Second differences from pixel to pixel grow with the square of the pixels' size; 416 x 128 is the paper's.
    smoother = SecondOrder(SecondOrder().weight * area_px / (416 * 128))
    neighbours = SnippetRule(offsets=(-1, 1))
    monodepth2 = equal("monodepth2-m", MONODEPTH2_M, motion=POSE, snippets=neighbours)
    # Where sources lie far enough apart nothing rests, and the auto-mask would only take pixels away.
    known = equal(
        "monodepth2-sfm-motions",
        MONODEPTH2_M,
        motion=KnownMotion(),
        snippets=SnippetRule(offsets=(-1, 1), flow_px=FLOW_PX),
        reprojection=MinimumReprojection(auto_mask=False),
    )
    return [
        replace(FAST, name="fast-shipped"),
        equal("fast-terms", FAST),
        equal("paper-2018-terms", PAPER_2018),
        equal("sfmlearner", SFMLEARNER, motion=POSE, snippets=neighbours, smoothness=smoother),
        monodepth2,
        known,
        equal("monodepth2-sfm-motions-brightness", known, brightness=AffineBrightness()),
        replace(ENDOSCOPY_PHOTOMETRIC, name="endoscopy-photometric-shipped"),
    ]


def equal(name: str, recipe: Recipe, **objective) -> Recipe:
    """A recipe with what all arms share, and another objective."""
    assert not objective or isinstance(recipe.objective, ViewSynthesis)
    supervision = recipe.supervision
    if (
        recipe.objective == PAPER_2018.objective
    ):  # pairs of thirty frames, as for all: its own rule was made for long clips
        supervision = FAST.supervision
    return replace(
        recipe,
        name=name,
        network=NETWORK,
        objective=replace(recipe.objective, **objective),
        supervision=supervision,
        training=replace(FAST.training, optimiser=Adam(5e-4)),
    )


def with_truth(clip: Path, patients: Path, folder: Path) -> Path:
    """A folder of links to a reconstruction and to the true depth of the simulated clip that it is of."""
    own, truth = folder / f"{clip.parent.name}_{clip.name}", patients / clip.parent.name / clip.name
    own.mkdir(parents=True, exist_ok=True)
    for place in [*clip.iterdir(), truth / "depth"]:
        if not (own / place.name).exists():
            (own / place.name).symlink_to(place.resolve())
    return own


if __name__ == "__main__":
    main()
