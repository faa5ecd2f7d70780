"""Two real clips as `pretext_transfer.py` takes them: a stretch to learn from, and a later one that is the test.

The sinus clip of the journal sequel (35 frames with their published structure from motion) is cut into two sequences.
Of the laparoscopy clip (250 frames, no camera) twenty frames have outlines of the gallbladder and of the instruments in
``laparoscopy_outlines.json``: drawn by eye on the frames of 1280x720 and brought to the nearest edge of colour.
"""

import json
from pathlib import Path

import cv2
import numpy as np
import torch

from depthscope.formats import read_sequence, write_sequence
from depthscope.pretext.error_boosting.automatic import AUTOMATIC, INSTRUMENT, TISSUE
from depthscope.video import open_frames, write_image
from depthscope.video.class_masks import Classes, MaskClass, write_classes, write_mask

OUTLINES = Path(__file__).with_name("laparoscopy_outlines.json")

GALLBLADDER = 5
CLASSES = Classes((*AUTOMATIC.all, MaskClass(GALLBLADDER, "gallbladder", (0, 220, 90), tissue=True)))

FIRST, APART, LAST = 23, 2, 10
"""Frames of the sinus clip to learn from, between the two stretches, and of the test."""

SIZE_PX = (640, 360)
UNTIL = 125
"""Frames of the laparoscopy clip that encoders may learn from: the masks of the later ones choose and test."""


def sinus(clip: Path, folder: Path) -> tuple[Path, Path]:
    """The sequences to learn from and to test on."""
    whole = read_sequence(clip)
    number = torch.arange(len(whole))
    stretches = {"first": number < FIRST, "last": number >= FIRST + APART}
    if int(stretches["last"].sum()) != LAST:
        raise SystemExit(f"{clip} has {len(whole)} frames, not {FIRST + APART + LAST}: is it the sinus clip?")
    for name, kept in stretches.items():
        if not (folder / name).is_dir():
            write_sequence(whole.with_frames(kept), folder / name)
    return folder / "first", folder / "last"


def laparoscopy(video: Path, folder: Path) -> tuple[Path, Path, Path]:
    """Folders of the frames to learn from without labels, of all frames, and of the masks."""
    early, every, masks = folder / "early", folder / "frames", folder / "masks"
    if (masks / "classes.yaml").is_file():
        return early, every, masks
    outlines = json.loads(OUTLINES.read_text("utf-8"))
    for place in (early, every, masks):
        place.mkdir(parents=True, exist_ok=True)
    for frame in open_frames(video):
        name = f"{frame.index:03d}.png"
        small = torch.from_numpy(cv2.resize(frame.image.numpy(), SIZE_PX, interpolation=cv2.INTER_AREA))
        for place in (early, every) if frame.index < UNTIL else (every,):
            write_image(place / name, small)
        if str(frame.index) in outlines:
            write_mask(masks / name, drawn(outlines[str(frame.index)], frame.image.shape[1] / SIZE_PX[0]))
    write_classes(CLASSES, masks)
    return early, every, masks


def drawn(outlines: dict[str, list], factor: float) -> torch.Tensor:
    """Class of each pixel of a frame of `SIZE_PX`, from polygons in pixels that are `factor` times smaller."""
    ids = np.full(SIZE_PX[::-1], TISSUE, np.uint8)
    for name, number in (("gallbladder", GALLBLADDER), ("instrument", INSTRUMENT)):
        for polygon in outlines.get(name, []):
            cv2.fillPoly(ids, [np.round(np.array(polygon) / factor).astype(np.int32)], number)
    return torch.from_numpy(ids)
