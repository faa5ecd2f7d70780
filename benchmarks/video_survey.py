"""What a survey of a video costs and finds: seconds per frame by step, the content area, and a sheet of masked frames.

    python benchmarks/video_survey.py --input VIDEO --out DIR

Seconds are of the processor, so that a busy machine does not count. Writes ``video_survey.json``, its table as
``video_survey.md``, and ``sheet.jpg`` (cyan: highlight, magenta: dark, yellow: overlay, blue: dirt, green: instrument),
and prints the table.
"""

import argparse
import json
import math
import os
import platform
import resource
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from depthscope.video import circle_of_frame, content_area, open_frames, survey, write_clip, write_image
from depthscope.video.clip_images import area_of_frame
from depthscope.video.instruments import Neighbour
from depthscope.video.masks import ExcludedPixels, frame_masks
from depthscope.video.movies import Frame
from depthscope.video.sharpness import look_at, window_of
from depthscope.video.static_marks import static_marks

COLOURS = {
    "highlight": (0, 255, 255),
    "dark": (255, 0, 255),
    "overlay": (255, 255, 0),
    "dirt": (0, 0, 255),
    "instrument": (0, 255, 0),
}


SHEET_PX = 400
"""Width of each picture of the sheet."""


def main() -> None:
    """Reads the arguments, measures, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    source = open_frames(given.input)
    seconds: dict[str, float] = {}
    start = time.process_time()
    count = sum(1 for _ in source)
    seconds["decode"] = (time.process_time() - start) / count
    spread = list(source.spread(20))
    start = time.process_time()
    area = content_area([grey(frame) for frame in spread])
    seconds["content area of 20 frames, each"] = (time.process_time() - start) / len(spread)
    start = time.process_time()
    circles = [circle_of_frame(grey(frame)) for frame in source]
    seconds["decode and circle of a frame"] = (time.process_time() - start) / count
    start = time.process_time()
    for frame in spread:
        look_at(frame, window_of(area))
    seconds["look"] = (time.process_time() - start) / len(spread)
    start = time.process_time()
    found = survey(given.input)
    seconds["survey, all of it"] = (time.process_time() - start) / count
    start = time.process_time()
    images = write_clip(given.input, found.clips[0], found, given.out / "clip")
    seconds["keyframe written with masks"] = (time.process_time() - start) / len(images)
    write_image(given.out / "sheet.jpg", sheet(source, [record.index for record in found.frames], area))
    centres = np.array([circle.centre_px for circle in circles if circle is not None])
    record = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "date": time.strftime("%Y-%m-%d"),
        "input": given.input.name,
        "frames": count,
        "cpu_seconds_per_frame": seconds,
        "area": {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in found.area.figures().items()},
        "frames_with_a_circle": len(centres),
        "centre_from_to_px": [centres.min(0).tolist(), centres.max(0).tolist()] if len(centres) else [],
        "dropped": sum(bool(record.dropped) for record in found.frames),
        "clips": [[clip.name, len(clip.frames), len(clip.keyframes)] for clip in found.clips],
        "notes": list(found.notes),
        "masks": mask_shares(given.out / "clip"),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    (given.out / "video_survey.json").write_text(json.dumps(record, indent=2) + "\n")
    text = table(record)
    (given.out / "video_survey.md").write_text(text)
    print(text)


def table(record: dict[str, Any]) -> str:
    """The figures as Markdown."""
    rows = [(f"{name}, ms of one core", f"{1000 * s:.0f}") for name, s in record["cpu_seconds_per_frame"].items()]
    rows += [(f"{name}, share of the content (median, most)", told) for name, told in record["masks"].items()]
    names = ("frames", "frames_with_a_circle", "centre_from_to_px", "dropped", "clips", "notes", "peak_memory_mb")
    rows += [(name.replace("_", " "), str(record[name])) for name in names]
    lines = [f"| {record['input']}, {record['machine']} | |", "|---|---|", *(f"| {a} | {b} |" for a, b in rows)]
    return "\n".join(lines) + "\n"


def mask_shares(folder: Path) -> dict[str, str]:
    """What each mask takes of the content area of the keyframes."""
    rows = [row["shares"] for row in json.loads((folder / "frames.json").read_text("utf-8"))["frames"]]
    return {
        name: f"{np.median([row[name] for row in rows]):.1%}, {max(row[name] for row in rows):.1%}" for name in rows[0]
    }


def grey(frame: Frame) -> torch.Tensor:
    """Brightness of a frame."""
    return torch.from_numpy(cv2.cvtColor(frame.image.numpy(), cv2.COLOR_RGB2GRAY))


def sheet(source, indices: list[int], area) -> torch.Tensor:
    """Nine frames with their masks painted over."""
    chosen = sorted({indices[round(share * (len(indices) - 2))] for share in np.linspace(0, 1, 9)})
    marks = static_marks((frame.image.numpy() for frame in source.spread(30)), area.mask().numpy())
    pairs = {frame.index: frame for frame in source.at(sorted({*chosen, *(index + 1 for index in chosen)}))}
    tiles = []
    for index in chosen:
        frame, neighbour = pairs[index], Neighbour(pairs[index + 1].image.numpy())
        masks = frame_masks(frame.image, area_of_frame(frame, area).mask(), marks, neighbour)
        tiles.append(painted(frame, masks))
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % 3)
    rows = [np.hstack(tiles[place : place + 3]) for place in range(0, len(tiles), 3)]
    return torch.from_numpy(np.ascontiguousarray(np.vstack(rows)))


def painted(frame: Frame, masks: ExcludedPixels) -> np.ndarray:
    """A frame with its masks in colours, small."""
    picture, content = frame.image.numpy().astype(float), masks.content.numpy()
    for name, colour in COLOURS.items():
        where = getattr(masks, name).numpy() & content
        picture[where] = 0.45 * picture[where] + 0.55 * np.array(colour)
    picture[~content] = 0.5 * picture[~content] + 40
    height = round(SHEET_PX * picture.shape[0] / picture.shape[1])
    return cv2.resize(picture.astype(np.uint8), (SHEET_PX, height), interpolation=cv2.INTER_AREA)


if __name__ == "__main__":
    main()
