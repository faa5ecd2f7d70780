"""``depthscope view CASE``: a case in the browser, as a folder of files, or as a flight through its surface."""

import time
import webbrowser
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from depthscope.errors import BadInputError
from depthscope.report import open_case
from depthscope.workspace import (
    atomic_file,
    sweep,
    telling_write_errors,
    write_provenance,
    write_result,
    writing_folder,
)


def view(
    case: Annotated[Positional[Path], arg(metavar="CASE")],
    /,
    out: Path | None = None,
    fly_through: Path | None = None,
    port: int | None = None,
    host: str | None = None,
    browser: bool = True,
    clip: str | None = None,
    frames: int = 240,
    width: int = 640,
) -> int:
    """A case in the browser: the video with depth and masks, the surface with the camera in it, the CT about it.

    It is served to this machine alone until Ctrl-C, and the page loads nothing from anywhere else. From another
    machine: ssh -L 8765:localhost:8765 MACHINE, or --host with the token that is printed.

    Args:
        case: Folder that depthscope run or demo wrote, also where it did not end.
        out: Write the viewer as a folder of files instead; index.html in it needs no server.
        fly_through: Write a flight through the surface as a video (.mp4) instead.
        port: Port to serve on; without it the next free one from 8765 on.
        host: Address to listen on for other machines, such as 0.0.0.0; only who has the printed token gets in. It is
            plain HTTP: use it within a tunnel or a network that you trust.
        browser: Open the browser.
        clip: Name of the clip to fly through; the first with a surface by default.
        frames: Of the flight, at 24 a second.
        width: Of the flight's picture, in pixels.
    """
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    if fly_through is not None:
        made = write_flight(case, fly_through, clip, frames, width)
        console.print(f"flight: {made}", markup=False)
    if out is not None:
        made = write_folder(case, out)
        console.print(f"viewer: {made}", markup=False)
    if fly_through is None and out is None:
        serve(case, port, host, browser and host is None, console)
    return 0


def serve(case: Path, port: int | None, host: str | None, browser: bool, console) -> None:
    """Serves the case until it is interrupted."""
    from depthscope.viewer.server import PORT, Drawn, serving

    drawn = Drawn(case)
    drawn.answer("/")  # what cannot be shown is told here, not in the browser
    with serving(drawn, port, host) as server:
        used = server.server_address[1]
        if port is None and used != PORT:
            console.print(f"port {PORT} is taken: {used} is used", markup=False)
        console.print(f"viewer: {server.address} (Ctrl-C ends it)", markup=False)
        if browser and not webbrowser.open(server.address):
            console.print("no browser could be opened: open the address by hand", markup=False)
        try:
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:  # how it is meant to end
            console.print("viewer ended", markup=False)


def write_folder(case: Path, out: Path) -> Path:
    """The viewer as files; returns its page."""
    from rich.console import Console
    from rich.progress import Progress

    from depthscope.viewer import write_viewer

    start, found = time.perf_counter(), open_case(case)
    if out.resolve() == case.resolve() or out.resolve() in case.resolve().parents:
        raise BadInputError(f"--out {out} is the case or above it", "a folder of its own", "choose another --out")
    with (
        writing_folder(out) as folder,
        Progress(console=Console(stderr=True), transient=True) as progress,
    ):
        bar = progress.add_task("pictures", total=None)
        count = write_viewer(found, folder, lambda done, of: progress.update(bar, completed=done, total=of))
        write_result(folder, {"page": "index.html", "clips": [c.name for c in found.clips], "pictures": count})
        write_provenance(folder, options={"case": case}, inputs={}, seconds=time.perf_counter() - start)
    return out / "index.html"


def write_flight(case: Path, out: Path, name: str | None, frames: int, width: int) -> Path:
    """The flight as a video.

    Raises:
        BadInputError: There is no surface or no camera path, or an option is out of its range.
    """
    from rich.console import Console
    from rich.progress import track

    from depthscope.formats import ply
    from depthscope.report.clip_view import sequence_of
    from depthscope.video import write_video
    from depthscope.viewer.flight import fly_through, smoothed

    if out.suffix.lower() != ".mp4" or out.is_dir():
        raise BadInputError(f"--fly-through {out}", "a file that ends in .mp4", "choose another name")
    if not 1 <= frames <= 100_000 or not 32 <= width <= 8192:
        raise BadInputError(f"--frames {frames} --width {width}", "1 to 100000 frames, 32 to 8192 pixels")
    clips = open_case(case).clips
    chosen = [c for c in clips if name in (None, c.name)]
    if not chosen:
        raise BadInputError(f"no clip '{name}' in {case}", f"one of {', '.join(c.name for c in clips if c.name)}")
    found = next((c for c in chosen if (c.surface.place / "surface.ply").is_file()), None)
    if found is None:
        raise BadInputError(f"{case} has no surface to fly through", "surface/surface.ply", "run depthscope fuse first")
    sequence = sequence_of(found)
    if sequence is None:
        raise BadInputError(f"the sequence of {case} cannot be read", "a camera path to fly along", "keep its folder")
    surface = ply.read(found.surface.place / "surface.ply")
    lens = sequence.cameras[0].undistorted()
    height = max(2, round(width * lens.size_px[1] / lens.size_px[0]))
    path = smoothed(sequence.camera_from_world, frames)
    pictures = fly_through(surface, lens.resized((width, height)), path)
    shown = track(pictures, "flight", total=frames, console=Console(stderr=True), transient=True)
    with telling_write_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        sweep(out.parent, deep=False)
        with atomic_file(out) as draft:
            write_video(draft, shown, 24)
    return out
