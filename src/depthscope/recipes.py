"""Named complete runs as values, and their YAML form.

A recipe is everything that decides a training run beside the data. `PAPER_2018` is Liu et al. 2018 as far as it is
written down, `TMI_2020` its journal sequel, `FAST` what we recommend on two CPU cores and on a GPU alike.
"""

import difflib
import importlib
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import cattrs
import yaml
from cattrs.gen import make_dict_structure_fn

from depthscope.errors import BadInputError, DepthscopeError
from depthscope.geometry.scale import RatioMean, TrimmedLogMean
from depthscope.networks import FCDenseNet, NetworkOptions, RedNet, ResUNet
from depthscope.objectives import Siamese
from depthscope.objectives.consistency import Absolute, Normalised, Relative
from depthscope.supervision import Holdout, PairRule, Supervision
from depthscope.training import Adam, Augmentation, Cosine, Sgd, Training, Triangular


@dataclass(frozen=True)
class Recipe:
    """A complete training run as a value.

    Attributes:
        name: What it is called.
        network: Options of the network; any `NetworkOptions` plugs in.
        objective: What is asked of the depth maps.
        supervision: How sequences become supervision.
        augmentation: What the network sees of a frame.
        training: How it is trained.
    """

    name: str
    network: NetworkOptions
    objective: Siamese = field(default_factory=Siamese)
    supervision: Supervision = field(default_factory=Supervision)
    augmentation: Augmentation = field(default_factory=Augmentation)
    training: Training = field(default_factory=Training)


PAPER_2018 = Recipe(
    name="paper-2018",
    network=RedNet(),
    objective=Siamese(consistency_weight=2e-4, consistency=Absolute(), nearest_pixel=True),
    supervision=Supervision(
        size_px=(512, 464),
        pairs=PairRule(min_gap=1, max_gap=1000, min_points=1, min_parallax_deg=0.0),
        holdout=Holdout(sequences=0.05, points=0.0),
    ),
    augmentation=Augmentation(noise=0.02),
    training=Training(steps=30_000, batch=8, optimiser=Adam(1e-4), precision="fp32"),
)
"""Liu et al. 2018. Stated there: 464 x 512 pixels, noise as the only augmentation, learning rate 1e-4, omega 2e-4, 5 %
for validation. Not stated, our choice: Adam, batch 8, noise 0.02, 50 epochs of 5040 pairs, validation by sequence."""

TMI_2020 = Recipe(
    name="tmi-2020",
    network=FCDenseNet(),
    objective=Siamese(
        sparse_weight=0.0,
        flow_weight=10.0,
        consistency_weight=2.5,
        consistency=Normalised(),
        early_consistency_weight=0.05,
        early_draws=40_000,
        scale=RatioMean(),
        soft_mask=False,
    ),
    supervision=Supervision(
        size_px=(320, 256),
        widen_frames=30,
        light_filter=True,
        pairs=PairRule(min_gap=5, max_gap=30, min_points=10, min_parallax_deg=0.0),
        holdout=Holdout(sequences=0.05, points=0.05),
    ),
    augmentation=Augmentation(noise=0.02, brightness=0.2, contrast=0.2, gamma=0.2, colour=0.05, apart=True),
    training=Training(
        steps=25_000,
        batch=8,
        optimiser=Sgd(1e-3, 0.9),
        schedule=Triangular(0.1, 2000),
        clip_norm=10.0,
        precision="fp32",
    ),
)
"""Liu et al. 2020: FC-DenseNet-57, sparse flow and normalised consistency, without their code's defects (integer
targets, shifted warp, no occlusion test in the widened visibility). Both directions are averaged there and summed here,
hence half of the weights 20, 0.1 and 5."""

FAST = Recipe(
    name="fast",
    network=ResUNet(),
    objective=Siamese(
        sparse_weight=10.0,
        robust_width=0.03,
        consistency_weight=0.5,
        consistency=Relative(),
        flow_weight=1.0,
        agreement_weight=1.0,
        scale=TrimmedLogMean(),
        occlusion_tolerance=0.1,
    ),
    supervision=Supervision(
        area_px=48_000, pairs=PairRule(min_gap=3, max_gap=30), holdout=Holdout(sequences=0.05, points=0.05)
    ),
    augmentation=Augmentation(noise=0.01),
    training=Training(
        steps=500,
        batch=4,
        optimiser=Adam(1e-3, weight_decay=1e-4),
        schedule=Cosine(),
        clip_norm=1.0,
        ema=0.99,
        validate_every=250,
        save_every=250,
    ),
)
"""What we recommend: the paper's terms in robust form, sparse flow, an occlusion test, one scale for both frames."""

RECIPES = {recipe.name: recipe for recipe in (FAST, PAPER_2018, TMI_2020)}


def recipe_named(name: str) -> Recipe:
    """The recipe of this name (``paper-2018`` or ``PAPER_2018``).

    Raises:
        BadInputError: There is none.
    """
    key = name.lower().replace("_", "-")
    if key not in RECIPES:
        raise BadInputError(f"no recipe '{name}'", f"one of {', '.join(RECIPES)}", "or a YAML file with --config")
    return RECIPES[key]


NETWORKS = {options.__name__: options for options in (ResUNet, RedNet, FCDenseNet)}


def to_yaml(recipe: Recipe) -> str:
    """The recipe as YAML that `from_yaml` reads back to an equal value."""
    return yaml.safe_dump(_converter().unstructure(recipe), sort_keys=False)


def from_yaml(text: str, base: Recipe | None = None, source: str = "the recipe") -> Recipe:
    """The recipe of a YAML text; keys that it leaves out are those of `base`.

    Raises:
        BadInputError: A key is unknown or a value has the wrong type; the message names its place.
    """
    try:
        given = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BadInputError(f"{source} is not YAML ({str(error).splitlines()[0]})", "a mapping of options") from error
    if not isinstance(given, dict):
        raise BadInputError(f"{source} holds {type(given).__name__}", "a mapping of options")
    converter = _converter()
    merged = _merged(converter.unstructure(base), given) if base is not None else given
    _check_keys(merged, Recipe, source, "")
    try:
        return converter.structure(merged, Recipe)
    except DepthscopeError:
        raise
    except Exception as error:
        causes = cattrs.transform_error(error, path="") if isinstance(error, ExceptionGroup) else [str(error)]
        told = _told(error)
        raise BadInputError(f"{source}: {told or causes[0]}".replace("@ .", "at ")) from error


def read_recipe(path: Path, base: Recipe | None = None) -> Recipe:
    """`from_yaml` of a file."""
    if not path.is_file():
        raise BadInputError(f"{path} is missing", "a YAML file with a recipe", "see depthscope train --help")
    return from_yaml(path.read_text(), base, str(path))


def _told(error: BaseException) -> str | None:
    """The first error of our own inside a group of errors."""
    if isinstance(error, DepthscopeError):
        return str(error)
    for inner in getattr(error, "exceptions", ()):
        if (told := _told(inner)) is not None:
            return told
    return None


def _merged(base: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """`base` with the values of `given`; a value of another ``type`` replaces the whole."""
    result = dict(base)
    for key, value in given.items():
        before = result.get(key)
        result[key] = value
        if (
            isinstance(value, dict)
            and isinstance(before, dict)
            and value.get("type", before.get("type")) == before.get("type")
        ):
            result[key] = _merged(before, value)
    return result


def _check_keys(value: Any, kind: Any, source: str, place: str) -> None:
    """Every key of a mapping must be a field of its dataclass; the error names the nearest one."""
    if not isinstance(value, dict):
        return
    kind = _class_of(value, kind, source, place)
    if kind is None:
        return
    known = {f.name: f.type for f in fields(kind)}
    for key, inner in value.items():
        if key == "type":
            continue
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
            raise BadInputError(f"{source}: unknown key '{place}{key}'", f"an option of {kind.__name__}", hint)
        _check_keys(inner, known[key], source, f"{place}{key}.")


def _class_of(value: dict[str, Any], kind: Any, source: str, place: str) -> type | None:
    if kind is NetworkOptions:
        return _network_class(value.get("type"), source)
    members: list[type] = [m for m in _members(kind) if isinstance(m, type) and is_dataclass(m)]
    if not members:
        return None
    if len(members) == 1:
        return members[0]
    by_name = {m.__name__: m for m in members}
    if value.get("type") not in by_name:
        raise BadInputError(
            f"{source}: {place}type is {value.get('type')!r}", f"one of {', '.join(by_name)}", "name the variant"
        )
    return by_name[value["type"]]


def _members(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def _network_class(name: Any, source: str = "the recipe") -> type:
    """A network's options by name, or by ``package.module:Class`` for one from elsewhere."""
    if name in NETWORKS:
        return NETWORKS[name]
    module, _, attribute = str(name).partition(":")
    if not attribute:
        raise BadInputError(
            f"{source}: network.type is {name!r}", f"one of {', '.join(NETWORKS)}, or package.module:Class"
        )
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise BadInputError(
            f"{source}: network.type {name} cannot be imported ({error})", "an importable class"
        ) from error
    if not (isinstance(found, type) and is_dataclass(found)):
        raise BadInputError(f"{source}: network.type {name} is no dataclass", "a dataclass of options")
    return found


def _converter() -> cattrs.Converter:
    """A cattrs converter with the variants told apart by ``type``, and tuples written as lists."""
    converter = cattrs.Converter(forbid_extra_keys=True, prefer_attrib_converters=True)
    converter.register_unstructure_hook_func(
        lambda kind: isinstance(kind, type) and is_dataclass(kind),
        lambda value: {
            **({"type": _type_name(value)} if _needs_type(type(value)) else {}),
            **{f.name: converter.unstructure(getattr(value, f.name)) for f in fields(value)},
        },
    )
    converter.register_unstructure_hook(tuple, lambda value: [converter.unstructure(v) for v in value])
    converter.register_structure_hook(int, _exactly)
    converter.register_structure_hook(bool, _exactly)
    converter.register_structure_hook_func(
        lambda kind: len([m for m in _members(kind) if is_dataclass(m)]) > 1,
        lambda value, kind: _structured(converter, value, _class_of(value, kind, "the recipe", "")),
    )
    converter.register_structure_hook(
        NetworkOptions, lambda value, _: _structured(converter, value, _network_class(value.get("type")))
    )
    return converter


def _exactly(value: Any, kind: type) -> Any:
    """The value itself if it is of this type: int(3.5) would be 3, and bool("no") True."""
    if type(value) is not kind:
        raise ValueError(f"{value!r} is no {kind.__name__}")
    return value


def _structured(converter: cattrs.Converter, value: dict[str, Any], kind: type | None) -> Any:
    assert kind is not None
    structure = make_dict_structure_fn(kind, converter, _cattrs_forbid_extra_keys=True)
    return structure({key: inner for key, inner in value.items() if key != "type"}, kind)


def _needs_type(kind: type) -> bool:
    """Whether values of this class stand where several classes could."""
    return kind not in (Recipe, Siamese, Supervision, PairRule, Holdout, Augmentation, Training)


def _type_name(value: Any) -> str:
    kind = type(value)
    return (
        kind.__name__
        if NETWORKS.get(kind.__name__, kind) is kind and kind.__module__.startswith("depthscope.")
        else f"{kind.__module__}:{kind.__qualname__}"
    )


def with_steps(recipe: Recipe, steps: int | None) -> Recipe:
    """The recipe with another number of steps, and logs and validations no rarer than the run is long."""
    if steps is None:
        return recipe
    training = replace(
        recipe.training,
        steps=steps,
        validate_every=min(recipe.training.validate_every, max(1, steps)),
        save_every=min(recipe.training.save_every, max(1, steps)),
    )
    return replace(recipe, training=training)
