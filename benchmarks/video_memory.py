"""Whether memory stays bounded while a long video is looked over: peak memory and CPU seconds by minutes of video.

    python benchmarks/video_memory.py --input VIDEO --out DIR [--minutes 1 10 60]

The input, played to and fro, makes a minute, and its packets are repeated to longer ones without encoding them again.
Each is surveyed in a process of its own. Writes ``video_memory.json`` and prints a line for each.
"""

import argparse
import itertools
import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

import av

from depthscope.video import open_frames, survey, write_video

FPS = 25


def main() -> None:
    """Makes the videos, surveys them, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=int, nargs="+", default=[1, 10, 60])
    parser.add_argument("--alone", action="store_true", help="survey the input here and print the figures")
    given = parser.parse_args()
    if given.alone:
        print(json.dumps(surveyed(given.input)))
        return
    given.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for minutes in given.minutes:
        video = repeated(minute(given.input, given.out / "minute.mp4"), minutes, given.out / f"{minutes}.mp4")
        line = [sys.executable, __file__, "--input", str(video), "--out", str(given.out), "--alone"]
        done = subprocess.run(line, check=True, capture_output=True, text=True)
        rows.append({"minutes": minutes, **json.loads(done.stdout.splitlines()[-1])})
        print(
            f"{minutes} min: {rows[-1]['frames']} frames, peak {rows[-1]['peak_mb']:.0f} MB, "
            f"{rows[-1]['cpu_seconds'] / rows[-1]['frames'] * 1000:.2f} CPU ms a frame, {rows[-1]['clips']} clips",
            flush=True,
        )
    figures = {"machine": f"{platform.machine()}, {os.cpu_count()} cores", "date": time.strftime("%Y-%m-%d")}
    (given.out / "video_memory.json").write_text(json.dumps({**figures, "rows": rows}, indent=1) + "\n")


def minute(source: Path, path: Path) -> Path:
    """A minute of the input, played to and fro."""
    if not path.is_file():
        once = [frame.image for frame in open_frames(source)]
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, itertools.islice(itertools.cycle(once + once[-2:0:-1]), 60 * FPS), FPS)
    return path


def repeated(source: Path, times: int, path: Path) -> Path:
    """The same video many times over, its packets as they are."""
    with av.open(str(path), "w") as written:
        out, start = None, 0
        for _ in range(times):
            with av.open(str(source)) as read:
                stream = read.streams.video[0]
                if out is None:
                    out = written.add_stream_from_template(stream)
                length = 0
                for packet in read.demux(stream):
                    if packet.dts is None or packet.pts is None:
                        continue  # what ends the stream
                    length = max(length, packet.pts + (packet.duration or 0))
                    packet.pts, packet.dts, packet.stream = packet.pts + start, packet.dts + start, out
                    written.mux(packet)
                start += length
    return path


def surveyed(video: Path) -> dict[str, float]:
    """What one survey takes."""
    found = survey(video)
    spent = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "frames": len(found.frames),
        "clips": len(found.clips),
        "peak_mb": spent.ru_maxrss / 1024,
        "cpu_seconds": spent.ru_utime + spent.ru_stime,
    }


if __name__ == "__main__":
    main()
