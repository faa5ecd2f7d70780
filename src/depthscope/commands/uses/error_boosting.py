"""``depthscope predict RUN INPUT --out DIR`` where RUN learned to segment: a mask for every frame."""

import time
from pathlib import Path
from typing import Annotated

import torch
from tyro.conf import Positional, arg

from depthscope.commands.flags import Part
from depthscope.errors import BadInputError
from depthscope.progress import track
from depthscope.training.devices import Device, resolved_device
from depthscope.video.cut import WHOLE

LISTED_FPS = 10
"""Of the overlay video of a folder of images."""


def error_boosting(
    run: Annotated[Positional[Path], arg(metavar="RUN")],
    input: Annotated[Positional[Path], arg(metavar="INPUT")],  # noqa: A002 - the name on the command line
    /,
    out: Path,
    video: bool = True,
    device: Device = "auto",
    batch: int = 8,
    part: Part = WHOLE,
) -> int:
    """Masks of every frame of a video, image folder or sequence: instruments, highlights, lumen, tissue.

    Args:
        run: Folder of a run of ``pretrain error-boosting``, or a checkpoint file.
        input: Video file, image folder or sequence folder.
        out: Folder for the masks.
        video: Also write the frames with the masks over them as a video.
        device: Where to compute; auto takes a GPU if there is one.
        batch: Frames in one pass.
        part: Which frames of it are used.
    """
    from depthscope.corpus import Input
    from depthscope.pretext import stored_options
    from depthscope.pretext.error_boosting.prediction import masks_of, stored_segmenter
    from depthscope.pretext.stored import checkpoint_of
    from depthscope.video.class_masks import overlaid, write_classes, write_mask
    from depthscope.video.movies import write_video
    from depthscope.workspace import content_hash, write_provenance, write_result, writing_folder

    if batch < 1:
        raise BadInputError(f"--batch {batch}", "1 or more")
    start = time.perf_counter()
    options = stored_options(run)[1]
    network, classes = stored_segmenter(run, options)
    device = resolved_device(device)
    network.to(device)
    opened = Input.of(Path(input), part)
    window = opened.window(options.frames)
    pixels = torch.zeros(256, dtype=torch.int64)
    with writing_folder(out, inputs=(Path(input),)) as folder:
        (folder / "masks").mkdir()
        count, began = 0, time.perf_counter()

        def pictures():
            nonlocal count, pixels
            walk = track(masks_of(network, opened, window, batch), "predict", opened.frames.count)
            for frame, ids in walk:
                write_mask(folder / "masks" / f"{opened.frames.name_of(frame.index)}.png", ids)
                pixels += torch.bincount(ids.flatten(), minlength=256)
                count += 1
                yield overlaid(frame.image, ids, classes)

        if video:
            write_video(
                folder / "video.mp4",
                pictures(),
                fps=LISTED_FPS if opened.path.is_dir() else opened.frames.frames_per_second,
            )
        else:
            for _ in pictures():
                pass
        seconds = time.perf_counter() - began
        write_classes(classes, folder)
        shares = {one.name: float(pixels[one.id] / pixels.sum().clamp_min(1)) for one in classes.all}
        write_result(
            folder,
            {
                "frames": count,
                "seconds": seconds,
                "frames_per_second": count / max(seconds, 1e-9),
                "classes": list(classes.names),
                "shares": shares,
                "learned_from": "masks" if options.labels else "automatic labels",
                "checkpoint": str(run),
            },
        )
        write_provenance(
            folder,
            options={"batch": batch, "device": device},
            inputs={str(run): content_hash(checkpoint_of(run)), str(input): content_hash(Path(input))},
            seconds=time.perf_counter() - start,
        )
    told = ", ".join(f"{name} {share:.1%}" for name, share in shares.items())
    print(f"masks of {count} frames ({told}): {out}")
    print(f"next: depthscope reconstruct {input} --masks {out} --out SEQUENCE")
    return 0
