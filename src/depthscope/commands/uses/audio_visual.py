"""``depthscope predict RUN VIDEO --out DIR`` where RUN learned to listen: where and when it sounds."""

import csv
import time
from pathlib import Path
from typing import Annotated

import torch
from tyro.conf import Positional, arg

from depthscope.commands.flags import Part
from depthscope.errors import BadInputError
from depthscope.inference.moments import light, write_neighbours
from depthscope.progress import track
from depthscope.training.devices import Device, resolved_device
from depthscope.video.cut import WHOLE


def audio_visual(
    run: Annotated[Positional[Path], arg(metavar="RUN")],
    input: Annotated[Positional[Path], arg(metavar="VIDEO")],  # noqa: A002 - the name on the command line
    /,
    out: Path,
    every_s: float = 0.2,
    query_time: float | None = None,
    video: bool = True,
    device: Device = "auto",
    part: Part = WHOLE,
) -> int:
    """Where and when a video sounds: maps over the frames, a table of moments, and a video with its sound.

    Args:
        run: Folder of a run of ``pretrain audio-visual``, or a checkpoint file.
        input: A video with sound.
        out: Folder for the maps.
        every_s: Time from one moment to the next.
        query_time: Also list the frames that go best with the sound of this moment (in seconds), and the sounds that
            go best with its frame.
        video: Also write the frames under their maps as a video with its sound.
        device: Where to compute; auto takes a GPU if there is one.
        part: Which frames of it are used.
    """
    from depthscope.corpus import Input
    from depthscope.formats import depth_maps
    from depthscope.pretext import stored_options
    from depthscope.pretext.audio_visual.prediction import Sounding, heated, soundings, stored_listener
    from depthscope.pretext.stored import checkpoint_of
    from depthscope.video import is_video, write_video
    from depthscope.video.sound import add_sound, heard, read_sound
    from depthscope.workspace import content_hash, write_provenance, write_result, writing_folder

    if not 0.02 <= every_s <= 60:
        raise BadInputError(f"--every-s {every_s:g}", "0.02 to 60 s")
    if not Path(input).exists() or not is_video(Path(input)):
        raise BadInputError(f"{input} is no video", "a video with sound", "check the path")
    start = time.perf_counter()
    options = stored_options(run)[1]
    if options.fused and query_time is not None:
        raise BadInputError(
            f"--query-time with {run}, which decides by two layers over both vectors",
            "a run that compares frames and sounds by their distance",
            "train again without --fused",
        )
    network = stored_listener(run, options)
    device = resolved_device(device)
    network.to(device)
    sound = heard(read_sound(Path(input), options.spectrogram.rate_hz), Path(input), options.spectrogram.snippet_s)
    opened = Input.of(Path(input), part)
    step_s = max(every_s, 1 / opened.frames.frames_per_second)
    count = max(1, round(opened.frames.duration_s / step_s))
    began_s = opened.frames.began_s
    ended_s = began_s + opened.frames.duration_s
    if query_time is not None and not began_s <= query_time <= ended_s:
        raise BadInputError(f"--query-time {query_time:g}", f"{began_s:.0f} to {ended_s:.1f} s, as the video")
    found: list[Sounding] = []
    with writing_folder(out, inputs=(Path(input),)) as folder:
        (folder / "heat").mkdir()

        def pictures():
            walk = soundings(network, options, opened, sound, (began_s + number * step_s for number in range(count)))
            for one in track(walk, "listen", count):
                name = opened.frames.name_of(one.frame.index)
                depth_maps.write(folder / "heat" / f"{name}.tiff", one.heat)
                found.append(light(one))
                yield heated(one.frame.image, one.heat, one.correspondence)

        if video:
            add_sound(write_video(folder / "video.mp4", pictures(), fps=1 / step_s), sound.since(began_s))
        else:
            for _ in pictures():
                pass
        with (folder / "sound.csv").open("w", newline="") as stream:
            table = csv.writer(stream)
            table.writerow(["time_s", "frame", "correspondence", "peak_x_px", "peak_y_px"])
            for one in found:
                name = opened.frames.name_of(one.frame.index)
                x, y = one.peak_px
                table.writerow([f"{one.time_s:.3f}", name, f"{one.correspondence:.4f}", f"{x:.1f}", f"{y:.1f}"])
        if query_time is not None:
            write_neighbours(folder / "neighbours.csv", found, query_time, opened.frames.name_of)
        values = torch.tensor([one.correspondence for one in found])
        seconds = time.perf_counter() - start
        write_result(
            folder,
            {
                "moments": len(found),
                "seconds": seconds,
                "correspondence_mean": float(values.mean()),
                "share_that_sounds": float((values > 0.5).float().mean()),
                "checkpoint": str(run),
            },
        )
        write_provenance(
            folder,
            options={"every_s": every_s, "query_time": query_time, "device": device},
            inputs={str(run): content_hash(checkpoint_of(run)), str(input): content_hash(Path(input))},
            seconds=seconds,
        )
    loudest = max(found, key=lambda one: one.correspondence)
    print(
        f"{len(found)} moments, {float((values > 0.5).float().mean()):.0%} go with what is seen, best at "
        f"{loudest.time_s:.1f} s ({loudest.correspondence:.2f}): {out}"
    )
    return 0
