"""Recipes: YAML there and back, what is told of a wrong one, and which of recipe, file and flag wins."""

from dataclasses import replace

import pytest

from depthscope.cli import main
from depthscope.commands.train import parse
from depthscope.errors import BadInputError
from depthscope.networks import FCDenseNet, RedNet, ResUNet
from depthscope.objectives.consistency import Absolute, LogDifference
from depthscope.recipes import FAST, PAPER_2018, RECIPES, from_yaml, read_recipe, recipe_named, to_yaml, with_steps
from depthscope.training import Adam, Sgd, Triangular
from tiny_runs import TINY, Wall

EVERY = [*RECIPES.values(), TINY, replace(FAST, name="wall", network=Wall(across=0.25))]


@pytest.mark.parametrize("recipe", EVERY, ids=[recipe.name for recipe in EVERY])
def test_a_recipe_comes_back_from_yaml(recipe):
    assert from_yaml(to_yaml(recipe)) == recipe
    assert to_yaml(from_yaml(to_yaml(recipe))) == to_yaml(recipe)


def test_recipes_are_found_by_either_name():
    assert recipe_named("paper-2018") is recipe_named("PAPER_2018") is PAPER_2018
    with pytest.raises(BadInputError, match="no recipe 'fats'.*fast, paper-2018, tmi-2020"):
        recipe_named("fats")


def test_a_file_changes_only_what_it_names():
    changed = from_yaml("training:\n  steps: 7\nobjective: {flow_weight: 3}\n", FAST)
    assert changed == replace(
        FAST, training=replace(FAST.training, steps=7), objective=replace(FAST.objective, flow_weight=3.0)
    )


def test_a_variant_is_chosen_by_type():
    changed = from_yaml(
        """
        network: {type: RedNet, width: 8}
        objective: {consistency: {type: LogDifference, width: 0.5}}
        training: {optimiser: {type: Sgd}, schedule: {type: Triangular, half_cycle: 9}}
        """,
        FAST,
    )
    assert changed.network == RedNet(width=8)  # nothing of the ResUNet is left
    assert changed.objective.consistency == LogDifference(0.5)
    assert changed.training.optimiser == Sgd()
    assert changed.training.schedule == Triangular(half_cycle=9)
    assert from_yaml("network: {width: 24}", FAST).network == replace(FAST.network, width=24)


def test_a_network_from_elsewhere_plugs_in():
    changed = from_yaml("network: {type: 'tiny_runs:Wall', across: 0.5}", FAST)
    assert changed.network == Wall(across=0.5)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("trainin: {steps: 3}", "unknown key 'trainin'.*did you mean training"),
        ("training: {stepz: 3}", "unknown key 'training.stepz'.*did you mean steps"),
        ("supervision: {pairs: {gap: 3}}", r"unknown key 'supervision\.pairs\.gap'.*did you mean m.._gap"),
        ("training: {optimiser: {momentum: 1}}", r"unknown key 'training\.optimiser\.momentum'.*option of Adam"),
        ("training: {colours: 3}", "unknown key 'training.colours'.*known are steps"),
        ("network: {type: RedNet, levels: 3}", r"unknown key 'network\.levels'.*option of RedNet"),
        ("training: {steps: many}", "training.steps"),
        ("augmentation: {flip: 'no'}", "augmentation.flip"),
        ("augmentation: {noise: loud}", "augmentation.noise"),
        ("training: {optimiser: {betas: [0.9, 1.0]}}", "betas"),
        ("training: {steps: 3.5}", "training.steps"),
        ("training: {optimiser: {type: Adma}}", r"training\.optimiser\.type is 'Adma'.*Adam, Sgd"),
        ("training: {precision: fp16}", "training.precision"),
        ("training: 3", "training"),
        ("supervision: {size_px: [512]}", "supervision.size_px"),
        ("network: {type: UNet}", "network.type is 'UNet'.*ResUNet, RedNet, FCDenseNet"),
        ("network: {type: 'nowhere.at_all:Net'}", "cannot be imported"),
        ("network: {type: 'tiny_runs:Nothing'}", "cannot be imported"),
        ("network: {type: 'tiny_runs:TUBE'}", "network"),
        ("training: {steps: 0}", "training.steps 0.*1 or more"),
        ("training: {batch: 3, devices: 2}", "multiple of the devices"),
        ("training: {ema: 1.0}", "training.ema"),
        ("training: {clip_norm: 0}", "training.clip_norm"),
        ("training: {optimiser: {learning_rate: -1}}", "learning rate of -1"),
        ("training: {schedule: {type: Triangular, half_cycle: 0}}", "half_cycle"),
        ("training: {schedule: {type: Cosine, warmup: 2}}", "warmup"),
        ("training: {optimiser: {type: Sgd, momentum: 1.5}}", "momentum"),
        ("supervision: {area_px: 10}", "supervision.area_px 10"),
        ("supervision: {holdout: {points: 1}}", "holdout.points"),
        ("supervision: {pairs: {min_gap: 9, max_gap: 3}}", "pairs 9 to 3"),
        ("augmentation: {noise: 2}", "augmentation.noise 2"),
        ("objective: {flow_weight: -1}", "objective.flow_weight"),
        ("[1, 2]", "holds list"),
        ("a: [", "is not YAML"),
        ("", "holds NoneType"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text, told):
    with pytest.raises(BadInputError, match=told) as caught:
        from_yaml(text, FAST, "my.yaml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["name: 3\nnetwork: {}", "name: x"])
def test_a_recipe_without_a_base_must_be_whole(text):
    with pytest.raises(BadInputError, match="network"):
        from_yaml(text)


def test_a_recipe_file_must_be_there(tmp_path):
    with pytest.raises(BadInputError, match="is missing"):
        read_recipe(tmp_path / "none.yaml")


def test_few_steps_are_still_validated_and_saved():
    short = with_steps(FAST, 10).training
    assert (short.steps, short.validate_every, short.save_every) == (10, 10, 10)
    assert with_steps(FAST, None) is FAST
    assert with_steps(FAST, 5000).training.validate_every == FAST.training.validate_every


@pytest.fixture
def parsed(monkeypatch):
    """The recipe that a command line of ``depthscope train`` asks for."""
    seen = []
    monkeypatch.setattr("depthscope.commands.train.train", lambda *args, **options: seen.append(args[2]) or 0)

    def recipe_of(*flags):
        assert parse(["clip", "--out", "run", *map(str, flags)])() == 0
        return seen.pop()

    return recipe_of


def test_flags_override_the_file_and_the_file_the_recipe(parsed, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\ntraining: {steps: 50, batch: 6}\nobjective: {consistency: {type: Absolute}}\n")
    assert parsed() == FAST
    assert parsed("--recipe", "paper-2018") == PAPER_2018
    both = parsed("--recipe", "tmi-2020", "--config", file, "--training.batch", 2, "--objective.flow-weight", 0)
    assert (both.name, both.network) == ("mine", FCDenseNet())
    assert (both.training.steps, both.training.batch) == (50, 2)
    assert both.objective.consistency == Absolute()
    assert both.objective.flow_weight == 0
    assert both.training.optimiser == RECIPES["tmi-2020"].training.optimiser
    assert parsed("--config", file, "--steps", 9).training.steps == 9
    assert parsed(f"--config={file}").training.batch == 6


@pytest.mark.parametrize("verb", [["train", "--supervision.size-px"], ["pretrain", "jigsaw", "--frames.size-px"]])
def test_a_pair_of_numbers_leaves_the_input_alone(verb, tmp_path, capsys):
    assert main([*verb, "96", "96", str(tmp_path / "nothing"), "--out", str(tmp_path / "run")]) == 2
    told = capsys.readouterr().err.strip()
    assert told.startswith(f"error: {tmp_path / 'nothing'}") and "\n" not in told
    with pytest.raises(SystemExit):
        main([*verb, "96", str(tmp_path / "nothing"), "--out", str(tmp_path / "run")])


def test_flags_reach_into_a_variant(parsed):
    assert parsed("--network.width", 8).network == ResUNet(width=8)
    assert parsed("--training.optimiser.learning-rate", 0.01).training.optimiser == Adam(0.01, weight_decay=1e-4)
    assert parsed("--supervision.size-px", 64, 48).supervision.size_px == (64, 48)
    assert parsed("--training.clip-norm", "None").training.clip_norm is None
