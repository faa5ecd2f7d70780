"""Learning depth from simulated frames: store, placement, looks, losses, training."""

import json
import math
import signal
from dataclasses import dataclass
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest
import torch

from depthscope.cli import main
from depthscope.errors import BadInputError, InterruptedRunError
from depthscope.geometry import Camera
from depthscope.networks import DepthPrediction, ResUNet
from depthscope.networks.ray_channels import ray_channels
from depthscope.prediction import load_model
from depthscope.pretrained import read_start
from depthscope.simulation.still_store import CONTENT, FOREIGN, StillFrame, StillStore, packing
from depthscope.supervised import Looks, Placement, StillBatch, StillDraws, TrueDepthLoss, UnseenPatients
from depthscope.supervised.augmentation import bounced, placed, weaker_falloff
from depthscope.supervised.draws import gathered
from depthscope.supervised.losses import UNIT_MM
from depthscope.supervised.simulated_depth import SimulatedDepth, learn
from depthscope.supervised.task import TrueDepth
from depthscope.training import Training, load_checkpoint

SIZE = (48, 40)


def frame(seed: int = 0, size=SIZE) -> StillFrame:
    """A slanted wall before a pinhole, as bright as it is near, in a picture with a dark left rim and a tool."""
    width, height = size
    x, y = np.meshgrid((np.arange(width) + 0.5 - width / 2) / 40, (np.arange(height) + 0.5 - height / 2) / 40)
    draw = np.random.default_rng(seed)
    slope = draw.uniform(-0.8, 0.8, 2)
    depth = 15.0 / (1 + slope[0] * x + slope[1] * y)
    light = (255 * (9 / depth) ** 2).clip(0, 255)
    image = np.repeat(light[..., None], 3, -1) * [1.0, 0.6, 0.5] + draw.normal(0, 2, (height, width, 3))
    labels = np.full((height, width), CONTENT, np.uint8)
    labels[:, :4] = 0
    labels[-6:, -6:] |= FOREIGN
    rays = ray_channels(torch.from_numpy(np.stack([x, y, np.ones_like(x)], -1))).numpy()
    depth = np.where(labels & CONTENT, depth, 0)
    return StillFrame(image.clip(0, 255).astype(np.uint8), depth.astype(np.float16), rays.astype(np.float16), labels)


def store(folder, patients=(0,), frames: int = 6) -> StillStore:
    for patient in patients:
        place = folder / f"nasal_{patient}"
        place.mkdir(parents=True)
        arrays = packing(place, frames, SIZE)
        for number in range(frames):
            one = frame(100 * patient + number)
            arrays["images"][number], arrays["depth"][number] = one.image, one.depth
            arrays["rays"][number], arrays["labels"][number] = one.rays, one.labels
        for array in arrays.values():
            array.flush()
        figures = {"anatomy": "nasal", "patient": patient, "frames": frames, "size_px": list(SIZE)}
        (place / "result.json").write_text(json.dumps(figures))
    return StillStore.read([folder])


def test_a_store_counts_frames_over_patients(tmp_path):
    both = store(tmp_path, (3, 7), 4)
    assert len(both) == 8
    assert [p.seed for p in both.patients] == [3, 7]
    np.testing.assert_array_equal(both[5].image, frame(701).image)
    np.testing.assert_array_equal(both[3].depth, frame(303).depth)


@pytest.mark.parametrize("harm", ["torn", "short", "gone"])
def test_a_damaged_store_is_named(tmp_path, harm):
    store(tmp_path)
    path = tmp_path / "nasal_0" / "depth.npy"
    if harm == "torn":
        path.write_bytes(path.read_bytes()[:200])
    elif harm == "short":
        np.save(path, np.zeros((2, SIZE[1], SIZE[0]), np.float16))
    else:
        path.unlink()
    with pytest.raises(BadInputError, match="nasal_0"):
        StillStore.read([tmp_path])


def test_no_store_is_told(tmp_path):
    with pytest.raises(BadInputError, match="no packed frames"):
        StillStore.read([tmp_path])


def test_a_whole_frame_in_its_own_size_is_itself():
    one = frame()
    laid = Placement().plain(one, SIZE)
    image, depth, rays, labels = laid.image, laid.depth, laid.rays, laid.labels
    np.testing.assert_array_equal(image, one.image)
    np.testing.assert_array_equal(depth, one.depth.astype(np.float32))
    np.testing.assert_allclose(rays, one.rays, atol=1e-6)
    np.testing.assert_array_equal(labels, one.labels)


@pytest.mark.parametrize("mirror", [False, True])
def test_a_quarter_turn_moves_pixels_and_turns_their_rays(mirror):
    one = frame(size=(40, 40))
    laid = placed(one, (40, 40), math.pi / 2, 1.0, np.zeros(2), mirror)
    image, depth, rays = laid.image, laid.depth, laid.rays
    expected = np.rot90(one.image[:, ::-1] if mirror else one.image, -1)  # y points down: a turn from x to y
    np.testing.assert_array_equal(image[1:-1, 1:-1], expected[1:-1, 1:-1])
    flipped = one.rays.astype(np.float32) * ([-1, 1] if mirror else [1, 1])
    source = np.rot90(flipped[:, ::-1] if mirror else flipped, -1)
    np.testing.assert_allclose(rays[1:-1, 1:-1, 0], -source[1:-1, 1:-1, 1], atol=2e-3)
    np.testing.assert_allclose(rays[1:-1, 1:-1, 1], source[1:-1, 1:-1, 0], atol=2e-3)
    assert set(np.unique(depth)) <= {0.0, *np.unique(one.depth.astype(np.float32))}  # none lies between two


def test_a_zoom_leaves_the_ray_of_a_point_with_the_point():
    one = frame()
    laid = placed(one, SIZE, 0.3, 1.4, np.array([2.0, -1.0]), False)
    depth, rays = laid.depth, laid.rays
    z = depth[20, 30]
    # the wall's plane a X + b Y + Z = 15 holds for the turned point too
    draw = np.random.default_rng(0)
    a, b = draw.uniform(-0.8, 0.8, 2)
    angle = np.hypot(*rays[20, 30])
    ray = rays[20, 30] / angle * np.tan(angle)
    c, s = math.cos(0.3), math.sin(0.3)
    x, y = c * ray[0] + s * ray[1], -s * ray[0] + c * ray[1]
    assert z * (1 + a * x + b * y) == pytest.approx(15.0, rel=0.02)  # depth is that of the nearest pixel


def batch_of(count: int = 4) -> StillBatch:
    draws = StillDraws(Walls((), count), (SIZE,), Placement(), 0)
    return draws.batch(list(range(count)))


@dataclass(frozen=True, eq=False)
class Walls(StillStore):
    """Frames that are made when they are asked for."""

    count: int = 1

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> StillFrame:
        return frame(number)


def test_tools_and_the_dark_rim_are_not_learned_from():
    batch = batch_of()
    assert (batch.depth[~batch.content] == 0).all()
    plain = placed(frame(), SIZE, 0.0, 1.0, np.zeros(2), False)
    whole = gathered([plain], [0])
    assert (whole.depth[0, -6:, -6:] == 0).all() and whole.content[0, -6:, -6:].all()
    assert (whole.depth[0, 10:20, 10:20] > 0).all()


def middles(wander: float) -> list[float]:
    """How far the optical axis lies from the middle of windows at a zoom of 2, in half windows."""
    placement = Placement(0.0, 0.0, closest=2.0, farthest=2.0, shift=0.0, wander=wander, flip=False)
    found = []
    for seed in range(40):
        rays = placement(frame(), SIZE, np.random.default_rng(seed)).rays
        away = np.linalg.norm(rays, axis=-1)
        row, column = np.unravel_index(away.argmin(), away.shape)
        found.append(max(abs(column / SIZE[0] - 0.5), abs(row / SIZE[1] - 0.5)) * 2)
    return found


def test_a_window_on_a_part_of_a_frame_lies_anywhere_in_it():
    assert max(middles(0.0)) < 0.15
    wide = middles(1.0)
    assert max(wide) > 0.8 and np.mean(wide) > 0.4


def test_a_draw_is_a_function_of_its_number_alone():
    one, other = batch_of(4), StillDraws(Walls((), 4), (SIZE,), Placement(), 0).batch([2])
    torch.testing.assert_close(one.images[2], other.images[0])
    torch.testing.assert_close(one.rays[2], other.rays[0])


def test_looks_are_a_function_of_seed_and_draw_and_leave_the_truth_alone():
    batch, looks = batch_of(), Looks()
    one, again, other = looks(batch, 0), looks(batch, 0), looks(batch, 1)
    torch.testing.assert_close(one.images, again.images)
    assert (one.images - other.images).abs().mean() > 0.01
    torch.testing.assert_close(one.depth, batch.depth)
    assert one.images.min() >= 0 and one.images.max() <= 1
    assert (one.images * ~batch.content[:, None]).abs().max() == 0


def test_rays_are_left_out_of_so_many_frames():
    batch = batch_of(64)
    gone = Looks(no_rays=0.25)(batch, 0).rays.flatten(1).abs().amax(1) == 0
    assert 0.1 < float(gone.float().mean()) < 0.45


def test_looks_of_no_range_change_nothing():
    none = Looks(1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    batch = batch_of()
    expected = batch.images.float() / 255 * batch.content[:, None]
    torch.testing.assert_close(none(batch, 0).images, expected, atol=2e-3, rtol=0)


def test_light_that_falls_less_steeply():
    depth = torch.tensor([[[10.0, 20.0], [40.0, 0.0]]])
    lit = weaker_falloff(depth, torch.tensor([1.0]))[0, 0] ** 2.2
    assert float(lit[1, 0] / lit[0, 0]) == pytest.approx(4.0, rel=1e-4)  # a fourfold depth, one power less
    assert float(lit[1, 1]) == 1.0 and float(lit[0, 1]) == pytest.approx(1.0, rel=1e-4)


def test_walls_around_light_a_slit_and_what_is_outside_does_not():
    image = torch.full((2, 3, 40, 60), 0.8)
    image[:, :, :, 28:31] = 0.1
    content = torch.ones(2, 40, 60, dtype=torch.bool)
    content[:, :, 50:] = False
    lit = bounced(image, content, torch.tensor([0.4, 0.0]))
    assert float(lit[0, 0, 20, 29]) > 0.3 and float(lit[0, 0, 20, 10]) == pytest.approx(0.8, abs=0.02)
    assert float(lit[0, 0, 20, 48]) == pytest.approx(0.8, abs=0.02)  # beside the black rim
    torch.testing.assert_close(lit[1], image[1], atol=1e-4, rtol=0)


def naive_loss(log_depth: np.ndarray, depth: np.ndarray, weights: TrueDepthLoss) -> float:
    """The formulas of the module, pixel by pixel."""
    shape, scale = [], []
    centred = np.full(depth.shape, np.nan)
    for row in range(len(depth)):
        known = depth[row] > 0
        error = log_depth[row][known] - np.log(depth[row][known] / UNIT_MM)
        m = error.mean()
        shape.append(np.abs(error - m).mean())
        scale.append(math.sqrt(m * m + 1e-4))
        centred[row][known] = error - m
    gradient = 0.0
    for step in (1, 2, 4, 8):
        gradient += np.nanmean(np.abs(centred[:, step:] - centred[:, :-step]))
        gradient += np.nanmean(np.abs(centred[:, :, step:] - centred[:, :, :-step]))
    return np.mean(shape) + weights.scale_weight * np.mean(scale) + weights.gradient_weight * gradient


def test_the_loss_is_what_its_formulas_say():
    draw = np.random.default_rng(1)
    depth = draw.uniform(5, 50, (3, 20, 24)).astype(np.float32)
    depth[draw.random(depth.shape) < 0.3] = 0
    log_depth = draw.normal(0, 0.5, depth.shape).astype(np.float32)
    weights = TrueDepthLoss(0.3, 0.7, 0.1)
    losses = weights(DepthPrediction(torch.from_numpy(log_depth)), torch.from_numpy(depth))
    assert float(losses["loss"]) == pytest.approx(naive_loss(log_depth, depth, weights), rel=1e-5)


def test_the_true_depth_costs_nothing_and_a_factor_costs_scale_alone():
    depth = torch.rand(2, 16, 16) * 30 + 5
    true = DepthPrediction((depth / UNIT_MM).log())
    assert float(TrueDepthLoss(0.0)(true, depth)["loss"]) < 1e-5
    double = TrueDepthLoss()(DepthPrediction((2 * depth / UNIT_MM).log()), depth)
    assert float(double["shape"]) < 1e-5 and float(double["scale"]) == pytest.approx(math.log(2), abs=1e-3)


def test_the_told_deviation_teaches_depth_nothing():
    log_depth = torch.randn(1, 8, 8, requires_grad=True)
    log_std = torch.zeros(1, 8, 8, requires_grad=True)
    depth = torch.rand(1, 8, 8) + 5
    losses = TrueDepthLoss(0.0, 0.0, 1.0)(DepthPrediction(log_depth, log_std), depth)
    (losses["loss"] - losses["shape"]).backward()
    assert log_depth.grad is None or float(log_depth.grad.abs().max()) < 1e-7
    assert log_std.grad is not None and float(log_std.grad.abs().max()) > 0


def test_frames_without_true_depth_do_not_harm():
    log_depth = torch.randn(2, 8, 8, requires_grad=True)
    losses = TrueDepthLoss()(DepthPrediction(log_depth, torch.zeros(2, 8, 8)), torch.zeros(2, 8, 8))
    losses["loss"].backward()
    assert bool(losses["loss"].isfinite()) and bool(log_depth.grad.isfinite().all())  # type: ignore[union-attr]


class Oracle(torch.nn.Module):
    """Says the depth of the wall from its brightness, times a factor for each batch."""

    rays = True

    def __init__(self, deviation: float = 0.1) -> None:
        super().__init__()
        self.deviation, self.anything = deviation, torch.nn.Parameter(torch.zeros(1))

    def forward(self, images):
        light = images[:, 0].clamp_min(1e-3)
        return DepthPrediction(-0.5 * light.log(), torch.full_like(light, math.log(self.deviation)))


def test_validation_finds_a_right_network_right(tmp_path):
    found = UnseenPatients(store(tmp_path, (1, 2)), SIZE)(Oracle())
    assert found["abs_rel"] < 0.08 and found["one_scale"] < 0.1
    assert found["abs_rel_nasal"] == pytest.approx(found["abs_rel"])
    sure = UnseenPatients(StillStore.read([tmp_path]), SIZE)(Oracle(1e-4))
    assert found["within_1"] > 0.6 > 0.2 > sure["within_1"]


def small(steps: int) -> SimulatedDepth:
    training = Training(steps=steps, batch=4, validate_every=steps, save_every=3, log_every=3, precision="fp32")
    return SimulatedDepth(ResUNet(8, 3, 16, True, rays=True), sizes_px=((48, 40),), training=training)


def test_it_learns_and_resumes_to_the_same_weights(tmp_path):
    frames, unseen = store(tmp_path / "a", (0, 1)), store(tmp_path / "b", (2,))
    learn(small(6), frames, unseen, tmp_path / "whole", quiet=True)
    half = small(6)
    with pytest.raises(InterruptedRunError):
        _stopped(half, frames, unseen, tmp_path / "parts")
    learn(half, frames, unseen, tmp_path / "parts", resume=True, quiet=True)
    one, other = (load_checkpoint(tmp_path / name / "checkpoint.pt")["network"] for name in ("whole", "parts"))
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def _stopped(options, frames, unseen, out):
    """Stops as a signal does, after the third step."""
    calls, plain = [], TrueDepth.loss

    def counted(self, network, batch):
        calls.append(1)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGTERM)
        return plain(self, network, batch)

    with patch.object(TrueDepth, "loss", counted):
        learn(options, frames, unseen, out, quiet=True)


def test_it_goes_on_with_what_it_began_with_alone(tmp_path):
    frames, unseen = store(tmp_path / "a", (0, 1)), store(tmp_path / "b", (2,))
    learn(small(3), frames, unseen, tmp_path / "run", quiet=True)
    with pytest.raises(BadInputError, match="3 to 4"):
        learn(small(4), frames, unseen, tmp_path / "run", resume=True, quiet=True)
    fewer = StillStore(frames.patients[:1])
    with pytest.raises(BadInputError, match="the same stores"):
        learn(small(3), fewer, unseen, tmp_path / "run", resume=True, quiet=True)


def test_no_patient_is_learned_from_and_measured_on(tmp_path):
    frames = store(tmp_path / "a", (0,))
    with pytest.raises(BadInputError, match="other patients"):
        learn(small(2), frames, frames, tmp_path / "run", quiet=True)


def test_a_run_is_used_as_any_other(tmp_path):
    frames, unseen = store(tmp_path / "a", (0,)), store(tmp_path / "b", (1,))
    learn(small(2), frames, unseen, tmp_path / "run", quiet=True)
    model = load_model(tmp_path / "run")
    assert model.recipe.name == "simulated-depth"
    assert read_start(tmp_path / "run").network == small(2).network


def drawn(anatomy, patient_seed, draw_seed, count, size):
    """Walls in place of rendered stills."""
    for number in range(count):
        one = frame(1000 * patient_seed + number, size)
        camera = Camera(size, (40.0, 40.0), (size[0] / 2, size[1] / 2))
        yield SimpleNamespace(
            image=one.image,
            depth=one.depth,
            content=(one.labels & CONTENT) > 0,
            foreign=(one.labels & FOREIGN) > 0,
            camera=camera,
        )


@pytest.fixture
def walls(monkeypatch):
    monkeypatch.setattr("depthscope.simulation.stills.stills", drawn)


STILLS = ["--anatomy", "nasal", "--frames", "3", "--size", "64x48", "--workers", "1"]


def test_the_commands_from_stills_to_weights(tmp_path, walls, capsys):
    train, unseen, run = (str(tmp_path / name) for name in ("train", "unseen", "run"))
    assert main(["stills", "--out", train, "--patients", "2", *STILLS]) == 0
    assert main(["stills", "--out", unseen, "--patients", "1", "--split", "validation", *STILLS]) == 0
    packed = StillStore.read([tmp_path / "train"])
    assert len(packed) == 6 and [p.seed for p in packed.patients] == [0, 1]
    expected = frame(1001, (64, 48))
    np.testing.assert_array_equal(packed[4].image, expected.image)
    np.testing.assert_allclose(packed[4].rays, expected.rays, atol=2e-3)
    np.testing.assert_array_equal(packed[4].labels, expected.labels)
    options = ["--network.width", "8", "--network.levels", "3", "--network.widest", "16", "--sizes-px", "48", "40"]
    assert main(["pretrain", "depth", train, "--unseen", unseen, "--out", run, "--steps", "2", *options]) == 0
    assert "AbsRel on unseen patients" in capsys.readouterr().out
    assert json.loads((tmp_path / "run" / "result.json").read_text("utf-8"))["patients"] == 2
    assert main(["pretrain", "depth", train, "--unseen", unseen, "--out", run, "--steps", "2", *options]) == 2
    assert "--resume" in capsys.readouterr().err


def test_a_second_call_makes_what_is_missing(tmp_path, walls, capsys):
    out = str(tmp_path / "store")
    assert main(["stills", "--out", out, "--patients", "1", *STILLS]) == 0
    before = (tmp_path / "store" / "nasal_00000_0" / "images.npy").stat().st_mtime_ns
    assert main(["stills", "--out", out, "--patients", "2", *STILLS]) == 0
    assert "2 patients of 3 frames, 1 made" in capsys.readouterr().out
    assert (tmp_path / "store" / "nasal_00000_0" / "images.npy").stat().st_mtime_ns == before


@pytest.mark.parametrize("wrong", [["--patients", "0"], ["--frames", "0"], ["--seed", "9999", "--patients", "2"]])
def test_stills_out_of_range_are_refused(tmp_path, wrong, capsys):
    assert main(["stills", "--out", str(tmp_path / "store"), *wrong]) == 2
    assert not (tmp_path / "store").exists() and len(capsys.readouterr().err.splitlines()) == 1
