"""What a pretext run leaves in its folder: its options in the checkpoint, its encoder in a file of its own."""

from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import torch
import yaml
from torch import Tensor, nn

from depthscope.errors import BadInputError
from depthscope.networks.efficient_encoder import EfficientEncoder
from depthscope.networks.encoder import Encoder, EncoderOptions
from depthscope.networks.res_unet_encoder import ResUNetEncoder
from depthscope.networks.residual_encoder import ResidualEncoder
from depthscope.reading import reader, reading, text_of, yaml_from
from depthscope.training import LAST, load_checkpoint, weights_of
from depthscope.workspace import atomic_file, write_text


def to_yaml(options: Any) -> str:
    """Options, a dataclass of plain values and further dataclasses, as YAML; every mapping names its class."""
    return yaml.safe_dump(_plain(options), sort_keys=False)


def from_yaml(text: str, kinds: tuple[type, ...], source: str = "the run") -> Any:
    """The options of a YAML text.

    Args:
        text: As `to_yaml` wrote it.
        kinds: Classes of which one is expected.
        source: Where it came from, for errors.

    Raises:
        BadInputError: It is of another class, or holds options that are not known.
    """
    if not isinstance(text, str):
        raise BadInputError(f"{source} names its task by a {type(text).__name__}", "a text", "train again")
    given = yaml_from(text, source, "the options of a task")
    by_name = {kind.__name__: kind for kind in kinds}
    name = given.get("type") if isinstance(given, dict) else None
    if name not in by_name:
        raise BadInputError(f"{source} learned {name}", f"one of {', '.join(by_name)}", "use another version, or run")
    return _value(given, by_name[name], source)


@reader("a run of depthscope pretrain", "check the path")
def pretext_of(run: Path) -> str | None:
    """The YAML of the pretext task that a run learned; None for runs that learned depth.

    Raises:
        BadInputError: There is no checkpoint.
    """
    path = checkpoint_of(run)
    text = load_checkpoint(path).get("pretext")
    if not (text is None or isinstance(text, str)):
        raise BadInputError(f"{path} names its task by a {type(text).__name__}", "a text", "train again")
    return text


@reader("a run of depthscope pretrain", "check the path")
def stored_weights(run: Path) -> dict[str, Tensor]:
    """The averaged weights of a run.

    Raises:
        BadInputError: There is no checkpoint.
    """
    path = checkpoint_of(run)
    return weights_of(load_checkpoint(path), path)


def write_encoder(encoder: nn.Module, options: EncoderOptions, run: Path) -> Path:
    """Writes a trained encoder alone: ``encoder.pt`` with its weights, ``encoder.yaml`` with its options.

    Args:
        encoder: An ordinary one, as `AdaptedEncoder.folded` gives it.
        options: Those it was built from; the size of its first kernel is taken from the encoder itself.
        run: The folder.
    """
    assert isinstance(encoder, Encoder)
    plain = replace(options, stem=encoder.first.kernel_size[0], weights="", frozen=False)
    write_text(run / "encoder.yaml", to_yaml(plain))
    with atomic_file(run / "encoder.pt") as draft, draft.open("wb") as stream:
        torch.save({name: value.cpu().contiguous() for name, value in encoder.state_dict().items()}, stream)
    return run / "encoder.pt"


@reader("a run of depthscope pretrain", "check the path")
def encoder_of(run: Path) -> EncoderOptions:
    """The options of the encoder that a pretext run left, with its file as what to start from.

    Raises:
        BadInputError: The run left none.
    """
    if not (run / "encoder.pt").is_file() or not (run / "encoder.yaml").is_file():
        raise BadInputError(f"{run} has no encoder.pt", "a finished run of depthscope pretrain", "finish it first")
    text = text_of(run / "encoder.yaml", "the options of an encoder")
    options = from_yaml(text, (ResUNetEncoder, ResidualEncoder, EfficientEncoder), str(run / "encoder.yaml"))
    return replace(options, weights=str((run / "encoder.pt").resolve()))


def checkpoint_of(run: Path) -> Path:
    """The newest checkpoint in a run's folder, or the file itself."""
    return run if run.is_file() else run / LAST


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        inner = {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
        return {"type": type(value).__name__, **inner}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _value(given: Any, kind: Any, source: str) -> Any:
    members: list[Any] = list(get_args(kind)) if get_origin(kind) in (Union, UnionType) else [kind]
    if isinstance(given, dict):
        by_name = {
            str(member.__name__): member for member in members if isinstance(member, type) and is_dataclass(member)
        }
        found = by_name.get(given.get("type", ""))
        if found is None:
            raise BadInputError(f"{source} holds options of type {given.get('type')}", f"one of {', '.join(by_name)}")
        hints = get_type_hints(found)
        unknown = set(given) - set(hints) - {"type"}
        if unknown:
            raise BadInputError(f"{source} holds the option {min(unknown)}", f"options of {found.__name__}")
        with reading(source, f"options of {found.__name__}"):
            return found(**{name: _value(item, hints[name], source) for name, item in given.items() if name != "type"})
    if isinstance(given, list):
        return tuple(tuple(item) if isinstance(item, list) else item for item in given)
    plain = tuple(member for member in members if member in (bool, int, float, str))
    if plain and len(plain) == len(members):
        allowed = (*plain, int) if float in plain else plain
        if type(given) not in allowed:  # a bool is an int to isinstance
            names = " or ".join(member.__name__ for member in plain)
            raise BadInputError(f"{source} holds the value {str(given)[:40]!r}", names, "write it again")
    return Path(given) if isinstance(given, str) and Path in members else given
