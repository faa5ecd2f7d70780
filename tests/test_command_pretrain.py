"""The verbs around pretext tasks: pretrain, train --encoder, transfer; and what they say of bad input."""

import json
import math
from pathlib import Path

import pytest
import torch

from depthscope.cli import main
from depthscope.networks.res_unet_encoder import ResUNetEncoder
from depthscope.networks.residual_encoder import ResidualEncoder
from depthscope.pretext import encoder_of, stored_options, write_encoder
from depthscope.pretrained.encoders import IMAGENET_WEIGHTS
from depthscope.recipes import FAST
from depthscope.simulation import Tube
from depthscope.training import LAST, load_checkpoint
from depthscope.training.train_state import NonFiniteLossError
from depthscope.transfer.arms import ARMS, BEYOND, SCRATCH, SCRATCH_LONG, TUNED, StoredRuns, best_rate, claim
from depthscope.transfer.depth import DepthProbe
from depthscope.video.class_masks import write_mask
from drawn_scenes import scene_folder
from tiny_runs import tube_clip

LITTLE = ["--steps", "3", "--training.batch", "8", "--training.log-every", "1", "--seeds", "4", "--encoder.width", "8"]


@pytest.fixture(scope="module")
def tube(tmp_path_factory) -> Path:
    """A clip with exact structure from motion."""
    place = tmp_path_factory.mktemp("tube") / "clip"
    tube_clip(place, Tube(frames=12, size_px=(96, 80), points=200, travel=0.9))
    return place


@pytest.fixture(scope="module")
def run(tube: Path, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("run") / "exemplar"
    assert main(["pretrain", "exemplar", str(tube), "--out", str(out), *LITTLE]) == 0
    return out


def test_it_leaves_an_encoder_and_says_what_scores_are_worth(run: Path, capsys: pytest.CaptureFixture) -> None:
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    assert result["task"] == "exemplar" and result["steps"] == 3 and result["frames"] == 12
    assert result["scores"][0]["beside"]["by chance"] == pytest.approx(0.25)
    name, options = stored_options(run)
    assert name == "exemplar" and options.seeds == 4 and options.encoder.width == 8
    assert encoder_of(run).width == 8 and encoder_of(run).weights.endswith("encoder.pt")
    assert (run / "provenance.yaml").is_file() and (run / "log.csv").is_file()


def test_it_goes_on_with_the_options_of_the_run(tube: Path, run: Path, tmp_path: Path) -> None:
    call = ["pretrain", "exemplar", str(tube), "--out", str(tmp_path / "run"), *LITTLE]
    assert main(call) == 0
    assert main(call) == 2  # there is a run already
    assert main(["pretrain", "exemplar", str(tube), "--out", str(tmp_path / "run"), "--steps", "5", "--resume"]) == 0
    assert stored_options(tmp_path / "run")[1].seeds == 4
    assert load_checkpoint(tmp_path / "run" / LAST)["step"] == 5


def test_depth_starts_from_the_encoder(tube: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    small = ["--steps", "1", "--training.batch", "2", "--supervision.area-px", "4000", "--training.ema", "0"]
    small += ["--training.optimiser.learning-rate", "1e-12"]
    assert main(["train", str(tube), "--encoder", str(run), "--out", str(tmp_path / "depth"), *small]) == 0
    weights = load_checkpoint(tmp_path / "depth" / LAST)["network"]
    for name, value in torch.load(run / "encoder.pt").items():
        assert torch.allclose(weights[f"encoder.{name}"], value, atol=1e-6)
    assert main(["predict", str(tmp_path / "depth"), str(tube), "--out", str(tmp_path / "maps")]) == 0
    capsys.readouterr()
    other = ["--recipe", "paper-2018", "--out", str(tmp_path / "other")]
    assert main(["train", str(tube), "--encoder", str(run), *other]) == 2
    assert "the network of paper-2018, a RedNet" in capsys.readouterr().err


def test_another_task_starts_from_the_encoder(tube: Path, run: Path, tmp_path: Path) -> None:
    call = ["pretrain", "exemplar", str(tube), "--out", str(tmp_path / "run"), "--encoder", str(run)]
    call += ["--steps", "1", "--training.batch", "8", "--seeds", "4", "--training.optimiser.learning-rate", "1e-12"]
    assert main(call) == 0
    before, after = (torch.load(place / "encoder.pt") for place in (run, tmp_path / "run"))
    assert all(torch.allclose(before[name], after[name], atol=1e-5) for name in before)


def test_a_residual_encoder_is_written_and_read(tmp_path: Path) -> None:
    encoder = ResidualEncoder().build()
    write_encoder(encoder, ResidualEncoder(), tmp_path)
    options = encoder_of(tmp_path)
    assert isinstance(options, ResidualEncoder)
    again = options.build()
    again.load(options.weights)
    assert all(torch.equal(a, b) for a, b in zip(encoder.parameters(), again.parameters(), strict=True))


def test_the_arms_differ_in_what_they_start_from_alone(tmp_path: Path) -> None:
    probe = DepthProbe(FAST, ResUNetEncoder(weights="encoder.pt"), 300, (), (), tmp_path)
    found = {arm: probe.recipe_of(arm, 1e-3, 0) for arm in ARMS}
    assert [one.network.frozen for one in found.values()] == [True, False, False, True, False]
    assert [bool(one.network.weights) for one in found.values()] == [False, False, False, True, True]
    assert found[SCRATCH_LONG].training.steps == FAST.training.steps + 300
    assert found[SCRATCH].training == found[TUNED].training == FAST.training


def test_seeds_that_disagree_make_no_gain() -> None:
    def rows(scratch: list[float], longer: list[float], tuned: list[float]) -> list[dict]:
        table = {SCRATCH: scratch, SCRATCH_LONG: longer, TUNED: tuned}
        return [{"share": 1.0, "arm": arm.name, "value": value} for arm, values in table.items() for value in values]

    assert claim(rows([0.2, 0.2], [0.3, 0.3], [0.1, 0.15]), 1.0, False)["verdict"] == "a gain"
    found = claim(rows([0.2, 0.2], [0.1, 0.1], [0.15, 0.12]), 1.0, False)
    assert found["verdict"] == "a loss" and found["against"] == SCRATCH_LONG.name
    assert claim(rows([0.2, 0.2], [0.3, 0.3], [0.1, 0.25]), 1.0, False)["verdict"] == "no gain"
    assert claim(rows([0.2, 0.2], [0.3, 0.3], [0.4, 0.35]), 1.0, True)["verdict"] == "a gain"


@pytest.mark.parametrize(
    ("optimum", "chosen", "word"),
    [(1e-3, 1e-3, ""), (9e-3, 9e-3, ""), (1e-6, 2.7e-5, ", the smallest tried"), (1.0, 0.027, ", the largest tried")],
)
def test_a_sweep_goes_on_where_its_last_rate_is_the_best(optimum: float, chosen: float, word: str) -> None:
    tried: list[float] = []

    def score(rate: float) -> float:
        tried.append(rate)
        return abs(math.log(rate / optimum))

    assert best_rate((3e-4, 1e-3, 3e-3), score) == (pytest.approx(chosen), word)
    assert len(tried) == len(set(tried)) <= 3 + BEYOND


def test_one_rate_is_no_sweep() -> None:
    assert best_rate((2e-3,), lambda rate: 1.0) == (2e-3, "")


class Diverging(DepthProbe):
    """Depth that cannot be learned, of no clips."""

    @property
    def head(self) -> dict[str, object]:
        return {}

    def validated(self, arm, share, rate, seed, run) -> float:
        raise NonFiniteLossError("the loss of step 3 is not finite", "a number", "lower the learning rate")


def test_a_rate_that_diverges_loses_the_sweep_and_ends_nothing(tmp_path: Path) -> None:
    probe, kept = (
        Diverging(FAST, ResUNetEncoder(), 0, (), (), tmp_path),
        StoredRuns(tmp_path / "runs", tmp_path / "runs", {}),
    )
    assert kept.score(probe, SCRATCH, 1.0, 1.0, 0) == math.inf
    assert kept.score(probe, SCRATCH, 1.0, 1.0, 0) == math.inf  # from the file
    with pytest.raises(NonFiniteLossError, match="scratch diverges at the learning rate 1"):
        kept.value(probe, SCRATCH, 1.0, 1.0, 0)


def test_baselines_of_encoders_of_other_shapes_do_not_meet(tmp_path: Path) -> None:
    kept = StoredRuns(tmp_path / "runs", tmp_path / "baselines", {})

    def run_of(encoder: ResUNetEncoder) -> Path:
        return kept.run_of(Diverging(FAST, encoder, 0, (), (), tmp_path), SCRATCH, 1.0, 1e-3, 0)

    (run_of(ResUNetEncoder()) / "score.json").write_text("0.1")
    assert not (run_of(ResUNetEncoder(width=8)) / "score.json").is_file()
    assert (run_of(ResUNetEncoder(weights="another.pt")) / "score.json").is_file()


@pytest.mark.slow
def test_transfer_writes_one_table(tube: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    twin = tmp_path / "other" / "clip"
    twin.parent.mkdir()
    twin.symlink_to(tube)
    call = ["transfer", str(run), str(tube), str(twin), "--steps", "1", "--seeds", "1", "--shares", "1.0"]
    call += ["--rates", "1e-3", "--area-px", "3000", "--batch", "2", "--out", str(tmp_path / "out")]
    assert main(call) == 0
    result = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    assert [row["arm"] for row in result["rows"]] == [arm.name for arm in ARMS] and result["pretext_steps"] == 3
    assert result["tested_on"] != result["trained_on"]
    assert "| 100% |" in (tmp_path / "out" / "transfer.md").read_text(encoding="utf-8")
    frozen = load_checkpoint(tmp_path / "out" / "runs" / "1" / "pretext-frozen" / "0.001-0" / LAST)["network"]
    for name, value in torch.load(run / "encoder.pt").items():
        assert torch.equal(frozen[f"encoder.{name}"], value)
    stamps = stamped(tmp_path / "out" / "runs")
    assert main(call) == 0 and stamped(tmp_path / "out" / "runs") == stamps  # nothing is trained again
    other = [*call[:-1], str(tmp_path / "other-out"), "--baselines", str(tmp_path / "out" / "runs")]
    assert main(other) == 0 and stamped(tmp_path / "out" / "runs") == stamps
    assert [path.name for path in (tmp_path / "other-out" / "runs" / "1").iterdir()].count("scratch") == 0
    assert main([*other, "--steps", "2"]) == 0  # another question: runs of the first one do not answer it
    assert set(stamped(tmp_path / "out" / "runs").items()).isdisjoint(
        (path, stamp) for path, stamp in stamps.items() if "pretext" not in path
    )
    capsys.readouterr()
    assert main(["transfer", str(run), str(tube), "--out", str(tmp_path / "one")]) == 2
    assert "two or more" in capsys.readouterr().err


def stamped(runs: Path) -> dict[str, int]:
    """When each run of a transfer was scored."""
    return {str(path.relative_to(runs)): path.stat().st_mtime_ns for path in runs.rglob("score.json")}


def test_bad_input_is_told_in_one_line(tube: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = ["--out", str(tmp_path / "bad")]
    for call, told in (
        (["pretrain", "rotation", str(tube), *out], "no pretext task 'rotation'"),
        (["pretrain"], "no task"),
        (["pretrain", "exemplar", str(tmp_path / "none.mp4"), *out], "is missing"),
        (["train", str(tube), "--encoder", str(tube), *out], "has no encoder.pt"),
        (["pretrain", "exemplar", str(tube), "--resume", *out], "checkpoint"),
    ):
        assert main(call) == 2
        assert told in capsys.readouterr().err
        assert not (tmp_path / "bad").exists()


def test_transfer_tries_segmentation_where_masks_are_given(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    truth = scene_folder(tmp_path / "frames", 12)
    (tmp_path / "masks").mkdir()
    for number in (1, 3, 5, 7, 9, 11):
        write_mask(tmp_path / "masks" / f"{number:03d}.png", truth[number])
    call = ["transfer", str(run), str(tmp_path / "frames"), "--steps", "2", "--seeds", "1", "--shares", "0.5", "1.0"]
    call += [
        "--rates",
        "1e-3",
        "--area-px",
        "4096",
        "--labels",
        str(tmp_path / "masks"),
        "--out",
        str(tmp_path / "out"),
    ]
    assert main(call) == 0
    result = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    assert result["figure"] == "Dice" and len(result["rows"]) == 2 * len(ARMS)
    assert (result["trained_on"], result["chosen_by"], result["tested_on"]) == (3, 1, 2)
    assert all(0 <= row["value"] <= 1 for row in result["rows"]) and 0 <= result["place alone"] <= 1
    capsys.readouterr()
    for number in (1, 3, 5, 7):
        (tmp_path / "masks" / f"{number:03d}.png").unlink()
    assert main([*call[:-1], str(tmp_path / "few")]) == 2
    assert "draw more" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("named", ["shipped", "imagenet"])
def test_an_encoder_from_a_package_has_no_long_arm(tube: Path, tmp_path: Path, named: str) -> None:
    if named == "imagenet" and IMAGENET_WEIGHTS.path is None:
        pytest.skip("its package is not installed")
    twin = tmp_path / "other" / "clip"
    twin.parent.mkdir()
    twin.symlink_to(tube)
    call = ["transfer", named, str(tube), str(twin), "--steps", "1", "--seeds", "1", "--shares", "1.0"]
    call += ["--rates", "1e-3", "--area-px", "3000", "--batch", "2", "--out", str(tmp_path / "out")]
    assert main([*call, *(["--recipe", "monodepth2-m"] if named == "imagenet" else [])]) == 0
    result = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    assert SCRATCH_LONG.name not in [row["arm"] for row in result["rows"]] and len(result["rows"]) == len(ARMS) - 1
    assert SCRATCH_LONG.name not in (tmp_path / "out" / "transfer.md").read_text(encoding="utf-8")
    assert result["claims"]["1"]["against"] == SCRATCH.name and result["task"] == named
