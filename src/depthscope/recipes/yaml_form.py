"""Recipes as YAML, there and back."""

import difflib
import importlib
import sys
from collections.abc import Container
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import cattrs
import yaml
from cattrs.gen import make_dict_structure_fn

from depthscope.errors import BadInputError, DepthscopeError
from depthscope.networks import (
    DepthRange,
    DispNet,
    FCDenseNet,
    NetworkOptions,
    RedNet,
    ResidualDisparity,
    ResidualEncoder,
    ResUNet,
)
from depthscope.objectives import Siamese
from depthscope.objectives.photometric import PhotometricError
from depthscope.reading import reading, text_of, yaml_from
from depthscope.recipes.recipe import Recipe
from depthscope.supervision import Holdout, PairRule, SnippetRule, Supervision
from depthscope.training import Augmentation, Training

NETWORKS = {options.__name__: options for options in (ResUNet, RedNet, FCDenseNet, ResidualDisparity, DispNet)}


class _Anything:
    """Holds every name."""

    def __contains__(self, _: object) -> bool:
        return True


ANYTHING: Container[str] = _Anything()
"""What `from_yaml` is told to trust where the user gave the text itself."""

UNNAMED = (
    Recipe,
    Siamese,
    Supervision,
    PairRule,
    Holdout,
    Augmentation,
    Training,
    SnippetRule,
    PhotometricError,
    ResidualEncoder,
    DepthRange,
)
"""Classes that a mapping without ``type`` is read as, where they are among several; they are written without."""


def to_yaml(recipe: Recipe) -> str:
    """The recipe as YAML that `from_yaml` reads back to an equal value."""
    return yaml.safe_dump(_converter().unstructure(recipe), sort_keys=False)


def from_yaml(
    text: str, base: Recipe | None = None, source: str = "the recipe", *, trusted: Container[str] = ()
) -> Recipe:
    """The recipe of a YAML text; keys that it leaves out are those of `base`.

    Args:
        text: The text.
        base: The recipe that it changes.
        source: Where it came from, for errors.
        trusted: Names ``package.module:Class`` of networks from elsewhere that may be imported, because the user gave
            them; `ANYTHING` for a text that the user gave as a whole. A checkpoint never decides it; of what it names
            only networks that the program itself has imported are taken.

    Raises:
        BadInputError: A key is unknown, a value has the wrong type (the message names its place), or the network is
            from elsewhere and not trusted.
    """
    with reading(source, "a mapping of options"):
        return _recipe_of(text, base, source, trusted)


def _recipe_of(text: str, base: Recipe | None, source: str, trusted: Container[str]) -> Recipe:
    if not isinstance(text, str):
        raise BadInputError(f"{source} is a {type(text).__name__}", "the text of a recipe", "train again")
    given = yaml_from(text, source, "a mapping of options")
    if not isinstance(given, dict):
        raise BadInputError(f"{source} holds {type(given).__name__}", "a mapping of options")
    converter = _converter(trusted, source)
    merged = _merged(converter.unstructure(base), given) if base is not None else given
    _check_keys(merged, Recipe, source, "", trusted)
    try:
        return converter.structure(merged, Recipe)
    except DepthscopeError:
        raise
    except Exception as error:
        causes = cattrs.transform_error(error, path="") if isinstance(error, ExceptionGroup) else [str(error)]
        told = _told(error)
        what = str(told or causes[0]).removeprefix(f"{source}: ").replace("@ .", "at ")
        raise BadInputError(f"{source}: {what}") from error


def read_recipe(path: Path, base: Recipe | None = None) -> Recipe:
    """`from_yaml` of a file that the user gave: the network it names may be from anywhere."""
    return from_yaml(text_of(path, "a YAML file with a recipe"), base, str(path), trusted=ANYTHING)


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


def _check_keys(value: Any, kind: Any, source: str, place: str, trusted: Container[str]) -> None:
    """Every key of a mapping must be a field of its dataclass; the error names the nearest one."""
    if not isinstance(value, dict):
        return
    kind = _class_of(value, kind, source, place, trusted)
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
        _check_keys(inner, known[key], source, f"{place}{key}.", trusted)


def _class_of(value: dict[str, Any], kind: Any, source: str, place: str, trusted: Container[str] = ()) -> type | None:
    if kind is NetworkOptions:
        return _network_class(value.get("type"), source, trusted)
    members: list[type] = [m for m in _members(kind) if isinstance(m, type) and is_dataclass(m)]
    if not members:
        return None
    if len(members) == 1:
        return members[0]
    by_name = {m.__name__: m for m in members}
    usual = next((name for name, member in by_name.items() if member in UNNAMED), None)
    if str(value.get("type", usual)) not in by_name:
        raise BadInputError(
            f"{source}: {place}type is {value.get('type')!r}", f"one of {', '.join(by_name)}", "name the variant"
        )
    return by_name[value.get("type", usual)]


def _members(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def _network_class(name: Any, source: str, trusted: Container[str]) -> type:
    """A network's options by name, or by ``package.module:Class`` for one from elsewhere that the user trusts."""
    if isinstance(name, str) and name in NETWORKS:
        return NETWORKS[name]
    module, _, attribute = str(name).partition(":")
    if attribute and name not in trusted and not _is_imported(module, attribute):
        raise BadInputError(
            f"{source}: network.type {str(name)[:80]!r} cannot be imported: it is a class from elsewhere, and a "
            "checkpoint does not decide what is imported",
            f"one of {', '.join(NETWORKS)}",
            "if you trust it, name it yourself: --network with this name (predict), or a recipe with --config (train)",
        )
    if not attribute:
        raise BadInputError(
            f"{source}: network.type is {name!r}", f"one of {', '.join(NETWORKS)}, or package.module:Class"
        )
    try:
        found = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # whatever a module does when it is imported
        raise BadInputError(
            f"{source}: network.type {name} cannot be imported ({error})", "an importable class"
        ) from error
    if not (isinstance(found, type) and is_dataclass(found)):
        raise BadInputError(f"{source}: network.type {name} is no dataclass", "a dataclass of options")
    return found


def _is_imported(module: str, attribute: str) -> bool:
    """Whether the program that runs has imported such a network itself, so that nothing is left to decide."""
    found = vars(sys.modules[module]).get(attribute) if module in sys.modules else None
    return isinstance(found, type) and is_dataclass(found) and hasattr(found, "build") and hasattr(found, "divisor")


def _converter(trusted: Container[str] = (), source: str = "the recipe") -> cattrs.Converter:
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
        lambda kind: len(_members(kind)) > 1 and any(is_dataclass(m) for m in _members(kind)),
        lambda value, kind: _variant(converter, value, kind),
    )
    converter.register_structure_hook(NetworkOptions, lambda value, _: _network(converter, value, source, trusted))
    return converter


def _network(converter: cattrs.Converter, value: Any, source: str, trusted: Container[str]) -> Any:
    """Options of a network."""
    if not isinstance(value, dict):
        raise BadInputError(f"{source}: network is {str(value)[:60]!r}", "a mapping of options with its type")
    return _structured(converter, value, _network_class(value.get("type"), source, trusted))


def _variant(converter: cattrs.Converter, value: Any, kind: Any) -> Any:
    """A value of one of several classes; None where that is one of them."""
    if value is None and type(None) in _members(kind):
        return None
    if not isinstance(value, dict):
        raise ValueError(f"{value!r} is no mapping of options")
    return _structured(converter, value, _class_of(value, kind, "the recipe", ""))


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
    return kind not in UNNAMED


def _type_name(value: Any) -> str:
    kind = type(value)
    return (
        kind.__name__
        if NETWORKS.get(kind.__name__, kind) is kind and kind.__module__.startswith("depthscope.")
        else f"{kind.__module__}:{kind.__qualname__}"
    )
