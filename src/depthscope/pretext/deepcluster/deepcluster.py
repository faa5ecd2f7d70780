"""DeepCluster (Caron et al., ECCV 2018): cluster the features, learn to tell the clusters apart, and again."""

import time
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jaxtyping import Int64
from torch import Tensor

from depthscope.corpus import Corpus, CorpusOptions
from depthscope.corpus.views import Size, different_pictures, textured
from depthscope.errors import BadInputError
from depthscope.networks.adapters import AdaptedEncoder, Sobel
from depthscope.networks.encoder import EncoderOptions, started
from depthscope.networks.res_unet_encoder import ResUNetEncoder
from depthscope.pretext.deepcluster.clustering import Clusters, agreement, clustered
from depthscope.pretext.deepcluster.draws import ViewDraws, crops_of
from depthscope.pretext.deepcluster.network import ClusterNetwork
from depthscope.pretext.deepcluster.task import ClusterTask
from depthscope.pretext.learned import Learned, Score
from depthscope.pretext.starting import seeded
from depthscope.pretext.stored import to_yaml
from depthscope.training import LAST, Adam, Training, TrainingResult, load_checkpoint, save_checkpoint, train
from depthscope.training.devices import Fabric
from depthscope.training.draws import generator_of
from depthscope.training.loop import launched

FEWEST = 10
"""Frames for each cluster where the options do not say how many clusters: fewer are no group."""

MOST = 200
"""Clusters where the options do not say how many."""

CLUSTERS = "clusters.pt"
"""What a round derived from the weights, written before its first step and never computed again."""


@dataclass(frozen=True)
class DeepCluster:
    """Options of the clusters.

    Attributes:
        clusters: How many; a tenth of the frames, up to 200, if None. More than there are kinds of things.
        rounds: How often features are clustered anew; the steps of `training` are shared among them.
        components: Principal components of the features that are clustered.
        smallest: Side of the smallest view, as a share of the largest that fits.
        flip: Mirror half of the views.
        view: Sides of a view as the network sees it, as a share of the frames'.
        fresh_head: Every round learns with a new head: numbers of clusters mean nothing from one to the next.
        whiten: Bring components to equal spread before clustering, or one loud direction decides.
        even: Draw evenly over clusters, or most of what is learned is the largest one.
        encoder: What is trained; it sees gradients of luma only, or clusters would be colours.
        frames: How video becomes frames.
        training: The loop; its steps are those of all rounds together.
    """

    clusters: int | None = None
    rounds: int = 20
    components: int = 64
    smallest: float = 0.5
    flip: bool = True
    view: float = 0.5
    fresh_head: bool = True
    whiten: bool = True
    even: bool = True
    encoder: EncoderOptions = field(default_factory=ResUNetEncoder)
    frames: CorpusOptions = field(default_factory=CorpusOptions)
    training: Training = field(
        default_factory=lambda: Training(steps=600, batch=64, optimiser=Adam(3e-3, weight_decay=1e-4))
    )

    def __post_init__(self) -> None:
        if self.clusters is not None and self.clusters < 2:
            raise BadInputError(f"{self.clusters} clusters", "2 or more")
        if self.rounds < 1 or self.components < 2 or not (0 < self.smallest <= 1 and 0 < self.view <= 1):
            raise BadInputError(
                f"rounds {self.rounds}, components {self.components}, smallest {self.smallest}, view {self.view}",
                "1 or more, 2 or more, and shares above 0",
            )
        if self.training.steps < self.rounds:
            raise BadInputError(
                f"training.steps {self.training.steps} in {self.rounds} rounds", "at least one in each", "lower rounds"
            )
        if self.training.batch // self.training.devices < 2:
            raise BadInputError(
                f"training.batch {self.training.batch}", "2 or more on each device: it is normalised over"
            )

    def clusters_of(self, frames: int) -> int:
        """Number of clusters for so many frames.

        Raises:
            BadInputError: There are fewer frames than clusters.
        """
        count = min(MOST, frames // FEWEST) if self.clusters is None else self.clusters
        if count < 2 or frames < count:
            wanted = max(count, 2)
            least = wanted if self.clusters is not None else 2 * FEWEST
            raise BadInputError(
                f"{frames} frames to find {wanted} clusters in",
                f"{least} or more",
                "give more video, or ask for fewer --clusters",
            )
        return count

    def size_of(self, corpus: Corpus) -> Size:
        """(width, height) of a view."""
        divisor = self.encoder.divisor
        width, height = (max(1, round(side * self.view / divisor)) * divisor for side in corpus.size_px)
        return width, height

    def network(self, clusters: int) -> ClusterNetwork:
        """A new network, its random weights drawn by the seed."""
        return seeded(
            lambda: ClusterNetwork(AdaptedEncoder(started(self.encoder), Sobel()), clusters, self.components),
            self.training.seed,
        )

    def restored(self, weights: dict[str, Tensor]) -> ClusterNetwork:
        """The network of a run, as it was saved."""
        plain = replace(self, encoder=replace(self.encoder, weights=""))  # a file it started from may be gone
        network = plain.network(len(weights["centres"]))
        network.load_state_dict(weights)
        return network.eval()

    def learn(self, corpus: Corpus, out: Path, *, resume: bool = False, quiet: bool = False) -> Learned:
        """Clusters the frames of a corpus, and learns them, in rounds.

        Raises:
            BadInputError: There are fewer frames, or fewer different ones, than clusters, or all are of one colour.
        """
        numbers = textured(corpus, corpus.trained)
        clusters = self.clusters_of(len(numbers))
        pictures = different_pictures(corpus, numbers, clusters)
        if pictures < clusters:
            raise BadInputError(
                f"{len(numbers)} frames that show {pictures} different picture{'s' if pictures > 1 else ''}",
                f"{clusters} or more to find {clusters} clusters in",
                "give video in which the scope moves, or ask for fewer --clusters",
            )
        rounds = _Rounds(self, corpus, numbers, self.network(clusters), out, quiet)
        return rounds.learned(rounds.run(resume))


@dataclass(eq=False)
class _Rounds:
    """A run in progress."""

    options: DeepCluster
    corpus: Corpus
    numbers: Int64[Tensor, " chosen"]
    network: ClusterNetwork
    out: Path
    quiet: bool

    def __post_init__(self) -> None:
        self.task = ClusterTask(self.network, self.options.size_of(self.corpus))
        self.crops = crops_of(self.corpus, self.options.smallest)
        self.history: list[dict[str, float]] = []
        self.seconds = 0.0

    def run(self, resume: bool) -> TrainingResult:
        """All rounds that are still to do, and the clustering of what came of them."""
        options, fabric, first = self.options, launched(self.options.training), 0
        if resume:
            first = self._restore(load_checkpoint(self.out / LAST))
        elif fabric.is_global_zero:
            self.out.mkdir(parents=True, exist_ok=True)
            self._save(0)
        fabric.to_device(self.network)  # the first features are those of random weights
        result = None
        for number in range(first, options.rounds):
            began = time.perf_counter()
            folder = self.out / "rounds" / f"{number:03d}"
            clusters = self._clusters(number, fabric)
            if options.fresh_head or number == 0:
                self.network.with_fresh_head(generator_of(options.training.seed, number))
            draws = ViewDraws(
                self.corpus,
                self.numbers,
                clusters.assigned,
                self.crops,
                flip=options.flip,
                even=options.even,
                seed=options.training.seed,
                round=number,
            )
            steps = _steps(options.training.steps, options.rounds, number)
            training = replace(options.training, steps=steps, save_every=min(options.training.save_every, steps))
            going = resume and (folder / LAST).is_file()
            more = number + 1 < options.rounds
            result = train(self.task, draws, training, folder, resume=going, fabric=fabric, more=more, quiet=True)
            self.seconds += time.perf_counter() - began
            self._tell(number, result)
            if fabric.is_global_zero:
                self._save(number + 1)
                (folder / LAST).unlink()  # its weights are in the run's own checkpoint
            fabric.barrier()
        self._clusters(options.rounds, fabric)
        if fabric.is_global_zero:
            self._save(options.rounds)
        nothing = TrainingResult(0, 0.0, 0.0, 0.0, "fp32", {}, {}, {})
        return replace(result or nothing, steps=options.training.steps, seconds=self.seconds)

    def _clusters(self, number: int, fabric: Fabric) -> Clusters:
        """The clustering at the start of a round: made once, and read from then on."""
        folder = self.out / "rounds" / f"{number:03d}"
        if fabric.is_global_zero and not (folder / CLUSTERS).is_file():
            folder.mkdir(parents=True, exist_ok=True)
            features = self.task.features(self.corpus, self.numbers)
            whitening = deepcopy(self.network.whitening).cpu().fit(features, whiten=self.options.whiten)
            clusters = clustered(whitening(features), len(self.network.centres), self.options.training.seed + number)
            weights = {"mean": whitening.mean, "axes": whitening.axes}
            save_checkpoint(folder / CLUSTERS, {**clusters._asdict(), **weights})
        fabric.barrier()
        content = load_checkpoint(folder / CLUSTERS)
        clusters = Clusters(content["assigned"], content["centres"])
        whitening = self.network.whitening
        for kept, name in ((whitening.mean, "mean"), (whitening.axes, "axes"), (self.network.centres, "centres")):
            kept.copy_(content[name])
        self._note(number, clusters)
        return clusters

    def _note(self, number: int, clusters: Clusters) -> None:
        before = self.out / "rounds" / f"{number - 1:03d}" / CLUSTERS
        sizes = clusters.assigned.bincount(minlength=len(clusters.centres))
        figures = {
            "to_last": agreement(load_checkpoint(before)["assigned"], clusters.assigned) if number else 0.0,
            "to_video": agreement(self.corpus.video[self.numbers], clusters.assigned),
            "largest": float(sizes.max() / sizes.sum()),
        }
        self.history = [*self.history[:number], figures]

    def _tell(self, number: int, result: TrainingResult) -> None:
        if self.quiet:
            return
        now = self.history[number]
        print(
            f"round {number + 1} of {self.options.rounds}: loss {result.losses.get('loss', 0.0):.3f}, NMI to the last "
            f"round {now['to_last']:.3f}, to the video {now['to_video']:.3f}, largest cluster {now['largest']:.1%}",
            flush=True,
        )

    def _save(self, done: int) -> None:
        content: dict[str, Any] = {
            "pretext": to_yaml(self.options),
            "network": self.network.state_dict(),
            "round": done,
            "step": sum(_steps(self.options.training.steps, self.options.rounds, n) for n in range(done)),
            "seconds": self.seconds,
            "history": self.history,
        }
        save_checkpoint(self.out / LAST, content)

    def _restore(self, content: dict[str, Any]) -> int:
        if content.get("pretext") != to_yaml(self.options):
            raise BadInputError(
                f"{self.out} was learned with other options",
                "the same ones",
                "resume without any, or choose another --out",
            )
        try:
            self.network.load_state_dict(content["network"])
        except RuntimeError as error:
            raise BadInputError(
                f"{self.out} was learned from other frames", "the same inputs", "give those, or choose another --out"
            ) from error
        self.history, self.seconds = content["history"], content["seconds"]
        return content["round"]

    def learned(self, result: TrainingResult) -> Learned:
        """The encoder, and what is to be said of its clusters."""
        last, first = self.history[-1], self.history[0]
        scores = (
            Score("NMI to the last round", last["to_last"], {"in the first": self.history[1]["to_last"]}),
            Score("NMI to the video", last["to_video"], {"of random features": first["to_video"]}),
            Score(
                "share of the largest cluster", last["largest"], {"if all were equal": 1 / len(self.network.centres)}
            ),
        )
        notes: tuple[str, ...] = ()
        if last["to_video"] > 0.5:
            notes = ("the clusters mostly tell which video it is: give more videos of each kind, or one at a time",)
        return Learned(self.network.eval().encoder, scores, result, notes)


def _steps(steps: int, rounds: int, number: int) -> int:
    """Steps of a round, so that all rounds together have those of the run."""
    return steps * (number + 1) // rounds - steps * number // rounds
