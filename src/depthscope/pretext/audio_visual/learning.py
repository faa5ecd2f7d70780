"""Two trainings: which sound belongs to a frame, and from there, which place of the frame it belongs to."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from depthscope.corpus import Corpus, CorpusOptions
from depthscope.errors import BadInputError
from depthscope.networks.encoder import EncoderOptions
from depthscope.networks.res_unet_encoder import ResUNetEncoder
from depthscope.pretext.audio_visual.moments import Moments
from depthscope.pretext.audio_visual.networks import Listener, best, shown_places
from depthscope.pretext.audio_visual.scores import unique_names
from depthscope.pretext.audio_visual.spectrogram import Spectrogram
from depthscope.pretext.audio_visual.task import LearnCorrespondence, LearnLocalisation, ListeningBatch, PairsOfMoments
from depthscope.pretext.learned import Learned
from depthscope.pretext.stored import to_yaml
from depthscope.training import LAST, Adam, Training, launched, save_checkpoint, train
from depthscope.video.sound import Sound, heard, read_sound
from depthscope.workspace import write_text

ROUNDS, START_FILE = "rounds", "start.json"

LOOKED_AT = 64
"""Right pairs that the judge of places is centred on."""

CLAIM = (
    "it shows what is seen when it sounds so; one microphone does not say where a sound comes from, "
    "so play another sound to a frame before you believe its map"
)
NOT_JUDGED = "too few moments were kept from training to tell right and wrong pairs apart on them"


@dataclass(frozen=True)
class AudioVisual:
    """Which sound belongs to a frame, and where in it (Arandjelovic & Zisserman 2018): where and when it sounds.

    Attributes:
        spectrogram: How sound is seen.
        misalignment_s: Sounds are moved against their frame by at most so much, in both directions.
        apart_s: Sounds of another moment of the same video are at least so far away.
        gain_db: Loudness is changed by at most so much.
        stride: Of the places that are told apart, in pixels of the frames.
        audio_width: Channels of the first layer that hears; the paper has 64.
        fused: Two layers over both vectors decide (L3-Net) in place of their distance (AVE-Net), for comparison: sounds
            and frames are then not found by each other.
        encoder: What sees.
        frames: How video becomes a corpus.
        training: Of the network that compares wholes (AVE).
        localisation: Of the one that compares places (AVOL), which starts from it.
    """

    spectrogram: Spectrogram = field(default_factory=Spectrogram)
    misalignment_s: float = 0.5
    apart_s: float = 3.0
    gain_db: float = 6.0
    stride: int = 16
    audio_width: int = 16
    fused: bool = False
    encoder: EncoderOptions = field(default_factory=ResUNetEncoder)
    frames: CorpusOptions = field(default_factory=CorpusOptions)
    training: Training = field(
        default_factory=lambda: Training(steps=600, batch=16, optimiser=Adam(1e-3, weight_decay=1e-5), clip_norm=1.0)
    )
    localisation: Training = field(
        default_factory=lambda: Training(steps=450, batch=16, optimiser=Adam(2e-4, weight_decay=1e-5), clip_norm=1.0)
    )

    def __post_init__(self) -> None:
        if not 0 <= self.misalignment_s <= self.spectrogram.snippet_s or self.apart_s < self.spectrogram.snippet_s:
            raise BadInputError(
                f"misalignment_s {self.misalignment_s:g} and apart_s {self.apart_s:g}",
                f"0 to a snippet ({self.spectrogram.snippet_s:g} s), and a snippet or more",
            )
        if not 0 <= self.gain_db <= 40 or self.audio_width < 4 or self.audio_width % 4:
            raise BadInputError(
                f"gain_db {self.gain_db:g} and audio_width {self.audio_width}", "0 to 40, and a multiple of 4"
            )

    def network(self, *, start: bool = True) -> Listener:
        """Both networks; with `start` the encoder begins with the weights that its options name."""
        return Listener(self.encoder, self.stride, self.audio_width, fused=self.fused, start=start)

    def learn(self, corpus: Corpus, out: Path, *, resume: bool = False, quiet: bool = False) -> Learned:
        """Learns from the sound of the corpus's videos.

        Raises:
            BadInputError: A video has no sound, a silent track, or one shorter than a snippet; or what `train` raises.
        """
        return self.learn_from(corpus, sounds_of(corpus, self.spectrogram), out, resume=resume, quiet=quiet)

    def learn_from(
        self, corpus: Corpus, sounds: tuple[Sound, ...], out: Path, *, resume: bool = False, quiet: bool = False
    ) -> Learned:
        """As `learn`, with the sound of each video at hand."""
        record, seed = {"pretext": to_yaml(self)}, self.training.seed
        pairs = PairsOfMoments(corpus, sounds, self.moments(corpus, sounds, corpus.trained, 1000 * seed))
        torch.manual_seed(seed)
        network = self.network()
        fabric = launched(self.training)
        out.mkdir(parents=True, exist_ok=True)
        if not (resume and (out / LAST).is_file()):
            _save(network, record, 0, out)
        first, second = (out / ROUNDS / f"{number:03d}" for number in range(2))
        told = {"record": record, "fabric": fabric, "quiet": quiet}

        wholes = LearnCorrespondence(
            network.correspondence, ListeningBatch(self.spectrogram, self.gain_db, 1000 * seed)
        )
        goes_on = resume and (first / LAST).is_file()
        train(wholes, pairs, replace(self.training, seed=1000 * seed), first, resume=goes_on, more=True, **told)
        network.localisation.start_from(network.correspondence)
        _save(network, record, self.training.steps, out)

        again = PairsOfMoments(corpus, sounds, replace(pairs.moments, seed=1000 * seed + 1))
        self._centre(network, again, second, resume)
        places = LearnLocalisation(
            network.localisation, ListeningBatch(self.spectrogram, self.gain_db, 1000 * seed + 1)
        )
        goes_on = resume and (second / LAST).is_file()
        local = replace(self.localisation, seed=1000 * seed + 1)
        result = train(places, again, local, second, resume=goes_on, **told)
        result = replace(result, steps=self.training.steps + result.steps)
        _save(network, record, result.steps, out)

        try:
            kept = PairsOfMoments(corpus, sounds, self.moments(corpus, sounds, corpus.held, 1000 * seed + 2))
        except BadInputError:
            return Learned(network.correspondence.encoder, (), result, (CLAIM, NOT_JUDGED))
        scores = unique_names(network, self.spectrogram, kept)
        return Learned(network.correspondence.encoder, scores, result, (CLAIM,))

    def moments(self, corpus: Corpus, sounds: tuple[Sound, ...], chosen: torch.Tensor, seed: int) -> Moments:
        """The pairs that may be drawn of some frames."""
        return Moments(
            corpus.time_s,
            corpus.video,
            chosen,
            tuple(sound.duration_s for sound in sounds),
            self.spectrogram.snippet_s,
            self.misalignment_s,
            self.apart_s,
            seed,
        )

    @torch.no_grad()
    def _centre(self, network: Listener, pairs: PairsOfMoments, folder: Path, resume: bool) -> None:
        """Centres the judge of places on the best products of some pairs; what was found before is read back."""
        path = folder / START_FILE
        if not (resume and path.is_file()):
            folder.mkdir(parents=True, exist_ok=True)
            device, found = next(network.parameters()).device, []
            network.eval()
            for first in range(0, LOOKED_AT, 16):
                batch = pairs.batch(range(first, first + 16))
                images = batch.images.to(device).float() / 255
                maps = network.localisation.products(images, self.spectrogram(batch.sounds.to(device)))
                found.append(best(maps, shown_places(batch.content.to(device), *maps.shape[-2:])).cpu())
            maxima = torch.cat(found)
            write_text(path, json.dumps([float(maxima.mean()), max(float(maxima.std()), 1e-6)]))
        network.localisation.centre(*json.loads(path.read_text("utf-8")))


def sounds_of(corpus: Corpus, spectrogram: Spectrogram) -> tuple[Sound, ...]:
    """The sound of each of a corpus's videos.

    Raises:
        BadInputError: One is no video, or there is nothing to hear in it.
    """
    sounds = []
    for path in corpus.sources:
        if Path(path).is_dir():
            raise BadInputError(f"{path} is a folder of images", "a video with sound", "give the recording itself")
        sounds.append(heard(read_sound(path, spectrogram.rate_hz), path, spectrogram.snippet_s))
    return tuple(sounds)


def _save(network: Listener, record: dict, step: int, out: Path) -> None:
    weights = {name: value.cpu() for name, value in network.state_dict().items()}
    save_checkpoint(out / LAST, {"network": weights, "step": step, **record})
