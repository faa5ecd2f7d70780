"""The whole training of a depth network on simulated frames, as a value."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from depthscope.errors import BadInputError
from depthscope.networks import ResUNet
from depthscope.pretext.stored import to_yaml as options_to_yaml
from depthscope.recipes import PRETRAINED_NETWORK, Recipe, to_yaml
from depthscope.simulation.still_store import StillStore, patients_of
from depthscope.supervised.augmentation import Looks, Placement
from depthscope.supervised.draws import Size, StillDraws
from depthscope.supervised.losses import TrueDepthLoss
from depthscope.supervised.task import TrueDepth
from depthscope.supervised.validation import UnseenPatients
from depthscope.supervision import Supervision
from depthscope.training import LAST, Adam, Cosine, Training, TrainingResult, load_checkpoint, train


@dataclass(frozen=True)
class SimulatedDepth:
    """Options of the training; the defaults are those of the weights that ship.

    Attributes:
        network: What is trained.
        objective: What is asked of it.
        placement: How frames are laid into the network's window.
        looks: What they are made to look like.
        sizes_px: (width, height) of the windows; each batch has one of them.
        area_px: Area of the window at prediction.
        training: How it is trained.
    """

    network: ResUNet = PRETRAINED_NETWORK
    objective: TrueDepthLoss = field(default_factory=TrueDepthLoss)
    placement: Placement = field(default_factory=Placement)
    looks: Looks = field(default_factory=Looks)
    sizes_px: tuple[Size, ...] = ((160, 128), (160, 160), (192, 160))
    area_px: int = 30_720
    training: Training = field(
        default_factory=lambda: Training(
            steps=12_000,
            batch=8,
            optimiser=Adam(1.5e-3, weight_decay=1e-3),
            schedule=Cosine(warmup=0.02, last=0.01),
            clip_norm=1.0,
            ema=0.999,
            validate_every=1000,
            save_every=500,
            log_every=50,
        )
    )

    @property
    def recipe(self) -> Recipe:
        """What prediction needs to know of the network, and what further training starts from."""
        return Recipe("simulated-depth", self.network, supervision=Supervision(area_px=self.area_px))


def learn(
    options: SimulatedDepth,
    frames: StillStore,
    unseen: StillStore,
    out: Path,
    *,
    resume: bool = False,
    start: dict[str, torch.Tensor] | None = None,
    quiet: bool = False,
) -> TrainingResult:
    """Trains on the frames and leaves checkpoints and logs in `out`.

    Args:
        options: How.
        frames: To learn from.
        unseen: Frames of other patients, which choose the best checkpoint.
        out: The run's folder.
        resume: Go on from the checkpoint there.
        start: Weights to begin with; None begins with random ones.
        quiet: No progress display.

    Raises:
        BadInputError: A patient is in both stores, or see `depthscope.training.train`.
    """
    both = set(patients_of(frames)) & set(patients_of(unseen))
    if both:
        raise BadInputError(f"{min(both)} is trained on and measured on", "other patients to measure on")
    record = {
        "recipe": to_yaml(options.recipe),
        "simulated_depth": options_to_yaml(options),
        "patients": list(patients_of(frames)),
    }
    if resume:
        _check_same(out, record)
    torch.manual_seed(options.training.seed)
    network = options.network.build()
    if start is not None:
        network.load_state_dict(start)
    seed = options.training.seed
    task = TrueDepth(network, options.objective, options.looks, seed, options.training.channels_last)
    draws = StillDraws(frames, options.sizes_px, options.placement, seed)
    validate = UnseenPatients(unseen)
    return train(task, draws, options.training, out, validate=validate, record=record, resume=resume, quiet=quiet)


def _check_same(out: Path, record: dict[str, Any]) -> None:
    """A run goes on with the options and the patients that it began with."""
    saved = load_checkpoint(out / LAST)
    for name, remedy in (("simulated_depth", "give the same options"), ("patients", "give the same stores")):
        if saved.get(name) != record[name]:
            before, now = (str(r.get(name)).replace("\n", " ").split() for r in (saved, record))
            changed = [f"{b} to {n}" for b, n in zip(before, now, strict=False) if b != n]
            raise BadInputError(
                f"{out} was trained with other {name.replace('_', ' ')} ({', '.join(changed[:3]) or 'fewer or more'})",
                "the same to go on",
                f"{remedy} to resume, or choose another --out",
            )
