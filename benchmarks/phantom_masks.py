"""Frames of simulated colons with instruments, and what each of their pixels truly shows.

Used by ``pretext_error_boosting.py``. Everything is a function of the seeds; made once and kept in a file.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from depthscope.pretext.error_boosting.automatic import HIGHLIGHT, INSTRUMENT, LUMEN, OUTSIDE, TISSUE
from depthscope.simulation.anatomy import patient
from depthscope.simulation.clip_files import Take, scene_of
from depthscope.simulation.clip_files.take import gains, photographed
from depthscope.simulation.disturbances import Disturbances
from depthscope.simulation.instrument import Instrument
from depthscope.simulation.path import camera_from_world
from depthscope.simulation.presets import subject

SIZE = (96, 96)
APART = 6
"""Of the frames that a clip is simulated with, one in so many is taken."""

FAR = 3.0
"""The lumen is what is so many times as deep as the median of the tissue."""

BRIGHT = 170
"""A glint is seen as one where the darkest channel comes to this level."""

WET = 2.2
"""The film on the tissue is so many times as uneven as usual, or a frame this small has too few glints to count."""


@dataclass(frozen=True, eq=False)
class PhantomMasks:
    """Frames of some patients.

    Attributes:
        frames: sRGB bytes, shape (frames, height, width, 3).
        truth: Class of each pixel by `AUTOMATIC`, shape (frames, height, width).
        content: The round picture of each frame, shape (frames, height, width).
        patient: Of each frame, shape (frames,).
    """

    frames: Tensor
    truth: Tensor
    content: Tensor
    patient: Tensor

    def __getitem__(self, rows: Tensor) -> "PhantomMasks":
        return PhantomMasks(self.frames[rows], self.truth[rows], self.content[rows], self.patient[rows])


def phantom_masks(patients: tuple[int, ...], clips: int, frames: int, cache: Path) -> PhantomMasks:
    """So many frames of so many clips of each patient."""
    parts = [_kept(seed, clips, frames, cache) for seed in patients]
    return PhantomMasks(
        *(torch.cat([torch.from_numpy(part[name]) for part in parts]) for name in ("frames", "truth", "content")),
        torch.cat([torch.full((clips * frames,), seed) for seed in patients]),
    )


def _kept(seed: int, clips: int, frames: int, cache: Path) -> dict[str, np.ndarray]:
    place = cache / f"colon_{seed}_{clips}_{frames}_{SIZE[0]}x{SIZE[1]}.npz"
    if not place.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        draft = place.with_name(f"{place.stem}.partial.npz")
        np.savez_compressed(draft, **_made(seed, clips, frames))  # type: ignore[arg-type]
        draft.rename(place)
    with np.load(place) as content:
        return dict(content)


def _made(seed: int, clips: int, frames: int) -> dict[str, np.ndarray]:
    anatomy, drawn = patient(seed, "colon"), subject(seed, "colon", "typical", 1.0, SIZE)
    scene = scene_of(anatomy, replace(drawn.look, wetness=1.0))
    shading = replace(drawn.scope.shading, samples=1, translucency_mm=0.0, film=WET * drawn.scope.shading.film)
    scope = replace(drawn.scope, shading=shading)
    rows: dict[str, list[np.ndarray]] = {"frames": [], "truth": [], "content": []}
    draw = np.random.default_rng((seed, 7))
    for clip in range(clips):
        motions = camera_from_world(anatomy, clip, frames * APART + 1, drawn.trajectory)
        held = Instrument(
            diameter_mm=float(draw.uniform(1.2, 3.4)),
            taper_mm=float(draw.uniform(3, 8)),
            reach=float(draw.uniform(0.4, 0.85)),
            seed=1000 * seed + clip,
        )
        # One clip in four shows no instrument: it must not be found where none is.
        shown = Disturbances(instrument=None if clip % 4 == 3 else held)
        take = Take(scene, scope, motions, seed, clip, shown)
        level = gains(take, range(0, 1))[0]
        for number in range(0, frames * APART, APART):
            rendered, _, picture = photographed(take, number, level)
            inside = take.view.shown
            truth = torch.full(inside.shape, TISSUE, dtype=torch.uint8)
            tissue = rendered.depth[inside & ~rendered.instrument]
            truth[rendered.depth > FAR * tissue.quantile(0.5)] = LUMEN
            truth[rendered.highlight & (picture.amin(-1) > BRIGHT)] = HIGHLIGHT
            truth[rendered.instrument] = INSTRUMENT
            truth[~inside] = OUTSIDE
            rows["frames"].append(picture.numpy())
            rows["truth"].append(truth.numpy())
            rows["content"].append(inside.numpy())
    return {name: np.stack(found) for name, found in rows.items()}
