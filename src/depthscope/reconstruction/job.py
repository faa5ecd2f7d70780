"""What the child process is asked to do: one clip, as a JSON file. Light enough for the child to import."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import cattrs

from depthscope.workspace import write_text

MOST_WORKING_PIXELS = 960 * 540

MARGIN_FROM_PX = 640
"""Width of working images from which the border of the content keeps its whole margin."""
"""Half of a full HD frame: more pixels cost time and bring no more matches on tissue."""

FOLLOWED = "followed.npz"
"""Points that were followed elsewhere, in the folder of a clip's frames."""


@dataclass(frozen=True)
class FrontEnd:
    """How frames are made ready for features.

    Attributes:
        most_pixels: Frames with more are made smaller; none is ever enlarged.
        clip_limit: Of the contrast-limited histogram equalisation (CLAHE).
        tiles: Its tiles in each direction.
        area_margin_px: Features keep this distance from the border of the content area, at working size; less in
            frames that are narrower than `MARGIN_FROM_PX`.
        mask_margin_px: And this from what the frame's own mask hides.
        most_features: Of a frame.
    """

    most_pixels: int = MOST_WORKING_PIXELS
    clip_limit: float = 3.0
    tiles: int = 8
    area_margin_px: int = 6
    mask_margin_px: int = 2
    most_features: int = 6000

    def area_margin_at(self, working_size: tuple[int, int]) -> int:
        """`area_margin_px` at a working size (width, height): a small frame has a small blur at its border."""
        return max(2, round(self.area_margin_px * min(1.0, working_size[0] / MARGIN_FROM_PX)))

    def working_size(self, size_px: tuple[int, int]) -> tuple[int, int]:
        """(width, height) that frames of `size_px` are worked on at."""
        width, height = size_px
        factor = min(1.0, (self.most_pixels / (width * height)) ** 0.5)
        return max(1, round(width * factor)), max(1, round(height * factor))


def is_fisheye(model: str) -> bool:
    """Whether a model of COLMAP, by its name, counts the radius by the angle of a ray."""
    return model.endswith("FISHEYE")


@dataclass(frozen=True)
class Lens:
    """A camera as COLMAP names it, for the frames as they are.

    Attributes:
        model: COLMAP's name of the model.
        numbers: Its parameters; the top-left pixel's centre is (0.5, 0.5) there too.
        fixed: Whether they are known; otherwise focal length and distortion are refined.
    """

    model: str
    numbers: tuple[float, ...]
    fixed: bool = True

    @property
    def guessed_fisheye(self) -> bool:
        """Whether it is a fisheye that nobody measured."""
        return not self.fixed and is_fisheye(self.model)


@dataclass(frozen=True)
class JobFrame:
    """One frame.

    Attributes:
        name: In the model that is written.
        image: Its file.
        mask: File of its own mask (0 is ignored), or "".
    """

    name: str
    image: str
    mask: str = ""


@dataclass(frozen=True)
class Job:
    """One clip to reconstruct.

    Attributes:
        folder: Where the child works and leaves its results.
        frames: In the order of time.
        size_px: (width, height) of all of them.
        lenses: Cameras to try: one where it is known, else several first guesses.
        area: File of the mask of the content area (0 is ignored), or "".
        followed: File of points that were followed elsewhere (see `reconstruction.followed`), or "".
        described: File of learned features (see `reconstruction.described`), or "".
        sift: Whether SIFT features are found; otherwise the others stand alone.
        window: (left, top, width, height) of what is worked on, at working size; None for all of it.
        front_end: How frames are made ready.
        least_share: Attempts end when this share of the frames is registered.
        held_out: Share of the tracks that is hidden from mapping, as a witness.
        second_run: Whether only a second model is wanted, of another half of the tracks, beside one that is there.
        seconds: Processor time after which no second attempt is begun, and a mapping stops; None for no limit. Any
            limit of time makes the result depend on the machine, so none is set unless a user asks for one.
        threads: For COLMAP.
        seed: Of everything random.
    """

    folder: str
    frames: tuple[JobFrame, ...]
    size_px: tuple[int, int]
    lenses: tuple[Lens, ...]
    area: str = ""
    followed: str = ""
    described: str = ""
    sift: bool = True
    window: tuple[int, int, int, int] | None = None
    front_end: FrontEnd = field(default_factory=FrontEnd)
    least_share: float = 0.8
    held_out: float = 0.2
    second_run: bool = False
    seconds: float | None = None
    threads: int = 1
    seed: int = 0

    @property
    def working_window(self) -> tuple[int, int, int, int]:
        """(left, top, width, height) of what is worked on, at working size."""
        return self.window or (0, 0, *self.front_end.working_size(self.size_px))


def write_job(job: Job, path: Path) -> Path:
    """Writes the job whole or not at all."""
    return write_text(path, json.dumps(asdict(job), indent=1))


def read_job(path: Path) -> Job:
    """The job of a file that `write_job` wrote."""
    return cattrs.structure(json.loads(Path(path).read_text("utf-8")), Job)
