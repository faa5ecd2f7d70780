"""The training loop: what a step does, what an interruption leaves, and that nothing but the seed decides a run."""

import contextlib
import csv
import json
import math
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

import depthscope.supervision.store as store_module
from depthscope.cli import main
from depthscope.errors import BadInputError, InterruptedRunError
from depthscope.geometry import Pinhole
from depthscope.geometry.scale import LogMean
from depthscope.networks import as_prediction
from depthscope.recipes import FAST, RECIPES, to_yaml
from depthscope.runs import HeldOutPoints, predicted, prepared, relative_errors, scale_of, train_recipe
from depthscope.supervision import Holdout
from depthscope.training import (
    BEST,
    LAST,
    Augmentation,
    Constant,
    Cosine,
    PairDraws,
    Sgd,
    SiameseDepth,
    Triangular,
    launched,
    load_checkpoint,
    save_checkpoint,
    train,
)
from depthscope.training.augmentation import mirrored
from depthscope.training.options import resolved_precision
from depthscope.training.train_state import NonFiniteLossError
from tiny_runs import TINY, tiny, tube_clip

TESTS = Path(__file__).parent


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A sequence folder, the sequence, and a folder for its store of frames."""
    folder = tmp_path_factory.mktemp("data")
    return folder / "tube", tube_clip(folder / "tube"), folder / "store"


@pytest.fixture(scope="module")
def clip(data):
    (clip,), _ = prepared([data[1]], TINY, data[2])
    return clip


@pytest.fixture(scope="module")
def draws(clip):
    return PairDraws((clip,), seed=0)


def task_of(recipe=TINY, **changes) -> SiameseDepth:
    torch.manual_seed(recipe.training.seed)
    network = recipe.network.build()
    return replace(SiameseDepth(network, recipe.objective, recipe.augmentation), **changes)


def checkpoint(data, out: Path, recipe=TINY, **options) -> dict:
    """What a run of the recipe leaves."""
    train_recipe(recipe, [data[1]], out, store=data[2], quiet=True, **options)
    return load_checkpoint(out / LAST)


def differences(one, other, path="") -> list[str]:
    """Where two checkpoints differ in any bit; how long a run took is not part of it."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        return [d for key in one if key != "seconds" for d in differences(one[key], other[key], f"{path}.{key}")]
    if isinstance(one, torch.Tensor):
        return [] if torch.equal(one, other) else [path]
    if isinstance(one, list):
        return [d for n, (a, b) in enumerate(zip(one, other, strict=True)) for d in differences(a, b, f"{path}.{n}")]
    return [] if one == other else [path]


def weights(content: dict) -> torch.Tensor:
    return torch.cat([value.flatten() for value in content["training_network"].values()])


def steps_in(table: Path) -> list[int]:
    with table.open() as stream:
        return [int(row["step"]) for row in csv.DictReader(stream)]


# --- learning


def test_two_steps_change_every_parameter(data, tmp_path):
    before = task_of().network.state_dict()
    after = checkpoint(data, tmp_path, tiny(steps=2))["training_network"]
    assert [name for name in before if torch.equal(before[name], after[name])] == []


def test_one_pair_can_be_learned_by_heart(clip, tmp_path):
    one = replace(clip, pairs=clip.pairs[-1:])
    task = task_of(augmentation=Augmentation())
    train(task, PairDraws((one,)), tiny(steps=40, batch=1, ema=0.0).training, tmp_path, quiet=True)
    frames = clip.pairs[-1]

    def error(log_depth) -> float:
        points = clip.points[frames]
        log_depth = log_depth + scale_of(log_depth, points).log_factor[:, None, None]
        return float(relative_errors(log_depth, points)[points.weight > 0].mean())

    with torch.no_grad():
        learned = predicted(task.network, clip, frames, batch=2)
    assert error(learned) < 0.5 * error(torch.zeros_like(learned))  # zero is a flat wall


def test_validation_is_repeatable(clip):
    network, measure = task_of().network.eval(), HeldOutPoints((clip,))
    with torch.no_grad():
        first, again = measure(network), measure(network)
    assert first == again
    assert first["frames"] == 8 and 0 < first["score"] < first["abs_rel"]


def test_whole_clips_are_kept_from_training(data, tmp_path):
    clips = [replace(data[1], name=f"clip-{number}") for number in range(8)]
    recipe = replace(TINY, supervision=replace(TINY.supervision, holdout=Holdout(sequences=0.3)))
    trained, unseen = prepared(clips, recipe, tmp_path)
    assert (len(trained), len(unseen)) == (6, 2)
    assert {one.name for one in (*trained, *unseen)} == {clip.name for clip in clips}
    trained, unseen = prepared(clips[:2], recipe, tmp_path)
    assert (len(trained), len(unseen)) == (2, 0)  # of a few, all are trained on
    with pytest.raises(BadInputError, match="two sequences called"):
        prepared([data[1], data[1]], recipe, tmp_path)


# --- the same run, whatever interrupts it and whoever computes it


@pytest.fixture(scope="module")
def arguments(data, tmp_path_factory):
    """The command line of a run of 12 steps, but for its --out."""
    config = tmp_path_factory.mktemp("config") / "tiny.yaml"
    config.write_text(to_yaml(tiny(steps=12, validate_every=3, save_every=4)))
    return ["train", str(data[0]), "--store", str(data[2]), "--config", str(config)]


@pytest.fixture(scope="module")
def uninterrupted(arguments, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "whole"
    assert main([*arguments, "--out", str(out)]) == 0
    return out


def child(arguments: list[str], launcher: tuple[str, ...] = (), **environment: str) -> subprocess.Popen:
    paths = os.pathsep.join([str(TESTS.parent / "src"), str(TESTS)])
    return subprocess.Popen(
        [sys.executable, *launcher, str(TESTS / "child_train.py"), *arguments],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_interrupted_and_resumed_equals_uninterrupted(number, arguments, uninterrupted, tmp_path, capsys):
    out = tmp_path / "run"
    process = child([*arguments, "--out", str(out)], HOLD_AT="24")  # 4 draws in a step: the seventh
    for line in process.stdout:
        if line == "holding\n":
            break
    process.send_signal(number)
    _, told = process.communicate("go on\n", timeout=240)
    assert process.returncode == 130, told
    assert told.startswith("interrupted: stopped after 7 of 12 steps") and told.count("\n") == 1
    assert load_checkpoint(out / LAST)["step"] == 7
    assert not (out / "result.json").exists()

    assert main([*arguments, "--out", str(out), "--resume"]) == 0
    for name in (LAST, BEST):
        found, expected = load_checkpoint(out / name), load_checkpoint(uninterrupted / name)
        assert differences(found, expected) == []
    for name in ("log.csv", "validation.csv"):
        assert (out / name).read_bytes() == (uninterrupted / name).read_bytes()
    assert steps_in(uninterrupted / "log.csv") == [2, 3, 4, 6, 8, 9, 10, 12]


def test_a_resumed_run_forgets_what_came_after_its_checkpoint(arguments, uninterrupted, data, tmp_path):
    """As after a power cut: the logs are ahead of the checkpoint."""
    out = tmp_path / "run"
    recipe = tiny(steps=12, validate_every=3, save_every=4)
    stopping = StoppedTask(task_of(), at_step=6)
    (clip,), _ = prepared([data[1]], recipe, data[2])
    record = {"recipe": to_yaml(recipe), "sequences": [data[1].name]}
    with pytest.raises(KeyError):
        train(stopping, PairDraws((clip,)), recipe.training, out, validate=HeldOutPoints((clip,)), record=record)
    assert load_checkpoint(out / LAST)["step"] == 4
    assert steps_in(out / "log.csv")[-1] == 6
    checkpoint(data, out, recipe, resume=True)
    for name in ("log.csv", "validation.csv"):
        assert (out / name).read_bytes() == (uninterrupted / name).read_bytes()


@dataclass(frozen=True)
class StoppedTask:
    """A task that breaks at a step."""

    task: SiameseDepth
    at_step: int

    @property
    def network(self):
        return self.task.network

    def loss(self, network, batch):
        if int(batch.draws[0]) >= 4 * self.at_step:
            raise KeyError("broken")
        return self.task.loss(network, batch)


@pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker processes")  # the machine may have two cores
def test_three_loader_workers_equal_none(data, tmp_path):
    here = checkpoint(data, tmp_path / "here", tiny(workers=0))
    there = checkpoint(data, tmp_path / "there", tiny(workers=3))
    assert set(differences(here, there)) == {".recipe"}


RUNS_ON_TWO = [
    pytest.param({"HOLD_AT": "11", "SIGNAL_SELF": "1"}, id="and_one_goes_on"),  # draw 11 is the second process's
    pytest.param({}, id="throughout", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("environment", RUNS_ON_TWO)
def test_two_processes_equal_one(environment, data, arguments, tmp_path):
    recipe = tiny(steps=4, validate_every=2, save_every=2, optimiser=Sgd(0.02, momentum=0.9))
    # Few steps, and no trimmed mean: every step amplifies rounding where a point, pixel or ReLU is in or out by it.
    recipe = replace(recipe, objective=replace(recipe.objective, scale=LogMean()))
    # Not Adam: it divides by the gradient's size, and that of the head's bias is rounding alone (scale is free).
    (tmp_path / "sgd.yaml").write_text(to_yaml(recipe))
    arguments = [*arguments[:-1], str(tmp_path / "sgd.yaml")]
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    out = tmp_path / "two"
    # Without --training.devices: torchrun says how many there are.
    process = child([*arguments, "--out", str(out)], launcher, **environment)
    expected = weights(checkpoint(data, tmp_path / "one", recipe))
    said, told = process.communicate(timeout=240)
    assert (process.returncode == 0) == (not environment), told
    if environment:
        assert load_checkpoint(out / LAST)["step"] == 3
        assert main([*arguments, "--out", str(out), "--resume", "--training.devices", "1"]) == 0

    start = torch.cat([value.flatten() for value in task_of().network.state_dict().values()])
    assert float((expected - start).abs().max()) > 1e-3
    found = load_checkpoint(out / LAST)
    assert found["step"] == 4
    # The mean over pairs is summed in another order, in single precision.
    torch.testing.assert_close(weights(found), expected, atol=1e-6, rtol=0)
    assert steps_in(out / "validation.csv") == [2, 4]  # one process writes
    if not environment:
        assert said.count(" observations") == said.count("carries no verdict") == 1  # and one speaks
        with (out / "log.csv").open() as two, (tmp_path / "one" / "log.csv").open() as one:
            losses = [[float(row["loss"]) for row in csv.DictReader(stream)] for stream in (two, one)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)  # of all pairs, not of the first process's share
        assert said.count("4 steps in") == said.count("next: depthscope predict") == 1
        assert json.loads((out / "result.json").read_text("utf-8"))["steps"] == 4
        assert list(tmp_path.rglob("*.partial")) == []


def test_the_seed_decides(data, tmp_path):
    one, other = (checkpoint(data, tmp_path / str(seed), tiny(steps=2, seed=seed)) for seed in (0, 1))
    again = checkpoint(data, tmp_path / "again", tiny(steps=2, seed=1))
    assert differences(other, again) == []
    assert not torch.equal(weights(one), weights(other))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"seed": 5}, "'seed: 0' to 'seed: 5'"),
        ({"steps": 13}, "'steps: 12' to 'steps: 13'"),
    ],
)
def test_a_run_goes_on_only_with_its_recipe(change, told, data, uninterrupted):
    before = (uninterrupted / LAST).read_bytes()
    recipe = tiny(**{"steps": 12, "validate_every": 3, "save_every": 4, **change})
    with pytest.raises(BadInputError, match=told):
        checkpoint(data, uninterrupted, recipe, resume=True)
    assert (uninterrupted / LAST).read_bytes() == before


def test_a_run_goes_on_only_with_its_sequences(data, uninterrupted):
    recipe = tiny(steps=12, validate_every=3, save_every=4)
    with pytest.raises(BadInputError, match="other sequences"):
        train_recipe(recipe, [replace(data[1], name="another")], uninterrupted, store=data[2], quiet=True, resume=True)


def test_there_must_be_something_to_resume(data, tmp_path):
    with pytest.raises(BadInputError, match="is missing"):
        checkpoint(data, tmp_path, resume=True)


# --- draws and augmentation


def test_each_epoch_shows_each_pair_once_in_another_order(clip, draws):
    size = len(draws)
    assert size == len(clip.pairs) == 28
    orders = [[draws.pair(n)[1:] for n in range(epoch * size, (epoch + 1) * size)] for epoch in (0, 1)]
    every = {tuple(pair) for pair in clip.pairs.tolist()}
    assert [set(order) == every for order in orders] == [True, True]
    assert orders[0] != orders[1]
    assert orders[0] != [PairDraws((clip,), seed=1).pair(n)[1:] for n in range(size)]


def fields_of(batch) -> dict[str, torch.Tensor]:
    return {
        "images": batch.images,
        "mask": batch.mask,
        "focal": batch.camera.focal_px,
        "centre": batch.camera.centre_px,
        "rotation": batch.k_from_j.rotation,
        "translation": batch.k_from_j.translation,
        "pixels": batch.points.pixels,
        "depth": batch.points.depth,
        "weight": batch.points.weight,
        "draws": batch.draws,
    }


@pytest.mark.parametrize("augmentation", [None, TINY.augmentation, replace(TINY.augmentation, apart=True)])
def test_an_example_does_not_depend_on_its_neighbours(draws, augmentation):
    seen = [draws.batch(numbers) for numbers in ([5], [3, 4, 5, 6], [40, 5])]
    if augmentation is not None:
        seen = [augmentation(batch, 0) for batch in seen]
    alone, *others = (
        {name: value[row] for name, value in fields_of(batch).items()}
        for batch, row in zip(seen, (0, 2, 1), strict=True)
    )
    for other in others:
        assert differences(alone, other) == []


def test_a_seen_image_is_changed_as_asked_and_black_outside_the_mask(draws):
    batch = draws.batch(range(8))
    plain = Augmentation()(batch, 0).images
    mask = batch.mask[:, :, None].expand_as(plain)
    assert torch.equal(plain, batch.images.float() / 255 * batch.mask[:, :, None])
    noisy = Augmentation(noise=0.05)(batch, 0).images
    middle = mask & (plain > 0.2) & (plain < 0.8)  # where noise of 4 sigma is not cut off
    assert float((noisy - plain)[middle].std()) == pytest.approx(0.05, rel=0.02)  # some 50,000 draws
    assert not bool(noisy[~mask].any())
    together = Augmentation(colour=0.3)(batch, 0).images
    apart = Augmentation(colour=0.3, apart=True)(batch, 0).images
    assert torch.equal(together[:, 0], apart[:, 0]) and not torch.equal(together[:, 1], apart[:, 1])


def test_a_mirrored_pair_is_the_same_scene_in_a_mirror(draws):
    batch = draws.batch([0, 1])
    turned = mirrored(batch, torch.tensor([True, False]))
    width = batch.images.shape[-1]
    kept, same = ({n: v[1] for n, v in fields_of(b).items()} for b in (batch, turned))
    assert differences(kept, same) == []

    camera, mirror_camera = (Pinhole(b.camera.focal_px[0], b.camera.centre_px[0]) for b in (batch, turned))
    x, y = batch.points.pixels[0, 0].unbind(-1)
    across, down = turned.points.pixels[0, 0].unbind(-1)
    torch.testing.assert_close((across, down), (width - x, y))
    depth = batch.points.depth[0, 0, :, None]
    moved = batch.k_from_j[0].apply(depth * camera.unproject(batch.points.pixels[0, 0]))
    mirror_moved = turned.k_from_j[0].apply(depth * mirror_camera.unproject(turned.points.pixels[0, 0]))
    x, y = camera.project(moved).unbind(-1)
    across, down = mirror_camera.project(mirror_moved).unbind(-1)
    # Single precision at 100 px.
    torch.testing.assert_close((across, down), (width - x, y), atol=1e-4, rtol=0)
    torch.testing.assert_close(mirror_moved[:, 2], moved[:, 2], atol=1e-5, rtol=0)
    assert torch.equal(turned.images[0], batch.images[0].flip(-1))
    assert torch.equal(turned.mask[0], batch.mask[0].flip(-1))
    assert float(torch.linalg.det(turned.k_from_j.rotation)[0]) == pytest.approx(1, abs=1e-5)


def test_half_of_the_pairs_are_mirrored(draws):
    batch = draws.batch(range(64))
    seen = Augmentation(flip=True)(batch, 0)
    turned = (seen.camera.centre_px != batch.camera.centre_px).any(-1)
    assert 20 <= int(turned.sum()) <= 44  # 3 standard deviations of 64 coins


# --- what a step does


def test_without_ema_the_exported_weights_are_the_trained_ones(data, tmp_path):
    plain = checkpoint(data, tmp_path / "plain", tiny(steps=3, ema=0.0))
    assert differences(plain["network"], plain["training_network"]) == []
    averaged = checkpoint(data, tmp_path / "averaged", tiny(steps=3))
    assert differences(averaged["training_network"], plain["training_network"]) == []
    assert len(differences(averaged["network"], plain["network"])) == len(plain["network"])


def test_clipping_bounds_the_step(data, tmp_path):
    start = torch.cat([value.flatten() for value in task_of().network.state_dict().values()])
    for limit in (0.01, 0.02):
        recipe = tiny(steps=1, optimiser=Sgd(1.0, momentum=0.0), clip_norm=limit)
        moved = weights(checkpoint(data, tmp_path / str(limit), recipe)) - start
        assert float(moved.norm()) == pytest.approx(limit, rel=1e-3)  # weights of size 1 round at 1e-7


@dataclass(frozen=True)
class SpoiledTask:
    """A task whose loss, or only its gradient, is not a number from a draw on."""

    task: SiameseDepth
    from_draw: int
    gradient_only: bool = False

    @property
    def network(self):
        return self.task.network

    def loss(self, network, batch):
        losses = self.task.loss(network, batch)
        if int(batch.draws.max()) >= self.from_draw:
            nothing = losses["loss"] - losses["loss"]
            losses["loss"] = losses["loss"] + (nothing.sqrt() if self.gradient_only else nothing / nothing)
        return losses


@pytest.mark.parametrize("gradient_only", [False, True])
def test_a_loss_that_is_no_number_stops_the_run_and_spares_the_checkpoint(draws, tmp_path, gradient_only):
    options = tiny(steps=8, save_every=2, log_every=100).training
    spoiled = SpoiledTask(task_of(), from_draw=14, gradient_only=gradient_only)
    with pytest.raises(NonFiniteLossError, match="step 3 .*draws 12 to 15"):
        train(spoiled, draws, options, tmp_path, quiet=True)
    left = load_checkpoint(tmp_path / LAST)
    assert left["step"] == 2
    assert bool(weights(left).isfinite().all())
    assert steps_in(tmp_path / "log.csv") == ([2, 4] if gradient_only else [2])  # that loss was a number still


def test_schedules():
    assert [Constant()(step, 10) for step in (0, 9)] == [1, 1]
    cosine = Cosine(warmup=0.1, last=0.2)
    assert cosine(0, 100) == pytest.approx(0.1) and cosine(9, 100) == 1 and cosine(10, 100) == 1
    assert cosine(55, 100) == pytest.approx(0.6)  # half of the way down from 1 to 0.2
    assert cosine(100, 100) == pytest.approx(0.2)
    falling = [cosine(step, 100) for step in range(10, 101)]
    assert falling == sorted(falling, reverse=True)
    assert 0 < Cosine()(0, 1) <= 1
    triangular = Triangular(low=0.1, half_cycle=10)
    assert [triangular(step, 99) for step in (0, 10, 20, 30)] == pytest.approx([0.1, 1, 0.1, 1])
    assert triangular(5, 99) == pytest.approx(0.55) and triangular(15, 99) == pytest.approx(0.55)


def test_the_schedule_reaches_the_optimiser(data, tmp_path):
    plain = tiny(steps=1, optimiser=Sgd(1.0, momentum=0.0), clip_norm=0.01)
    half = replace(plain, training=replace(plain.training, schedule=Triangular(low=0.5)))
    start = torch.cat([value.flatten() for value in task_of().network.state_dict().values()])
    moved = weights(checkpoint(data, tmp_path, half)) - start
    assert float(moved.norm()) == pytest.approx(0.005, rel=1e-3)  # weights of size 1 round at 1e-7


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"avx2"}, "fp32"),  # no units at all: a reference kernel
        ({"avx2", "avx512_f", "avx512_bw", "avx512_vl", "avx512_dq"}, "fp32"),  # Skylake: converts every number
        ({"avx2", "avx512_f", "avx512_bw", "avx512_vnni"}, "fp32"),  # Cascade Lake
        ({"avx2", "avx512_f", "avx512_bw", "avx512_bf16"}, "bf16"),  # Cooper Lake, Zen 4 and 5
        ({"avx2", "avx512_f", "avx512_bw", "avx512_bf16", "amx_tile", "amx_bf16"}, "bf16"),  # Sapphire Rapids
        ({"neon", "fp16_arith"}, "fp32"),
    ],
)
def test_auto_precision_follows_the_flags_of_the_processor(monkeypatch, flags, expected):
    names = ("avx2", "avx512_f", "avx512_bw", "avx512_vl", "avx512_dq", "avx512_vnni", "avx512_bf16", "amx_tile")
    capabilities = {name: name in flags for name in (*names, "amx_bf16")}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert resolved_precision("auto", "cpu") == expected
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert resolved_precision("auto", "cpu") == "fp32"


def test_auto_precision_on_a_gpu_is_bf16_only_where_it_has_units_for_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert resolved_precision("auto", "cuda") == "fp32"  # emulated bf16 is slower than fp32
    assert resolved_precision("auto", "mps") == "fp32"
    assert resolved_precision("bf16", "cpu") == "bf16" and resolved_precision("fp32", "cuda") == "fp32"


def loss_and_gradient(task: SiameseDepth, batch, precision="fp32") -> tuple[float, torch.Tensor]:
    fabric = launched(tiny(precision=precision).training)
    losses = task.loss(fabric.setup_module(task.network), batch)
    fabric.backward(losses["loss"])
    return float(losses["loss"].detach()), torch.cat([p.grad.flatten() for p in task.network.parameters()])


def test_bf16_agrees_with_fp32(draws):
    batch = draws.batch(range(4))
    (loss, gradient), (rounded, about) = (loss_and_gradient(task_of(), batch, p) for p in ("fp32", "bf16"))
    assert not torch.equal(gradient, about)
    assert rounded == pytest.approx(loss, rel=1e-2)  # bf16 has 8 bits: 4e-3 for each activation
    assert float(torch.cosine_similarity(gradient, about, dim=0)) > 0.99


def test_channels_last_agrees_with_contiguous(draws):
    batch = draws.batch(range(4))
    loss, gradient = loss_and_gradient(task_of(channels_last=False), batch)
    task = task_of(channels_last=True)
    task.network.to(memory_format=torch.channels_last)
    other, about = loss_and_gradient(task, batch)
    assert other == pytest.approx(loss, rel=1e-5)  # sums in another order, in single precision
    torch.testing.assert_close(about, gradient, atol=1e-4 * float(gradient.abs().max()), rtol=0)


@pytest.mark.slow
def test_a_compiled_network_agrees_with_an_eager_one(arguments, tmp_path):
    found = []
    for on in (False, True):  # in a child: the shapes that tests check cannot be compiled
        (tmp_path / f"{on}.yaml").write_text(to_yaml(tiny(steps=2, compile=on)))
        process = child([*arguments[:-1], str(tmp_path / f"{on}.yaml"), "--out", str(tmp_path / str(on))])
        _, told = process.communicate(timeout=240)
        assert process.returncode == 0, told
        found.append(load_checkpoint(tmp_path / str(on) / LAST))
    eager, compiled = found
    # Two steps of Adam at 1e-3; where a gradient is nearly zero its sign may differ for a few weights.
    assert float((weights(eager) - weights(compiled)).abs().median()) < 1e-5
    assert differences(eager["network"].keys(), compiled["network"].keys()) == []


@dataclass(frozen=True, eq=False)
class SlowDraws:
    draws: PairDraws
    seconds: float

    def batch(self, numbers):
        time.sleep(self.seconds)
        return self.draws.batch(numbers)


def test_waiting_for_data_is_reported(draws, tmp_path):
    quick, slow = (
        train(task_of(), SlowDraws(draws, s), tiny(steps=3).training, tmp_path / str(s), quiet=True) for s in (0, 0.3)
    )
    assert 0 < quick.data_wait < 1
    for result, waited in ((quick, 0.0), (slow, 0.9)):
        seconds = 3 * 4 / result.pairs_per_second
        assert waited <= result.data_wait * seconds < seconds  # however busy the machine is
    with (tmp_path / "0.3" / "speed.csv").open() as stream:
        assert float(list(csv.DictReader(stream))[-1]["data_wait"]) == pytest.approx(slow.data_wait, rel=0.5)


# --- checkpoints


def test_the_best_checkpoint_is_that_of_the_smallest_score(draws, tmp_path):
    scores, seen = iter([3.0, 1.0, math.nan, 2.0]), []

    def validate(network):
        seen.append({name: value.clone() for name, value in network.state_dict().items()})
        return {"score": next(scores)}

    result = train(task_of(), draws, tiny(steps=4, validate_every=1).training, tmp_path, validate=validate, quiet=True)
    best = load_checkpoint(tmp_path / BEST)
    assert best["step"] == 2 and result.best == {"score": 1.0, "step": 2.0}
    assert differences(best["network"], seen[1]) == []
    assert differences(load_checkpoint(tmp_path / LAST)["network"], seen[3]) == []


def test_a_checkpoint_runs_no_code_when_loaded(uninterrupted):
    for name in (LAST, BEST):
        content = torch.load(uninterrupted / name, weights_only=True)
        assert content["recipe"] == (uninterrupted / "recipe.yaml").read_text("utf-8")


@contextlib.contextmanager
def no_file_larger_than(size: int):
    """The nearest to a full disk that needs no disk: writes beyond fail, as they do there."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_the_older_checkpoint(tmp_path):
    save_checkpoint(tmp_path / LAST, {"values": torch.arange(4)})
    with no_file_larger_than(20_000), pytest.raises(BadInputError, match="cannot write.*space"):
        save_checkpoint(tmp_path / LAST, {"values": torch.zeros(100_000)})
    assert load_checkpoint(tmp_path / LAST)["values"].tolist() == [0, 1, 2, 3]
    assert [path.name for path in tmp_path.iterdir()] == [LAST]


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_a_damaged_checkpoint_is_told(content, tmp_path):
    path = tmp_path / LAST
    save_checkpoint(path, {"values": torch.arange(1000)})
    path.write_bytes(path.read_bytes()[:2000] if content is None else content)
    with pytest.raises(BadInputError, match="cannot be read"):
        load_checkpoint(path)


def test_a_file_of_another_kind_is_told(tmp_path):
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({"state_dict": {}}, tmp_path / "other.pt")
    for name, found in (("list.pt", "list"), ("other.pt", "None")):
        with pytest.raises(BadInputError, match=f"has layout {found}"):
            load_checkpoint(tmp_path / name)


def test_a_stop_at_the_last_step_is_no_interruption(draws, tmp_path):
    class Last(SlowDraws):
        def batch(self, numbers):
            if 3 in numbers:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().batch(numbers)

    before = signal.getsignal(signal.SIGTERM)
    assert train(task_of(), Last(draws, 0), tiny(steps=1).training, tmp_path / "a", quiet=True).steps == 1
    with pytest.raises(InterruptedRunError, match="1 of 2 steps"):
        train(task_of(), Last(draws, 0), tiny(steps=2).training, tmp_path / "b", quiet=True)
    with pytest.raises(InterruptedRunError, match="1 of 1 steps"):
        train(task_of(), Last(draws, 0), tiny(steps=1).training, tmp_path / "c", more=True, quiet=True)
    assert signal.getsignal(signal.SIGTERM) is before


# --- counters (they never flicker; a change of one must be meant)


def test_one_network_call_and_one_sampling_grid_in_a_step(draws, monkeypatch):
    task, batch = task_of(), draws.batch(range(4))
    height, width = batch.images.shape[-2:]
    calls, grids = [], []
    task.network.register_forward_hook(lambda module, inputs, output: calls.append(len(inputs[0])))
    sample = torch.nn.functional.grid_sample

    def counted(maps, grid, **options):
        if grid.shape[1] * grid.shape[2] == height * width:
            grids.append(len(maps))
        return sample(maps, grid, **options)

    monkeypatch.setattr(torch.nn.functional, "grid_sample", counted)
    task.loss(task.network, batch)
    assert calls == [8]  # both frames of four pairs
    assert grids == [8]  # both directions of four pairs


def test_no_frame_is_decoded_twice(data, tmp_path, monkeypatch):
    decoded, read = [], store_module.read_image
    monkeypatch.setattr(store_module, "read_image", lambda path: decoded.append(path) or read(path))
    (clip,), _ = prepared([data[1]], TINY, tmp_path)
    assert len(decoded) == 8
    draws = PairDraws((clip,))
    for first in range(0, 2 * len(draws), 4):
        draws.batch(range(first, first + 4))
    prepared([data[1]], TINY, tmp_path)
    assert len(decoded) == 8


class NoHostWait(TorchDispatchMode):
    """Refuses what would make the host wait for the device."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.name()
        assert not any(word in name for word in ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero")), name
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("recipe", ["fast", "paper-2018", "tmi-2020"])
def test_no_step_waits_for_the_device(draws, recipe):
    task, batch = task_of(objective=RECIPES[recipe].objective), draws.batch(range(2))
    seen = task.augmentation(batch, 0)  # draws its numbers on the host
    with NoHostWait():
        prediction = as_prediction(task.network(seen.images.transpose(0, 1).flatten(0, 1)))
        task.objective(prediction, seen)["loss"].backward()


def test_operations_and_memory_of_the_recommended_network():
    with torch.device("meta"):
        network, images = FAST.network.build(), torch.empty(2, 3, 256, 320)
        with FlopCounterMode(display=False) as counter:
            network(images)
    kept = {}

    def pack(tensor):
        kept[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        FAST.network.build()(torch.zeros(2, 3, 256, 320))
    assert counter.get_total_flops() / 2e9 == pytest.approx(PAIR_GMAC, rel=0.01)
    assert sum(kept.values()) / 1e9 < PAIR_KEPT_GB


PAIR_GMAC, PAIR_KEPT_GB = 1.997, 0.21
"""Of one pair of 320 x 256; the reference has 10.7 and 0.21 for its ResNet-18."""
