"""Whether a network learns which instrument sounds, and where, and what careless wrong pairs do to it.

    python benchmarks/pretext_audio_visual.py --out DIR [--seeds 0 1 2] [--steps 600] [--places 450]

Two arms on the same videos: wrong sounds centred on frames as right ones are (the product), and careless ones that are
cut anywhere. Each is tested on both kinds of pairs, on videos that nothing was learned from. Localisation is tested by
where the peak is, beside the middle of the frame, and by whether it moves to the other instrument when that one's sound
is played. Writes ``pretext_audio_visual.json`` and a table.
"""

import argparse
import json
import platform
import tempfile
import time
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from sounding_instruments import KINDS, RADIUS, SIZE, SPECTROGRAM, Scenes, scenes, sound_of_kind
from torch import Tensor

from depthscope.corpus import Corpus
from depthscope.networks.res_unet_encoder import ResUNetEncoder
from depthscope.pretext.audio_visual import AudioVisual
from depthscope.pretext.audio_visual.moments import Moment, Moments
from depthscope.pretext.audio_visual.networks import Listener
from depthscope.pretext.audio_visual.task import PairsOfMoments
from depthscope.pretext.stored import stored_weights
from depthscope.training import Adam, Training
from depthscope.training.draws import generator_of
from depthscope.video.sound import Sound

CEILING = 1 - (1 / KINDS + (1 - 1 / KINDS) / 2 / (KINDS - 1)) / 2
"""A wrong sound fits something that is seen in a quarter of the wrong pairs."""

TEST_PAIRS, FIRST = 600, 30


@dataclass(frozen=True, eq=False)
class CarelessMoments(Moments):
    """Wrong sounds are cut anywhere in a track, not around a frame."""

    def drawn(self, number: int) -> Moment:
        """The n-th pair."""
        one = super().drawn(number)
        if one.corresponds:
            return one
        place = float(torch.rand((), generator=generator_of(self.seed + 77, number), dtype=torch.float64))
        half, length = self.snippet_s / 2, self.duration_s[int(self.video[one.sound_of])]
        return one._replace(centre_s=half + place * (length - 2 * half))


@dataclass(frozen=True)
class CarelessAudioVisual(AudioVisual):
    """The same system with careless wrong pairs."""

    def moments(self, corpus: Corpus, sounds: tuple[Sound, ...], chosen: Tensor, seed: int) -> Moments:
        """Careless ones."""
        one = super().moments(corpus, sounds, chosen, seed)
        return CarelessMoments(**{field.name: getattr(one, field.name) for field in fields(one)})


def main() -> None:
    """Reads the arguments, trains and measures, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--places", type=int, default=450, help="steps of localisation")
    parser.add_argument("--videos", type=int, default=400)
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--rate", type=float, default=1e-3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    runs = []
    for seed in given.seeds:
        began = time.process_time()
        training, test = scenes(given.videos, seed), scenes(150, seed + 1000)
        options = AudioVisual(
            spectrogram=SPECTROGRAM,
            misalignment_s=0.0,
            apart_s=3.0,
            stride=8,
            audio_width=16,
            encoder=ResUNetEncoder(width=16, widest=64),
            training=Training(
                steps=given.steps,
                batch=given.batch,
                optimiser=Adam(given.rate),
                clip_norm=1.0,
                seed=seed,
                save_every=10**9,
            ),
            localisation=Training(
                steps=given.places, batch=given.batch, optimiser=Adam(2e-4), clip_norm=1.0, seed=seed, save_every=10**9
            ),
        )
        careless = CarelessAudioVisual(**vars(options) | {"localisation": replace(options.localisation, steps=1)})
        found = {}
        fused = replace(options, fused=True, localisation=replace(options.localisation, steps=1))
        for name, arm in (("on the grid", options), ("careless", careless), ("fused (L3-Net)", fused)):
            network = learned(arm, training)
            found[name] = {
                "accuracy_on_the_grid": accuracy(network, pairs_of(options, test, seed)),
                "accuracy_careless": accuracy(network, pairs_of(careless, test, seed)),
                **retrieval(network, options, test),
            }
            if arm is options:
                found[name] |= places(network, options, test, seed)
        torch.manual_seed(seed)
        untrained = options.network().eval()
        found["random network"] = {
            "accuracy_on_the_grid": accuracy(untrained, pairs_of(options, test, seed)),
            "accuracy_careless": accuracy(untrained, pairs_of(careless, test, seed)),
            **retrieval(untrained, options, test),
            **places(untrained, options, test, seed),
        }
        runs.append({"seed": seed, "arms": found, "cpu_seconds": time.process_time() - began})
        print(f"seed {seed}: {json.dumps(found)}", flush=True)
    table = {
        "machine": f"{platform.machine()}, torch {torch.__version__}, one thread",
        "date": time.strftime("%Y-%m-%d"),
        "ceiling": CEILING,
        "steps": [given.steps, given.places],
        "runs": runs,
    }
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "pretext_audio_visual.json").write_text(json.dumps(table, indent=1) + "\n")
    print(told(table))


def learned(options: AudioVisual, data: Scenes) -> Listener:
    """The networks of an arm."""
    with tempfile.TemporaryDirectory() as place:
        options.learn_from(data.corpus, data.sounds, Path(place), quiet=True)
        network = options.network()
        network.load_state_dict(stored_weights(Path(place)))
    return network.eval()


def pairs_of(options: AudioVisual, data: Scenes, seed: int) -> PairsOfMoments:
    """Pairs of videos that nothing was learned from."""
    every = torch.arange(len(data.corpus))
    return PairsOfMoments(data.corpus, data.sounds, options.moments(data.corpus, data.sounds, every, seed + 5000))


@torch.no_grad()
def accuracy(network: Listener, pairs: PairsOfMoments) -> float:
    """Share of pairs that are told rightly."""
    right = []
    for first in range(0, TEST_PAIRS, 50):
        batch = pairs.batch(range(first, first + 50))
        told = network.correspondence(batch.images.float() / 255, SPECTROGRAM(batch.sounds)).argmax(1) == 1
        right.append(told == batch.corresponds)
    return float(torch.cat(right).float().mean())


@torch.no_grad()
def retrieval(network: Listener, options: AudioVisual, data: Scenes) -> dict[str, float]:
    """NDCG of the first 30, one frame and one sound of each video; right is the kind that sounds."""
    first = torch.arange(len(data.sounds)) * (len(data.corpus) // len(data.sounds))
    seen = network.correspondence.of_images(data.corpus.images(first))
    times = data.corpus.time_s[first].tolist()
    snippets = [s.snippet(t, SPECTROGRAM.snippet_s) for s, t in zip(data.sounds, times, strict=True)]
    heard = network.correspondence.of_sounds(SPECTROGRAM(torch.stack(snippets)))
    same = data.sounding[:, None] == data.sounding

    def gain(queries: Tensor, gallery: Tensor) -> float:
        away = torch.cdist(queries, gallery)
        away.fill_diagonal_(float("inf"))
        order = away.argsort(1)[:, :FIRST]
        discount = 1 / torch.log2(torch.arange(FIRST) + 2.0)
        found = (same.gather(1, order).float() * discount).sum(1)
        ideal = torch.stack([discount[: int(row.sum()) - 1].sum() for row in same]).clamp_min(1e-9)
        return float((found / ideal).mean())

    chance = float(np.mean([gain(torch.rand(len(seen), 8), torch.rand(len(seen), 8)) for _ in range(5)]))
    return {
        "ndcg_audio_to_image": gain(heard, seen),
        "ndcg_image_to_audio": gain(seen, heard),
        "ndcg_image_to_image": gain(seen, seen),
        "ndcg_audio_to_audio": gain(heard, heard),
        "ndcg_chance": chance,
    }


@torch.no_grad()
def places(network: Listener, options: AudioVisual, data: Scenes, seed: int) -> dict[str, float]:
    """How often the peak is on the instrument that sounds, and goes to the other one where that is played."""
    rows = torch.arange(len(data.corpus))[::3]
    video, times = data.corpus.video[rows], data.corpus.time_s[rows].tolist()
    own = [data.sounds[v].snippet(t, SPECTROGRAM.snippet_s) for v, t in zip(video.tolist(), times, strict=True)]
    peak = peaks(network, data.corpus.images(rows), torch.stack(own))
    middle = torch.full_like(peak, SIZE / 2)
    two = data.silent[video] >= 0
    kinds = [sound_of_kind(kind, seed + 9000) for kind in range(KINDS)]
    played = [
        kinds[int(data.silent[v])].snippet(t, SPECTROGRAM.snippet_s)
        for v, t in zip(video[two].tolist(), np.array(times)[two.numpy()], strict=True)
    ]
    moved = peaks(network, data.corpus.images(rows[two]), torch.stack(played))

    def hits(found: Tensor, place: Tensor) -> float:
        return float(((found - place).norm(dim=1) <= RADIUS).float().mean())

    return {
        "hit": hits(peak, data.place_px[rows]),
        "hit_centre": hits(middle, data.place_px[rows]),
        "hit_where_two_are_seen": hits(peak[two], data.place_px[rows[two]]),
        "switch": hits(moved, data.other_px[rows[two]]),
    }


def peaks(network: Listener, images: Tensor, sounds: Tensor) -> Tensor:
    """Where the maps are largest, in pixels."""
    maps = torch.cat(
        [network.localisation(i, SPECTROGRAM(s)) for i, s in zip(images.split(50), sounds.split(50), strict=True)]
    )
    step = SIZE / maps.shape[-1]
    place = maps.flatten(1).argmax(1)
    return (torch.stack([place % maps.shape[-1], place // maps.shape[-1]], 1) + 0.5) * step


def told(table: dict) -> str:
    """Both arms as a table in Markdown."""
    names = (
        "accuracy_on_the_grid",
        "accuracy_careless",
        "ndcg_audio_to_image",
        "ndcg_image_to_audio",
        "ndcg_image_to_image",
        "hit",
        "hit_centre",
        "switch",
    )
    lines = [f"| trained with | {' | '.join(names)} |", "|---|" + "---|" * len(names)]
    for arm in table["runs"][0]["arms"]:
        cells = []
        for name in names:
            values = [run["arms"][arm].get(name) for run in table["runs"]]
            cells.append(", ".join("-" if value is None else f"{value:.3f}" for value in values))
        lines.append(f"| {arm} | {' | '.join(cells)} |")
    chance = np.mean([run["arms"]["on the grid"]["ndcg_chance"] for run in table["runs"]])
    return "\n".join([*lines, f"ceiling of the accuracy {table['ceiling']:.3f}, chance of the nDCG {chance:.3f}"])


if __name__ == "__main__":
    main()
