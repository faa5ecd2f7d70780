"""How values are read from the command line where tyro's own way would surprise."""

import types
from typing import Any, Union, get_args, get_origin

from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

REGISTRY = ConstructorRegistry()
"""For ``tyro.cli(..., registry=REGISTRY)``."""


@REGISTRY.primitive_rule
def numbers_or_none(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    """``--size-px 320 256 VIDEO``: a tuple of so many numbers, or nothing, takes so many words and no more.

    By itself tyro takes all the words that follow, the INPUT too, for ``None`` is one word and the tuple several.
    """
    if get_origin(info.type) not in (Union, types.UnionType):
        return None
    choices = [choice for choice in get_args(info.type) if choice is not type(None)]
    kinds = get_args(choices[0])
    if len(choices) == len(get_args(info.type)) or len(choices) > 1 or get_origin(choices[0]) is not tuple:
        return None
    if not kinds or not all(kind in (int, float) for kind in kinds):
        return None

    def read(words: list[str]) -> Any:
        return tuple(kind(word) for kind, word in zip(kinds, words, strict=True))

    return PrimitiveConstructorSpec(
        nargs=len(kinds),
        metavar=" ".join(kind.__name__.upper() for kind in kinds),
        instance_from_str=read,
        is_instance=lambda value: value is None or (isinstance(value, tuple) and len(value) == len(kinds)),
        str_from_instance=lambda value: ["None"] if value is None else [str(number) for number in value],
    )
