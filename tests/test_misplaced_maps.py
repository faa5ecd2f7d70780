"""Right depth in the wrong place: mirrored, turned, or under the number of another frame."""

import json

import pytest
import torch

from depthscope.cli import main
from depthscope.evaluation.misplaced_maps import placement_warning
from depthscope.formats import depth_maps

FRAMES = 9


def scenes(symmetric: bool = False) -> dict[str, torch.Tensor]:
    """A lumen off the centre that grows from frame to frame: no flip and no other frame looks the same."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 24), torch.linspace(-1, 1, 32), indexing="ij")
    right, down = (0.0, 0.0) if symmetric else (0.3, -0.2)
    around = (x - right) ** 2 + (y - down) ** 2
    return {f"{n:04d}": 10 + 60 * torch.exp(-around * (6 - (0 if symmetric else 0.5 * n))) for n in range(FRAMES)}


def noisy(depth: torch.Tensor, share: float, seed: int) -> torch.Tensor:
    noise = torch.randn(depth.shape, generator=torch.Generator().manual_seed(seed))
    return depth * (share * noise).exp()


def told(predictions: dict[str, torch.Tensor], truths: dict[str, torch.Tensor]) -> list[str]:
    return placement_warning(tuple(truths), lambda name: (predictions[name], truths[name]))


@pytest.mark.parametrize(
    ("axes", "said"),
    [((1,), "mirrored left to right"), ((0,), "mirrored top to bottom"), ((0, 1), "turned by 180 degrees")],
)
def test_maps_that_are_flipped_are_named(axes, said):
    truths = scenes()
    (warning,) = told({name: 3 * noisy(depth, 0.02, 1).flip(axes) for name, depth in truths.items()}, truths)
    assert said in warning


@pytest.mark.parametrize(("shift", "said"), [(1, "1 frame later"), (-1, "1 frame earlier"), (2, "2 frames later")])
def test_maps_under_another_frames_number_are_named(shift, said):
    truths = scenes()
    names = list(truths)
    predictions = {name: noisy(truths[names[(n + shift) % FRAMES]], 0.01, n) for n, name in enumerate(names)}
    (warning,) = told(predictions, truths)
    assert said in warning


def test_right_maps_are_never_doubted_however_rough():
    truths = scenes()
    for share in (0.0, 0.02, 0.1, 0.5):
        assert told({name: noisy(depth, share, n) for n, (name, depth) in enumerate(truths.items())}, truths) == []
    flat = {name: torch.ones_like(depth) for name, depth in truths.items()}
    assert told(flat, truths) == []
    assert told({name: noisy(depth, 0.02, 1).flip(1) for name, depth in scenes(True).items()}, scenes(True)) == []


def test_few_frames_and_few_pixels_say_nothing_wrong():
    truths = scenes()
    one = {"0000": truths["0000"]}
    assert told(one, one) == []
    assert "mirrored" in told({"0000": truths["0000"].flip(1)}, one)[0]
    assert told({name: torch.zeros_like(depth) for name, depth in truths.items()}, truths) == []


def test_evaluate_says_so(tmp_path, capsys):
    for folder, flip in (("truth", ()), ("mirrored", (1,))):
        (tmp_path / folder / "depth").mkdir(parents=True)
        for name, depth in scenes().items():
            depth_maps.write(tmp_path / folder / "depth" / f"{name}.tiff", depth.flip(flip))
    line = ["evaluate", str(tmp_path / "mirrored"), str(tmp_path / "truth"), "--out", str(tmp_path / "out")]
    assert main(line) == 0
    assert "mirrored left to right" in json.loads((tmp_path / "out" / "result.json").read_text("utf-8"))["warnings"][0]
    assert "mirrored left to right" in " ".join(capsys.readouterr().out.split())
