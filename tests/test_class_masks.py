"""Masks of named classes: ids and colours mean the same, and what means nothing is refused."""

from pathlib import Path

import pytest
import torch

from depthscope.errors import BadInputError
from depthscope.video import write_image
from depthscope.video.class_masks import (
    UNKNOWN,
    Classes,
    MaskClass,
    overlaid,
    read_classes,
    read_mask_folder,
    write_classes,
    write_mask,
)

CLASSES = Classes(
    (MaskClass(0, "tissue", None, True), MaskClass(3, "tool", (0, 90, 200)), MaskClass(1, "glint", (255, 255, 0)))
)
IDS = torch.tensor([[0, 1, 3, UNKNOWN]] * 2, dtype=torch.uint8)


def folder_of(folder: Path, ids: torch.Tensor = IDS, name: str = "frame_000001") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write_mask(folder / f"{name}.png", ids)
    write_classes(CLASSES, folder)
    return folder


def test_classes_come_back_from_their_file(tmp_path: Path):
    write_classes(CLASSES, tmp_path)
    assert read_classes(tmp_path / "classes.yaml") == CLASSES
    assert CLASSES.ids == (0, 1, 3)


def test_ids_come_back_and_what_is_not_tissue_is_told(tmp_path: Path):
    masks = read_mask_folder(folder_of(tmp_path / "masks"))
    assert torch.equal(masks.ids("frame_000001", (4, 2)), IDS)
    assert masks.not_tissue("frame_000001", (4, 2)).tolist() == [[False, True, True, False]] * 2
    assert read_mask_folder(tmp_path).files == masks.files  # the result folder that holds them


def test_colours_mean_their_class(tmp_path: Path):
    folder = folder_of(tmp_path)
    coloured = torch.tensor([[[0, 0, 0], [255, 255, 0], [0, 90, 200], [255, 255, 255]]] * 2, dtype=torch.uint8)
    write_image(folder / "frame_000001.png", coloured)
    assert torch.equal(read_mask_folder(folder).ids("frame_000001", (4, 2)), IDS)


def test_a_class_that_is_white_is_not_unknown(tmp_path: Path):
    classes = Classes((MaskClass(0, "tool", (0, 0, 0)), MaskClass(1, "tissue", (255, 255, 255), True)))
    write_classes(classes, tmp_path)
    write_image(tmp_path / "a.png", torch.tensor([[0, 255]], dtype=torch.uint8))
    assert read_mask_folder(tmp_path).ids("a", (2, 1)).tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: write_mask(f / "frame_000001.png", torch.full((2, 4), 7, dtype=torch.uint8)), "the value 7"),
        (
            lambda f: write_image(f / "frame_000001.png", torch.tensor([[[1, 2, 3]] * 4] * 2, dtype=torch.uint8)),
            r"the colour \[1, 2, 3\]",
        ),
        (lambda f: write_mask(f / "frame_000001.png", torch.zeros(3, 4, dtype=torch.uint8)), "4 x 3 pixels"),
        (lambda f: (f / "frame_000001.png").rename(f / "other.png"), "no mask for the frame"),
        (lambda f: (f / "frame_000001.png").unlink(), "holds no masks"),
        (lambda f: (f / "classes.yaml").unlink(), "no classes.yaml"),
        (lambda f: (f / "classes.yaml").write_text("classes: [{id: 0}]"), "has the class"),
        (lambda f: (f / "classes.yaml").write_text("classes: [{id: 300, name: a}]"), "the id 300"),
        (lambda f: (f / "classes.yaml").write_text("classes: [{id: 1, name: a}, {id: 1, name: b}]"), "two classes"),
        (lambda f: (f / "classes.yaml").write_text("- ]"), "is not YAML"),
        (lambda f: (f / "classes.yaml").write_text("classes: 3"), "no list called classes"),
    ],
)
def test_bad_masks_are_refused(tmp_path: Path, change, words: str):
    folder = folder_of(tmp_path)
    change(folder)
    with pytest.raises(BadInputError, match=words):
        read_mask_folder(folder).ids("frame_000001", (4, 2))


def test_masks_of_no_frame_are_refused(tmp_path: Path):
    masks = read_mask_folder(folder_of(tmp_path))
    masks.check_names(["frame_000001", "frame_000002"], "clip.mp4")
    with pytest.raises(BadInputError, match="the mask of no frame of clip.mp4"):
        masks.check_names(["frame_000002"], "clip.mp4")


def test_classes_without_colour_leave_the_frame():
    image = torch.full((2, 4, 3), 100, dtype=torch.uint8)
    shown = overlaid(image, IDS, CLASSES)
    assert torch.equal(shown[:, [0, 3]], image[:, [0, 3]])
    assert (shown[:, [1, 2]] != 100).any(-1).all()
