"""Every pretext system walks over a video once, by the command, and leaves an encoder that depth can start from."""

import csv
import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from depthscope.cli import main
from depthscope.pretext import encoder_of
from depthscope.video import write_video
from depthscope.video.sound import add_sound
from sounding_videos import beeps, sound_of

FPS, SECONDS, SIZE, BATCH = 5, 12, 128, 12
SMALL = ["--encoder.width", "8", "--encoder.widest", "16", "--training.batch", str(BATCH), "--training.log-every", "1"]
SYSTEMS = {
    "jigsaw": ["--tiles.tile-px", "32", "--tiles.gap-px", "4", "--permutations", "9"],
    "exemplar": ["--seeds", "8", "--largest", "1"],
    "colorization": [],
    "video-colorization": [],
    "audio-visual": ["--audio-width", "4", "--localisation.steps", str(FPS * SECONDS // BATCH)],
    "deepcluster": ["--rounds", "2", "--clusters", "5", "--view", "0.6"],
    "error-boosting": [],
}


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A window that moves over a texture in colour, with tones."""
    draw, count = np.random.default_rng(7), FPS * SECONDS
    wide = cv2.resize(draw.uniform(60, 220, (8, 40, 3)), (SIZE + 4 * count, SIZE), interpolation=cv2.INTER_CUBIC)
    wide += cv2.GaussianBlur(draw.normal(0, 60, wide.shape[:2]), (0, 0), 1.5)[..., None]
    wide = np.clip(wide, 20, 235).astype(np.uint8)
    frames = (torch.from_numpy(wide[:, 4 * n : 4 * n + SIZE].copy()) for n in range(count))
    path = write_video(tmp_path_factory.mktemp("film") / "film.mp4", frames, FPS)
    return add_sound(path, sound_of(beeps(SECONDS, every_s=1.7, length_s=0.6)))


@pytest.mark.parametrize("system", SYSTEMS)
def test_an_epoch_by_the_command(system: str, video: Path, tmp_path: Path) -> None:
    steps = FPS * SECONDS // BATCH
    call = ["pretrain", system, str(video), "--out", str(tmp_path / "run"), "--steps", str(steps)]
    call += ["--frames.every-s", "0", "--frames.size-px", str(SIZE), str(SIZE)]
    assert main([*call, *SMALL, *SYSTEMS[system]]) == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text("utf-8"))
    assert result["task"] == system and result["frames"] == FPS * SECONDS and result["steps"] >= steps
    logs = list((tmp_path / "run").rglob("log.csv"))
    losses = [float(row["loss"]) for log in logs for row in csv.DictReader(log.open(newline="")) if row.get("loss")]
    assert len(losses) >= steps and all(math.isfinite(loss) for loss in losses)
    options = encoder_of(tmp_path / "run")
    encoder = options.build()
    before = [weights.detach().clone() for weights in encoder.parameters()]
    encoder.load(options.weights)
    assert any(not torch.equal(a, b) for a, b in zip(before, encoder.parameters(), strict=True))
