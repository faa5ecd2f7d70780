"""How values are read from the command line where tyro's own way would surprise, and options that commands share."""

import types
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

from tyro.conf import OmitArgPrefixes, arg
from tyro.constructors import (
    ConstructorRegistry,
    PrimitiveConstructorSpec,
    PrimitiveTypeInfo,
    UnsupportedTypeAnnotationError,
)

from depthscope.video.cut import Cut

ContentMask = Annotated[Path | None, arg(name="content-mask", aliases=("--mask",))]
"""``--content-mask``: one image for all frames; ``--masks`` is a folder with a mask for each. Once called --mask."""

FrameList = Annotated[Path | None, arg(name="frame-list", aliases=("--split",))]
"""``--frame-list``: frames of KITTI by name; ``--split`` of simulate and stills names train, validation or test."""

Part = OmitArgPrefixes[Cut]
"""``--start``, ``--end`` and ``--every`` of a verb that reads video."""

REGISTRY = ConstructorRegistry()
"""For ``tyro.cli(..., registry=REGISTRY)``."""


@REGISTRY.primitive_rule
def value_or_none(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    """An option of type ``X | None`` is shown and read as an X; leaving it out is how None is said.

    By itself tyro shows ``{None}|X``, and of a tuple takes all the words that follow, the INPUT too. The word None is
    still read as None where a recipe's default is something else (``--training.clip-norm None``).
    """
    if get_origin(info.type) not in (Union, types.UnionType):
        return None
    choices = [choice for choice in get_args(info.type) if choice is not type(None)]
    if len(choices) == len(get_args(info.type)) or len(choices) > 1:
        return None
    spec = ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(choices[0], set(info.markers)))
    if isinstance(spec, UnsupportedTypeAnnotationError) or not isinstance(spec.nargs, int):
        return None

    def read(words: list[str]) -> Any:
        return None if words == ["None"] else spec.instance_from_str(words)

    return PrimitiveConstructorSpec(
        nargs=spec.nargs,
        metavar=spec.metavar,
        instance_from_str=read,
        is_instance=lambda value: True if value is None else spec.is_instance(value),
        str_from_instance=lambda value: ["None"] if value is None else spec.str_from_instance(value),
        choices=spec.choices,
    )
