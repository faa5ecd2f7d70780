"""Recipes that learn from the sparse points of structure from motion."""

from dataclasses import replace

from depthscope.geometry.scale import RatioMean, TrimmedLogMean
from depthscope.networks import FCDenseNet, RedNet, ResUNet
from depthscope.objectives import Siamese
from depthscope.objectives.consistency import Absolute, Normalised, Relative
from depthscope.recipes.pretrained_network import PRETRAINED_NETWORK
from depthscope.recipes.recipe import Recipe
from depthscope.supervision import Holdout, PairRule, Supervision
from depthscope.training import Adam, Augmentation, Cosine, Sgd, Training, Triangular

PAPER_2018 = Recipe(
    name="paper-2018",
    network=RedNet(),
    objective=Siamese(consistency_weight=2e-4, consistency=Absolute(), nearest_pixel=True),
    supervision=Supervision(
        size_px=(512, 464),
        pairs=PairRule(min_gap=1, max_gap=1000, min_points=1, min_parallax_deg=0.0),
        holdout=Holdout(sequences=0.05, points=0.0),
    ),
    augmentation=Augmentation(noise=0.02),
    training=Training(steps=30_000, batch=8, optimiser=Adam(1e-4), precision="fp32"),
)
"""Liu et al. 2018. Stated there: 464 x 512 pixels, noise as the only augmentation, learning rate 1e-4, omega 2e-4, 5 %
for validation. Not stated, our choice: Adam, batch 8, noise 0.02, 50 epochs of 5040 pairs, validation by sequence."""

TMI_2020 = Recipe(
    name="tmi-2020",
    network=FCDenseNet(),
    objective=Siamese(
        sparse_weight=0.0,
        flow_weight=10.0,
        consistency_weight=2.5,
        consistency=Normalised(),
        early_consistency_weight=0.05,
        early_draws=40_000,
        scale=RatioMean(),
        soft_mask=False,
    ),
    supervision=Supervision(
        size_px=(320, 256),
        widen_frames=30,
        light_filter=True,
        pairs=PairRule(min_gap=5, max_gap=30, min_points=10, min_parallax_deg=0.0),
        holdout=Holdout(sequences=0.05, points=0.05),
    ),
    augmentation=Augmentation(noise=0.02, brightness=0.2, contrast=0.2, gamma=0.2, colour=0.05, apart=True),
    training=Training(
        steps=25_000,
        batch=8,
        optimiser=Sgd(1e-3, 0.9),
        schedule=Triangular(0.1, 2000),
        clip_norm=10.0,
        precision="fp32",
    ),
)
"""Liu et al. 2020: FC-DenseNet-57, sparse flow and normalised consistency, without their code's defects (integer
targets, shifted warp, no occlusion test in the widened visibility). Both directions are averaged there and summed here,
hence half of the weights 20, 0.1 and 5."""

FAST = Recipe(
    name="fast",
    network=ResUNet(),
    objective=Siamese(
        sparse_weight=10.0,
        robust_width=0.03,
        consistency_weight=0.5,
        consistency=Relative(),
        flow_weight=1.0,
        agreement_weight=1.0,
        scale=TrimmedLogMean(),
        occlusion_tolerance=0.1,
    ),
    supervision=Supervision(
        area_px=48_000, pairs=PairRule(min_gap=3, max_gap=30), holdout=Holdout(sequences=0.05, points=0.05)
    ),
    augmentation=Augmentation(noise=0.01),
    training=Training(
        steps=500,
        batch=4,
        optimiser=Adam(1e-3, weight_decay=1e-4),
        schedule=Cosine(),
        clip_norm=1.0,
        ema=0.99,
        validate_every=250,
        save_every=250,
    ),
)
"""What we recommend: the paper's terms in robust form, sparse flow, an occlusion test, one scale for both frames."""

ADAPT = replace(
    FAST,
    name="adapt",
    network=PRETRAINED_NETWORK,
    supervision=replace(FAST.supervision, area_px=30_720),
    training=replace(
        FAST.training, steps=130, optimiser=Adam(3e-4, weight_decay=1e-4), validate_every=65, save_every=65
    ),
    start="shipped",
)
"""The weights that ship, fitted to a patient's own video: a third of the steps of `FAST`, at a third of its rate."""
