"""Recipes that learn from video by view synthesis.

They are written from the papers. Minimum reprojection, auto-masking and full-resolution scales are the subject of
patents; see docs/photometric.md, "Licences and patents".
"""

from dataclasses import replace

from depthscope.networks import DispNet, KnownMotion, PairPose, ResidualDisparity, ResUNet, SnippetPose
from depthscope.objectives import ViewSynthesis
from depthscope.objectives.photometric import (
    AffineBrightness,
    EdgeAware,
    EverySource,
    GeometryConsistency,
    Highlights,
    MinimumReprojection,
    PhotometricError,
    SecondOrder,
)
from depthscope.recipes.from_points import FAST
from depthscope.recipes.recipe import Recipe
from depthscope.supervision import Holdout, SnippetRule, Supervision
from depthscope.training import Adam, Drop, SnippetAugmentation, Training

KEPT = Holdout(sequences=0.05, frames=0.05, points=0.05)

SFMLEARNER = Recipe(
    name="sfmlearner",
    network=DispNet(),
    objective=ViewSynthesis(
        snippets=SnippetRule(offsets=(-1, 1)),
        motion=SnippetPose(),
        error=PhotometricError(structure=0.0),
        reprojection=EverySource(),
        smoothness=SecondOrder(0.5),
        average_scales=False,
        view_weight=2.0,
    ),
    supervision=Supervision(area_px=416 * 128, erosion_px=0, holdout=KEPT),
    augmentation=SnippetAugmentation(zoom=0.15),
    training=Training(
        steps=200_000, batch=4, optimiser=Adam(2e-4), precision="fp32", validate_every=2000, save_every=1000
    ),
)
"""Zhou et al. 2017, as their code is trained: no explainability mask, which their notes report to be better. With it:
``motion.explainability`` and ``reprojection.explainability`` (the paper's 0.2). Images are in -1..1 there, hence the
weight of 2. Pixels out of view are left out here and count there."""

MONODEPTH2_M = Recipe(
    name="monodepth2-m",
    network=ResidualDisparity(),
    objective=ViewSynthesis(
        snippets=SnippetRule(offsets=(-1, 1)),
        motion=PairPose(),
        error=PhotometricError(structure=0.85),
        reprojection=MinimumReprojection(auto_mask=True),
        smoothness=EdgeAware(1e-3),
        full_resolution=True,
        average_scales=True,
    ),
    supervision=Supervision(area_px=640 * 192, erosion_px=0, holdout=KEPT),
    augmentation=SnippetAugmentation(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.1, flip=True),
    training=Training(
        steps=66_000,
        batch=12,
        optimiser=Adam(1e-4),
        schedule=Drop(),
        precision="fp32",
        validate_every=1000,
        save_every=1000,
    ),
)
"""Godard et al. 2019, from video alone: 20 epochs of 39,810 snippets, a tenth of the rate after the fifteenth. Their
encoders start from ImageNet: name a file of weights in ``network.encoder.weights`` and
``objective.motion.encoder.weights``."""

MONODEPTH2_S = replace(
    MONODEPTH2_M,
    name="monodepth2-s",
    objective=replace(MONODEPTH2_M.objective, snippets=SnippetRule(offsets=(), stereo=True), motion=KnownMotion()),
    training=replace(MONODEPTH2_M.training, steps=75_000),
)
"""The same from two eyes: 20 epochs of 45,200 pairs, and depth comes in the unit of their baseline."""

MONODEPTH2_MS = replace(
    MONODEPTH2_M,
    name="monodepth2-ms",
    objective=replace(MONODEPTH2_M.objective, snippets=SnippetRule(offsets=(-1, 1), stereo=True)),
)
"""The same from video of two eyes: the minimum is over three sources."""

ENDOSCOPY_PHOTOMETRIC = Recipe(
    name="endoscopy-photometric",
    network=ResUNet(),
    objective=ViewSynthesis(
        snippets=SnippetRule(offsets=(-1, 1), flow_px=8.0),
        motion=KnownMotion(),
        error=PhotometricError(structure=0.85),
        reprojection=EverySource(),
        smoothness=EdgeAware(1e-2),
        brightness=AffineBrightness(),
        highlights=Highlights(),
        consistency=GeometryConsistency(0.1),
    ),
    supervision=replace(FAST.supervision, holdout=Holdout(sequences=0.05, points=0.05)),
    augmentation=SnippetAugmentation(brightness=0.1, contrast=0.1, saturation=0.1, hue=0.02, flip=True),
    training=FAST.training,
)
"""Ours, for a light that moves with the camera: motions from structure from motion, sources far enough apart, content
and highlight masks, brightness brought into line, depths that agree. Nothing of it is patented to our knowledge."""

PHOTOMETRIC = (SFMLEARNER, MONODEPTH2_M, MONODEPTH2_S, MONODEPTH2_MS, ENDOSCOPY_PHOTOMETRIC)
