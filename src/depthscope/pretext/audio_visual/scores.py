"""How often right and wrong pairs are told apart, on moments that were kept from training."""

import torch
from torch import Tensor

from depthscope.pretext.audio_visual.networks import Listener, best, shown_places
from depthscope.pretext.audio_visual.spectrogram import Spectrogram
from depthscope.pretext.audio_visual.task import PairsOfMoments
from depthscope.pretext.learned import Score

PAIRS, PER_PASS = 256, 16


@torch.no_grad()
def unique_names(
    network: Listener, spectrogram: Spectrogram, pairs: PairsOfMoments, count: int = PAIRS
) -> tuple[Score, ...]:
    """Accuracy of both networks, and of wrong pairs by where their sound is from.

    Args:
        network: AVE-Net and AVOL-Net.
        spectrogram: How sound is seen.
        pairs: Of moments that were kept from training.
        count: How many are drawn; half of them are right.
    """
    network.eval()
    device = next(network.parameters()).device
    wholes, places, right, same = [], [], [], []
    for first in range(0, count, PER_PASS):
        numbers = range(first, min(first + PER_PASS, count))
        batch = pairs.batch(numbers)
        images, heard = batch.images.to(device).float() / 255, spectrogram(batch.sounds.to(device))
        maps = network.localisation(images, heard)
        wholes.append(network.correspondence(images, heard).argmax(1).cpu() == 1)
        places.append((best(maps, shown_places(batch.content.to(device), *maps.shape[-2:])) > 0).cpu())
        right.append(batch.corresponds)
        drawn = [pairs.moments.drawn(number) for number in numbers]
        video = pairs.corpus.video
        same += [bool(video[one.frame] == video[one.sound_of]) for one in drawn]
    truth, of_one_video = torch.cat(right), torch.tensor(same)
    return (
        _score("correspondence", torch.cat(wholes), truth, of_one_video),
        _score("correspondence by the best place", torch.cat(places), truth, of_one_video),
    )


def _score(name: str, told: Tensor, truth: Tensor, same: Tensor) -> Score:
    def accuracy(chosen: Tensor) -> float:
        return float((told == truth)[chosen].float().mean()) if bool(chosen.any()) else float("nan")

    beside = {"chance": 0.5, "right pairs": accuracy(truth), "wrong, same video": accuracy(~truth & same)}
    if bool((~truth & ~same).any()):
        beside["wrong, other video"] = accuracy(~truth & ~same)
    return Score(name, accuracy(torch.ones_like(truth)), beside)
