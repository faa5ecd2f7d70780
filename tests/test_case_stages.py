"""The whole pipeline on a tiny tube: sequence, training, prediction, evaluation; better than a flat wall at the end."""

import json

import pytest
import torch

from depthscope.cli import main
from depthscope.evaluation import DepthMetrics, median
from depthscope.formats import depth_maps
from depthscope.recipes import to_yaml
from tiny_runs import tiny, tube_clip


def test_from_a_sequence_to_depth_that_is_better_than_a_flat_wall(tmp_path):
    clip, run, prediction, evaluation = (tmp_path / name for name in ("clip", "run", "prediction", "evaluation"))
    tube_clip(clip)
    (tmp_path / "recipe.yaml").write_text(to_yaml(tiny(steps=100)))

    assert main(["train", str(clip), "--out", str(run), "--config", str(tmp_path / "recipe.yaml")]) == 0
    assert main(["predict", str(run), str(clip), "--out", str(prediction), "--sequence", str(clip)]) == 0
    assert main(["evaluate", str(prediction), str(clip / "depth"), "--out", str(evaluation)]) == 0
    found = json.loads((evaluation / "result.json").read_text("utf-8"))["alignment"]

    truths = [depth_maps.read(path) for path in depth_maps.listed(clip).values()]
    known = [truth[truth > 0] for truth in truths]
    wall = [DepthMetrics.of(torch.full_like(t, float(median(t))), t) for t in known]
    flat = sum(metrics.abs_rel for metrics in wall) / len(wall)
    assert found["per_frame_median"]["abs_rel"] < 0.8 * flat

    # Scaled to its points, a map is in their unit, mm; they are not spread over the frame as its pixels are.
    maps = list(depth_maps.listed(prediction).values())
    assert len(maps) == len(truths) == 8
    for path, truth in zip(maps, truths, strict=True):
        depth = depth_maps.read(path)
        assert float(median(depth[depth > 0])) == pytest.approx(float(median(truth[truth > 0])), rel=0.25)
