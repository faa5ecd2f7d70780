"""One way to walk through frames, whether they come from a video file or from a folder of images."""

from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from depthscope.errors import BadInputError
from depthscope.geometry import Camera
from depthscope.reading import reader
from depthscope.video.containers import Movie, check_file, opened_video
from depthscope.video.cut import SAME_TIME_S, WHOLE, Cut
from depthscope.video.dicom import is_dicom, read_header
from depthscope.video.movies import Frame, movie_frames
from depthscope.video.orientation import squared
from depthscope.video.stills import image_size, list_images, orientation_remark, read_image

FOLDER_STEP_S = 1.0
"""Images of a folder have no times; they count as one second apart."""

SHORT_S = 30.0
"""A video so short is walked whole where frames spread over it are wanted; a longer one is entered in many places."""

MOST_DECODED = 40
"""Frames decoded at most in each of these places to come near the wanted time."""

USUAL_RATE = 25.0
"""Frames per second where a header does not say how many there are."""

Tell = Callable[[str], None]


@dataclass(frozen=True)
class MovieFrames:
    """The frames of a video file; nothing is held open between two walks.

    Attributes:
        path: The file.
        size_px: (width, height) as shown.
        count: About how many frames there are; None if that is not known.
        duration_s: Length; 0 if it is not known.
        rate: Frames per second by the header; None if it does not say.
        enterable: Whether reading can begin anywhere; a bare stream of frames must be read from its start.
        stored_px: (width, height) of the frames upright, but before their pixels were made square; None if they were.
        part: What is used of the file; None for all of it. Frames count from its start; their times and names stay
            those of the whole file.
    """

    path: Path
    size_px: tuple[int, int]
    count: int | None
    duration_s: float
    rate: float | None = None
    enterable: bool = True
    stored_px: tuple[int, int] | None = None
    part: "Part | None" = None

    def __iter__(self) -> Iterator[Frame]:
        """All frames, in the order in which they are shown."""
        return self._frames()

    def walk(self, tell: Tell) -> Iterator[Frame]:
        """All frames, telling what was lost or mended."""
        return self._frames(tell=tell)

    def _frames(self, chosen: Container[int] | None = None, tell: Tell | None = None) -> Iterator[Frame]:
        """Those of the part, or chosen ones of them."""
        if self.part is None:
            wanted = None if chosen is None else lambda index, _: index in chosen
            yield from movie_frames(self.path, wanted=wanted, tell=tell)
            return
        part, number = self.part, -1

        def wanted_of_part(_: int, time_s: float) -> bool:
            nonlocal number
            if time_s < part.start_s - SAME_TIME_S:
                return False
            number += 1
            return number % part.every == 0 and (chosen is None or number // part.every in chosen)

        from_s = part.start_s - 1.0 if self.enterable else 0.0
        to_s = part.end_s - SAME_TIME_S
        for frame in movie_frames(self.path, from_s=from_s, to_s=to_s, wanted=wanted_of_part, tell=tell):
            yield replace(frame, index=number // part.every)

    @property
    def began_s(self) -> float:
        """When the first frame is shown."""
        return 0.0 if self.part is None else self.part.start_s

    @property
    def frames_per_second(self) -> float:
        """On average; the usual rate where the header does not say."""
        if self.count and self.duration_s > 0:
            return self.count / self.duration_s
        return self.rate or USUAL_RATE

    def name_of(self, index: int) -> str:
        """What a frame is called, without an ending: ``frame_000123``."""
        return f"frame_{self.number_of(index):06d}"

    def number_of(self, index: int) -> int:
        """The number of a frame in the whole file."""
        return index if self.part is None else self.part.first + index * self.part.every

    def image_name(self, index: int) -> str:
        """What a frame is called as a file."""
        return f"{self.name_of(index)}.png"

    def at(self, indices: Iterable[int], times_s: Iterable[float] = ()) -> Iterator[Frame]:
        """Chosen frames in their order, by decoding again.

        Args:
            indices: Their numbers, in increasing order.
            times_s: Their times from an earlier walk. With these the file is entered close to the first one, so that a
                clip at the end of an hour costs little more than one at its start.
        """
        chosen, times = list(indices), list(times_s)
        found = 0
        if times and times[0] > 2.0 and self.enterable:
            for frame in self._near(times):
                yield replace(frame, index=chosen[found])
                found += 1
        missing = set(chosen[found:])
        if missing:
            for frame in self._frames(missing):
                yield frame
                if frame.index == chosen[-1]:
                    return

    def _near(self, times_s: list[float]) -> Iterator[Frame]:
        """Frames with exactly these times, as far as they are found without a gap."""
        place = 0

        def due(_: int, time_s: float) -> bool:
            return time_s > times_s[place] - SAME_TIME_S

        for frame in movie_frames(self.path, from_s=times_s[0] - 1.0, wanted=due):
            if frame.time_s > times_s[place] + SAME_TIME_S:
                return
            place += 1
            yield frame
            if place == len(times_s):
                return

    def spread(self, count: int) -> Iterator[Frame]:
        """About so many frames, spread over the video; their numbers are only known in a short one."""
        if self.duration_s <= SHORT_S or not self.enterable:
            step = max(1, (self.count or round(self.frames_per_second * self.duration_s)) // count)
            most = (count + 1) * step
            yield from _first(count + 1, self._frames(range(0, most, step)))
            return
        for number in range(count):
            target_s = self.began_s + self.duration_s * (number + 0.5) / count
            near = movie_frames(
                self.path,
                from_s=target_s,
                wanted=lambda index, time_s: time_s >= target_s or index >= MOST_DECODED,  # noqa: B023 (used at once)
            )
            yield from _first(1, near)


@dataclass(frozen=True)
class Part:
    """What is used of a video file.

    Attributes:
        first: The number of its first frame in the whole file.
        start_s: When that is shown.
        end_s: When the first frame is shown that is no longer used.
        every: Only every n-th frame is used.
    """

    first: int
    start_s: float
    end_s: float
    every: int


@dataclass(frozen=True)
class FolderFrames:
    """The images of a folder, in the order of the numbers in their names.

    Attributes:
        path: The folder.
        files: Its images.
        size_px: (width, height) of all of them.
    """

    path: Path
    files: tuple[Path, ...]
    size_px: tuple[int, int]

    @property
    def count(self) -> int:
        """How many."""
        return len(self.files)

    @property
    def stored_px(self) -> tuple[int, int] | None:
        """None: images are taken as they are stored."""
        return None

    @property
    def began_s(self) -> float:
        """When the first image is shown: times of a folder count from the first that is used."""
        return 0.0

    @property
    def duration_s(self) -> float:
        """Length, by the nominal time between images."""
        return FOLDER_STEP_S * len(self.files)

    def __iter__(self) -> Iterator[Frame]:
        """All images."""
        return self.at(range(len(self.files)))

    def walk(self, tell: Tell) -> Iterator[Frame]:
        """All images; nothing is lost from a folder: a damaged image is an error."""
        if remark := orientation_remark(self.files[0]):
            tell(remark)
        return iter(self)

    @property
    def frames_per_second(self) -> float:
        """By the nominal time between images."""
        return 1 / FOLDER_STEP_S

    def name_of(self, index: int) -> str:
        """The name of an image without its ending."""
        return self.files[index].stem

    def image_name(self, index: int) -> str:
        """The name of an image with its ending."""
        return self.files[index].name

    def at(self, indices: Iterable[int], times_s: Iterable[float] = ()) -> Iterator[Frame]:
        """Chosen images in their order; their times are not needed."""
        for index in indices:
            image = read_image(self.files[index])
            _check_size(self.files[index], (image.shape[1], image.shape[0]), self.size_px)
            yield Frame(index, index * FOLDER_STEP_S, image)

    def spread(self, count: int) -> Iterator[Frame]:
        """About so many images, spread over the folder."""
        step = max(1, len(self.files) // count)
        return self.at(range(step // 2, len(self.files), step))


FrameSource = MovieFrames | FolderFrames


@reader("a video or a folder of images")
def open_frames(path: Path, cut: Cut = WHOLE) -> FrameSource:
    """The frames of a video file or of a folder of images; images whose names end in "mask" are no frames.

    Args:
        path: The file or folder.
        cut: Which of its frames.

    Raises:
        BadInputError: It is neither, holds no frame, holds two images of one name, or the cut leaves none.
    """
    path = Path(path)
    if not path.exists():
        raise BadInputError(f"{path} is missing", "a video or a folder of images", "check the path")
    if path.is_dir():
        folder = _folder(path)
        if cut.whole:
            return folder
        names = [file.stem for file in folder.files]
        taken = cut.span([FOLDER_STEP_S * number for number in range(folder.count)], names)
        return replace(folder, files=tuple(folder.files[number] for number in taken))
    check_file(path)
    movie = _movie(path)
    return movie if cut.whole else part_of(movie, cut)


def camera_as_shown(camera: Camera, size_px: tuple[int, int], stored_px: tuple[int, int] | None) -> Camera:
    """The camera for frames as they are read: one for stored pixels that are not square is stretched with them.

    Args:
        camera: As it was given.
        size_px: (width, height) of the frames as they are read.
        stored_px: The same before their pixels were made square; None if they were square.
    """
    return camera if stored_px is None or camera.size_px != stored_px else camera.resized(size_px)


def _folder(path: Path) -> FolderFrames:
    files = list_images(path)
    files = tuple(file for file in files if not file.stem.lower().endswith("mask")) or files
    stems = [file.stem for file in files]
    if len(set(stems)) < len(stems):
        twice = max(stems, key=stems.count)
        raise BadInputError(f"{path} holds two images called {twice}", "one file for each frame", "move one away")
    size = image_size(files[0])
    for file in files[1:]:  # by their headers, before anything is decoded
        _check_size(file, image_size(file), size)
    return FolderFrames(path, files, size)


def _check_size(file: Path, found: tuple[int, int], size_px: tuple[int, int]) -> None:
    if found != size_px:
        raise BadInputError(
            f"{file} is {found[0]} x {found[1]} pixels",
            f"{size_px[0]} x {size_px[1]} as the first image",
            "put images of one size in a folder",
        )


def _movie(path: Path) -> MovieFrames:
    first = next(movie_frames(path))
    size = first.image.shape[1], first.image.shape[0]
    if is_dicom(path) and not (header := read_header(path)).is_stream:
        step_s = header.step_s or 1 / USUAL_RATE
        stored = None if squared(header.size_px, header.aspect) == header.size_px else header.size_px
        return MovieFrames(path, size, header.frames, step_s * header.frames, 1 / step_s, False, stored)
    with opened_video(path) as movie:
        count, duration_s = movie.announced or None, movie.duration_s
        if duration_s <= 0:
            count, duration_s = counted(movie)
        stored_px = movie.stream.width, movie.stream.height
        stored = None
        if squared(stored_px, movie.aspect) != stored_px:
            across, down = squared(stored_px, movie.aspect)
            stored = stored_px[::-1] if size == (down, across) != (across, down) else stored_px
        return MovieFrames(path, size, count, duration_s, movie.rate, movie.has_times, stored)


def part_of(movie: MovieFrames, cut: Cut) -> MovieFrames:
    """The part of a video that a cut takes, found by the times of its packets: nothing is decoded.

    Raises:
        BadInputError: The cut leaves no frame.
    """
    times_s = times_of(movie)
    taken = cut.span(times_s)
    step_s = 1 / movie.frames_per_second
    end_s = times_s[taken.stop] if taken.stop < len(times_s) else times_s[-1] + step_s
    part = Part(taken.start, times_s[taken.start], end_s, cut.every)
    return replace(movie, count=len(taken), duration_s=end_s - part.start_s, part=part)


def times_of(movie: MovieFrames) -> list[float]:
    """When each frame of a video is shown, by its packets; by the average rate where they have no times."""
    from av.error import FFmpegError

    step_s = 1 / (movie.rate or movie.frames_per_second)
    if is_dicom(movie.path) and not read_header(movie.path).is_stream:
        return [number * step_s for number in range(movie.count or 0)]
    times: list[float] = []
    with opened_video(movie.path) as opened:
        if not opened.has_times:
            return [number * step_s for number in range(counted(opened)[0])]
        start = opened.stream.start_time or 0
        try:
            for packet in opened.container.demux(opened.stream):
                if packet.size and not packet.is_discard and packet.pts is not None and packet.time_base is not None:
                    times.append(float((packet.pts - start) * packet.time_base))
        except FFmpegError:  # cut short
            pass
    return sorted(times)


def counted(movie: Movie) -> tuple[int, float]:
    """How many frames an open video holds and how long it is, where its header does not say: by reading its packets."""
    from av.error import FFmpegError

    count, times = 0, [0.0]
    try:
        for packet in movie.container.demux(movie.stream):
            count += bool(packet.size) and not packet.is_discard
            if packet.pts is not None and packet.time_base is not None:
                times.append(float((packet.pts - (movie.stream.start_time or 0)) * packet.time_base))
    except FFmpegError:  # cut short
        pass
    step_s = 1 / (movie.rate or USUAL_RATE)
    return count, max(times) + step_s if movie.has_times else count * step_s


def _first(count: int, frames: Iterator[Frame]) -> Iterator[Frame]:
    for number, frame in enumerate(frames, 1):
        yield frame
        if number == count:
            return
