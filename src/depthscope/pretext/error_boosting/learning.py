"""The phases: automatic labels, training on them, then rounds on masks drawn by hand, weighted by what goes wrong."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from depthscope.corpus import Corpus, CorpusOptions
from depthscope.errors import BadInputError
from depthscope.networks.encoder import EncoderOptions
from depthscope.networks.res_unet_encoder import ResUNetEncoder
from depthscope.pretext.error_boosting.automatic import AUTOMATIC, OUTSIDE, TISSUE, automatic_labels
from depthscope.pretext.error_boosting.labels import LabelledFrames, open_masks, read_labelled
from depthscope.pretext.error_boosting.scores import Tally, boundary_f, tallied
from depthscope.pretext.error_boosting.segmentation import LabelledDraws, Segmentation, Segmenter, segmented
from depthscope.pretext.error_boosting.weights import error_corrective_weights, median_frequency_weights
from depthscope.pretext.learned import Learned, Score
from depthscope.pretext.stored import to_yaml
from depthscope.threads import usable_cores
from depthscope.training import LAST, Adam, Training, TrainingResult, launched, save_checkpoint, train
from depthscope.video.class_masks import Classes, as_text, write_classes
from depthscope.workspace import atomic_file, write_text

AUTOMATIC_FILE, WEIGHTS_FILE, ROUNDS = "automatic.npy", "weights.json", "rounds"

BORDER_PX = 2.0
"""Borders that are so near each other agree."""

NO_MASKS = (
    "no masks were given (--labels): only the automatic labels were learned, with their mistakes; "
    "look at the overlay of depthscope predict before you use its masks"
)
FEW_MASKS = "too few masks to keep any from training: all classes weighed the same, and nothing was measured"

Weights = Float[Tensor, " classes"]
Labels = UInt8[Tensor, "frames height width"]


@dataclass(frozen=True)
class ErrorBoosting:
    """Instruments, highlights, lumen and tissue in every frame; few masks drawn by hand make it better.

    Attributes:
        labels: Folder of masks drawn by hand, called as the frames, with their classes.yaml; none if "".
        rounds: Trainings on these masks; before each the classes are weighted anew.
        round_steps: Steps of each.
        validation: Share of the masks that is kept to find the network's errors on.
        q: What keeps the worst class from an infinite weight.
        encoder: What is trained, below a decoder of its own.
        frames: How video becomes a corpus.
        training: On the automatic labels.
    """

    labels: str = ""
    rounds: int = 4
    round_steps: int = 40
    validation: float = 0.34
    q: float = 0.05
    encoder: EncoderOptions = field(default_factory=ResUNetEncoder)
    frames: CorpusOptions = field(default_factory=CorpusOptions)
    training: Training = field(
        default_factory=lambda: Training(steps=600, batch=8, optimiser=Adam(1e-3), clip_norm=1.0)
    )

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.round_steps < 1:
            raise BadInputError(f"rounds {self.rounds} and round_steps {self.round_steps}", "1 or more each")
        if not 0 <= self.validation < 1 or not 0 < self.q <= 1:
            raise BadInputError(f"validation {self.validation} and q {self.q}", "0 to below 1, and above 0 to 1")

    def learn(self, corpus: Corpus, out: Path, *, resume: bool = False, quiet: bool = False) -> Learned:
        """Labels the frames, learns these labels, then the masks drawn by hand where there are any.

        Raises:
            BadInputError: The masks are of other frames, sizes or classes; or what `train` raises.
        """
        drawn = open_masks(Path(self.labels), corpus.videos) if self.labels else None
        masks = None if drawn is None else read_labelled(drawn, corpus, self.validation)
        if masks is not None and bool(masks.kept.all()):
            raise BadInputError(
                f"{self.labels}: all {len(masks)} masks are kept to find errors on", "some to learn from", "draw more"
            )
        classes = AUTOMATIC if drawn is None else drawn.classes
        automatic = kept_automatic_labels(corpus, out, resume)
        torch.manual_seed(self.training.seed)
        network = Segmenter(self.encoder, len(classes))
        rounds = Rounds(self, network, classes, out, resume, quiet)

        pixels = pixels_of(automatic, corpus.trained, len(classes))
        result = rounds.run(
            corpus.frames,
            automatic,
            corpus.trained,
            lambda: median_frequency_weights(pixels),
            more=masks is not None and self.rounds > 0,
        )
        if masks is None:
            scores = against_automatic(network, corpus, automatic) if len(corpus.held) else ()
            return Learned(network.encoder, scores, result, (NO_MASKS,))

        chosen, judged = (~masks.kept).nonzero().flatten(), bool(masks.kept.any())
        before = tally_of(network, masks, len(classes)) if judged else None

        def by_errors() -> Weights:
            if not judged:
                return torch.ones(len(classes), dtype=torch.float64)
            found = tally_of(network, masks, len(classes))
            return error_corrective_weights(found.recall, found.present, self.q)

        for number in range(self.rounds):
            more = number + 1 < self.rounds
            result = rounds.run(masks.frames, masks.labels, chosen, by_errors, more=more)
        scores = () if before is None else against_masks(network, masks, classes, before)
        return Learned(network.encoder, scores, result, () if judged else (FEW_MASKS,))


class Rounds:
    """Trainings one after the other, each in a folder of its own; what one derives from weights is read back.

    Args:
        options: Of the system.
        network: What is trained on and on.
        classes: Of the masks.
        out: The run's folder; the newest network is its checkpoint.
        resume: Go on where a call was interrupted.
        quiet: No progress display.
    """

    def __init__(
        self, options: ErrorBoosting, network: Segmenter, classes: Classes, out: Path, resume: bool, quiet: bool
    ) -> None:
        self.options, self.network, self.out, self.resume, self.quiet = options, network, out, resume, quiet
        self.record = {"pretext": to_yaml(options), "classes": as_text(classes)}
        self.fabric, self.number, self.steps = launched(options.training), 0, 0
        out.mkdir(parents=True, exist_ok=True)
        write_classes(classes, out)
        if not (resume and (out / LAST).is_file()):
            self._save(0)

    def run(
        self,
        frames: Tensor,
        labels: Labels,
        chosen: Int64[Tensor, " chosen"],
        weigh: Callable[[], Weights],
        *,
        more: bool,
    ) -> TrainingResult:
        """One training on the chosen frames, its steps counted with all before; `weigh` is asked once, at its start.

        With `more` another one follows.
        """
        folder, training = self.out / ROUNDS / f"{self.number:03d}", self.options.training
        folder.mkdir(parents=True, exist_ok=True)
        # Every round draws its own examples, a pure function of the seed, the round and their number.
        training = replace(training, seed=1000 * training.seed + self.number)
        if self.number:
            steps = self.options.round_steps
            training = replace(training, steps=steps, batch=min(training.batch, _even(len(chosen), training.devices)))
        weights = kept_weights(folder / WEIGHTS_FILE, weigh, self.resume)
        task = Segmentation(self.network, weights, training.seed)
        result = train(
            task,
            LabelledDraws(frames, labels, chosen, training.seed),
            training,
            folder,
            record=self.record,
            resume=self.resume and (folder / LAST).is_file(),
            fabric=self.fabric,
            more=more,
            quiet=self.quiet,
        )
        self.number += 1
        self.steps += result.steps
        self._save(self.steps)
        return replace(result, steps=self.steps)

    def _save(self, step: int) -> None:
        weights = {name: value.cpu() for name, value in self.network.state_dict().items()}
        save_checkpoint(self.out / LAST, {"network": weights, "step": step, **self.record})


def kept_weights(path: Path, weigh: Callable[[], Weights], resume: bool) -> Weights:
    """The weights of a round: read back where it was begun before, else computed and written."""
    if not (resume and path.is_file()):
        write_text(path, json.dumps(weigh().tolist()))
    return torch.tensor(json.loads(path.read_text("utf-8")), dtype=torch.float64)


def kept_automatic_labels(corpus: Corpus, out: Path, resume: bool) -> Labels:
    """The automatic labels of all frames, made once and mapped from a file in the run's folder."""
    path = out / AUTOMATIC_FILE
    if not (resume and path.is_file()):
        out.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as draft:
            shape = tuple(corpus.frames.shape[:3])
            labels = np.lib.format.open_memmap(draft, mode="w+", dtype=np.uint8, shape=shape)

            def label(number: int) -> None:
                content = corpus.content[corpus.video[number]]
                labels[number] = automatic_labels(corpus.frames[number], content).numpy()

            with ThreadPoolExecutor(usable_cores()) as pool:
                for _ in pool.map(label, range(len(corpus))):
                    pass
            labels.flush()
    return torch.from_numpy(np.load(path, mmap_mode="c"))


def pixels_of(labels: Labels, chosen: Int64[Tensor, " chosen"], classes: int) -> Tensor:
    """How many pixels of the chosen frames each class has."""
    counts = torch.zeros(256, dtype=torch.int64)
    for number in chosen.tolist():
        counts += torch.bincount(labels[number].flatten(), minlength=256)
    return counts[:classes]


def tally_of(network: Segmenter, masks: LabelledFrames, classes: int) -> Tally:
    """What the network finds on the kept masks."""
    kept = masks.kept
    found = segmented(network, masks.frames[kept], masks.content[kept], OUTSIDE)
    return tallied(found, masks.labels[kept], classes)


def against_automatic(network: Segmenter, corpus: Corpus, labels: Labels) -> tuple[Score, ...]:
    """Agreement with the automatic labels of frames that were kept from training."""
    truth, classes = labels[corpus.held], len(AUTOMATIC)
    found = segmented(network, corpus.frames[corpus.held], corpus.masks(corpus.held), OUTSIDE)
    place = usual(labels[corpus.trained[:: max(1, len(corpus.trained) // 500)]], classes).expand_as(truth)
    mean = tallied(found, truth, classes).mean_dice((OUTSIDE, TISSUE))
    beside = {"place alone": tallied(place, truth, classes).mean_dice((OUTSIDE, TISSUE))}
    return (Score("dice with the automatic labels", mean, beside),)


def against_masks(network: Segmenter, masks: LabelledFrames, classes: Classes, before: Tally) -> tuple[Score, ...]:
    """Dice on the kept masks, beside the automatic labels, the network that learned only these, and place alone."""
    kept, count, background = masks.kept, len(classes), (OUTSIDE, TISSUE)
    truth, frames, content = masks.labels[kept], masks.frames[kept], masks.content[kept]
    found = segmented(network, frames, content, OUTSIDE)
    after = tallied(found, truth, count)
    automatic = torch.stack([automatic_labels(one, area) for one, area in zip(frames, content, strict=True)])
    place = usual(masks.labels[~kept], count).expand_as(truth)
    beside = {
        "from automatic labels only": before.mean_dice(background),
        "automatic labels": tallied(automatic, truth, count).mean_dice(background),
        "place alone": tallied(place, truth, count).mean_dice(background),
    }
    scores = [Score("dice", after.mean_dice(background), beside)]
    for one in classes.all:
        if one.id != OUTSIDE and bool(after.present[one.id]):
            old = {"from automatic labels only": float(before.dice[one.id])}
            scores.append(Score(f"dice of {one.name}", float(after.dice[one.id]), old))
            if one.id != TISSUE:
                scores.append(Score(f"border F of {one.name}", boundary_f(found, truth, one.id, BORDER_PX)))
    return tuple(scores)


def usual(labels: Labels, classes: int) -> UInt8[Tensor, "height width"]:
    """The class that each place shows most often: what can be told without looking."""
    shares = torch.stack([(labels == number).sum(0) for number in range(classes)])
    return shares.argmax(0).to(torch.uint8)


def _even(count: int, devices: int) -> int:
    """The largest batch of at most so many examples that the devices can share."""
    return max(devices, count // devices * devices)
