"""Masks that name what each pixel shows: a folder of PNGs called as the frames, and ``classes.yaml`` beside them.

A pixel holds the id of its class, or the class's colour. 255 says "unknown" unless a class has that id.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import yaml
from jaxtyping import Bool, UInt8
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.reading import reader, text_of, yaml_from
from depthscope.video.stills import Image, image_size, read_image, write_image

UNKNOWN = 255
CLASSES_FILE = "classes.yaml"

Ids = UInt8[Tensor, "height width"]
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class MaskClass:
    """What a pixel may show.

    Attributes:
        id: Value of its pixels, 0 to 255.
        name: In words.
        colour: sRGB bytes, in pictures and in masks that are coloured; None for a class that has none.
        tissue: Whether it belongs to the anatomy. What does not is left out of structure from motion.
    """

    id: int
    name: str
    colour: Colour | None = None
    tissue: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.id <= 255:
            raise BadInputError(f"class '{self.name}' has the id {self.id}", "0 to 255", "number the classes from 0")
        if self.colour is not None and (len(self.colour) != 3 or not all(0 <= level <= 255 for level in self.colour)):
            raise BadInputError(f"class '{self.name}' has the colour {self.colour}", "three levels of 0 to 255")


@dataclass(frozen=True)
class Classes:
    """The classes of a folder of masks.

    Attributes:
        all: The classes, in the order of their ids.
    """

    all: tuple[MaskClass, ...]

    def __post_init__(self) -> None:
        if not self.all:
            raise BadInputError("no classes", "at least one")
        object.__setattr__(self, "all", tuple(sorted(self.all, key=lambda one: one.id)))
        for what in ("id", "name", "colour"):
            values = [getattr(one, what) for one in self.all if getattr(one, what) is not None]
            if len(set(values)) < len(values):
                twice = max(values, key=values.count)
                raise BadInputError(f"two classes have the {what} {twice}", "another for each", f"edit {CLASSES_FILE}")

    def __len__(self) -> int:
        return len(self.all)

    @property
    def names(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(one.name for one in self.all)

    @property
    def ids(self) -> tuple[int, ...]:
        """Their ids."""
        return tuple(one.id for one in self.all)

    def of_pixels(self, image: Image, source: object) -> Ids:
        """The class id of each pixel, `UNKNOWN` where none is told.

        Args:
            image: A mask as it was read: grey pixels hold ids (or a grey colour that a class has), others colours.
            source: What it was read from, for errors.

        Raises:
            BadInputError: A pixel has an id or colour of no class.
        """
        pixels = image.numpy().astype(np.int64)
        codes = (pixels[..., 0] << 16) | (pixels[..., 1] << 8) | pixels[..., 2]
        values, places = np.unique(codes, return_inverse=True)
        by_colour = {_code(one.colour): one.id for one in self.all if one.colour is not None}
        by_id = {_code((one.id,) * 3): one.id for one in self.all}
        known = {_code((UNKNOWN,) * 3): UNKNOWN} | by_id | by_colour
        strange = [int(value) for value in values if int(value) not in known]
        if strange:
            raise BadInputError(
                f"{source} holds {_told(strange[0])}, which is no class",
                f"one of {', '.join(f'{one.id} ({one.name})' for one in self.all)}, or {UNKNOWN} for unknown",
                f"name every class, with its colour where masks are coloured, in {CLASSES_FILE} beside the masks",
            )
        table = np.array([known[int(value)] for value in values], np.uint8)
        return torch.from_numpy(table[places].reshape(codes.shape))

    def picture(self, ids: Ids) -> Image:
        """The masks in the classes' colours; black where unknown or without a colour."""
        table = np.zeros((256, 3), np.uint8)
        for one in self.all:
            table[one.id] = one.colour or (0, 0, 0)
        return torch.from_numpy(table[ids.numpy()])

    def not_tissue(self, ids: Ids) -> Bool[Tensor, "height width"]:
        """Where something is shown that is not the anatomy; not where it is unknown."""
        table = np.zeros(256, bool)
        for one in self.all:
            table[one.id] = not one.tissue
        return torch.from_numpy(table[ids.numpy()])


@dataclass(frozen=True)
class MaskFolder:
    """A folder of masks.

    Attributes:
        path: The folder.
        classes: What their pixels mean.
        files: The mask of each frame, by the frame's name.
    """

    path: Path
    classes: Classes
    files: dict[str, Path]

    def ids(self, name: str, size_px: tuple[int, int]) -> Ids:
        """The mask of a frame.

        Args:
            name: Of the frame, without an ending.
            size_px: (width, height) that it must have.

        Raises:
            BadInputError: There is none, it has another size, or a pixel of no class.
        """
        self.check_complete([name], size_px)
        return self.classes.of_pixels(read_image(self.files[name]), self.files[name])

    def not_tissue(self, name: str, size_px: tuple[int, int]) -> Bool[Tensor, "height width"]:
        """Where a frame shows something other than the anatomy.

        Raises:
            BadInputError: As `ids`.
        """
        return self.classes.not_tissue(self.ids(name, size_px))

    def check_complete(self, frames: Iterable[str], size_px: tuple[int, int]) -> None:
        """Refuses to go on where a frame has no mask, or one of another size; looks at no more than their headers.

        Raises:
            BadInputError: One is.
        """
        frames = list(frames)
        missing = [name for name in frames if name not in self.files]
        if missing:
            raise BadInputError(
                f"{self.path} holds no mask for the frame {missing[0]} ({len(missing)} such frames)",
                f"{missing[0]}.png",
                "make masks of this very video or folder, for all of its frames",
            )
        for name in frames:
            found = image_size(self.files[name])
            if found != size_px:
                raise BadInputError(
                    f"{self.files[name]} is {found[0]} x {found[1]} pixels",
                    f"{size_px[0]} x {size_px[1]} as its frame",
                    "make masks at the size of the frames",
                )

    def check_names(self, frames: Iterable[str], source: object) -> None:
        """Refuses masks of frames that do not exist.

        Raises:
            BadInputError: A mask is called as no frame.
        """
        strange = sorted(set(self.files) - set(frames))
        if strange:
            raise BadInputError(
                f"{self.files[strange[0]]} is the mask of no frame of {source} ({len(strange)} such masks)",
                "masks called as the frames, such as frame_000123.png",
                "rename them, or give the video they were drawn on",
            )


@reader("a folder of masks")
def read_mask_folder(path: Path, fallback: Classes | None = None) -> MaskFolder:
    """The masks of a folder (or of ``masks`` in it) and their classes.

    Args:
        path: The folder, or a result of ``depthscope predict`` that holds it.
        fallback: The classes where the folder has no ``classes.yaml``.

    Raises:
        BadInputError: There is no folder, no mask, or nothing that tells the classes.
    """
    path = Path(path)
    if not path.is_dir():
        raise BadInputError(f"{path} is not a folder", "a folder of masks", "check the path")
    inner = path / "masks"
    place = inner if inner.is_dir() else path
    files = {file.stem: file for file in sorted(place.glob("*.png")) if not file.name.startswith(".")}
    if not files:
        raise BadInputError(f"{place} holds no masks", "PNG files called as the frames", "check the path")
    told = next((file for file in (place / CLASSES_FILE, path / CLASSES_FILE) if file.is_file()), None)
    classes = fallback if told is None else read_classes(told)
    if classes is None:
        raise BadInputError(
            f"{path} has no {CLASSES_FILE}",
            "the id and name of each class beside the masks",
            "write one, as the masks of depthscope predict have it",
        )
    return MaskFolder(place, classes, files)


def read_classes(path: Path) -> Classes:
    """The classes that a ``classes.yaml`` names.

    Raises:
        BadInputError: It cannot be read, or a class lacks what it must have.
    """
    return classes_of(text_of(Path(path), "a list of classes in YAML"), path)


def write_classes(classes: Classes, folder: Path) -> Path:
    """Writes ``classes.yaml``."""
    path = Path(folder) / CLASSES_FILE
    path.write_text(as_text(classes))
    return path


def as_text(classes: Classes) -> str:
    """The classes as YAML."""
    rows = [
        {"id": one.id, "name": one.name, "tissue": one.tissue}
        | ({} if one.colour is None else {"colour": list(one.colour)})
        for one in classes.all
    ]
    return yaml.safe_dump({"classes": rows}, sort_keys=False, default_flow_style=None)


def classes_of(text: str, source: object) -> Classes:
    """The classes of a YAML text that came from `source`.

    Raises:
        BadInputError: It is no YAML, or a class lacks what it must have.
    """
    content = yaml_from(text, str(source), "a list called classes")
    rows = content.get("classes") if isinstance(content, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise BadInputError(f"{source} holds no list called classes", "classes: [{id: 0, name: tissue, tissue: true}]")
    return Classes(tuple(_class_of(row, source) for row in rows))


def write_mask(path: Path, ids: Ids) -> Path:
    """Writes a mask of class ids as a grey PNG."""
    return write_image(path, ids)


def overlaid(image: Image, ids: Ids, classes: Classes, strength: float = 0.45) -> Image:
    """A frame tinted in the colours of the classes; those that are black or without a colour leave it as it is."""
    colours = classes.picture(ids).numpy()
    tinted = cv2.addWeighted(image.numpy(), 1 - strength, colours, strength, 0)
    return torch.from_numpy(np.where(colours.any(-1, keepdims=True), tinted, image.numpy()))


def _class_of(row: dict[str, Any], source: object) -> MaskClass:
    unknown = set(row) - {"id", "name", "colour", "tissue"}
    id_, name, colour, tissue = row.get("id"), row.get("name"), row.get("colour"), row.get("tissue", False)
    levels = colour if isinstance(colour, list) else []
    good = isinstance(id_, int) and isinstance(name, str) and isinstance(tissue, bool)
    if unknown or not good or (colour is not None and not (levels and all(isinstance(v, int) for v in levels))):
        raise BadInputError(
            f"{source} has the class {row}", "id, name, and if wanted tissue (true or false) and colour [r, g, b]"
        )
    return MaskClass(id_, name, tuple(levels) or None, tissue)  # type: ignore[arg-type]


def _code(colour: Colour | tuple[int, ...]) -> int:
    return (colour[0] << 16) | (colour[1] << 8) | colour[2]


def _told(code: int) -> str:
    colour = code >> 16, (code >> 8) & 255, code & 255
    return f"the value {colour[0]}" if len(set(colour)) == 1 else f"the colour {list(colour)}"
