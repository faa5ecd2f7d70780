"""Hamlyn, rectified, as published with Endo-Depth-and-Motion (Recasens et al. 2021), left camera.

Written after that project's published loader and description: ``image01`` beside ``depth01`` (or ``color`` beside
``depth``), 16-bit PNG in mm from stereo matching, of which values under 1 and over 300 are no measurement;
``intrinsics.txt`` in rows of 3 or 4 numbers. There are no poses. Not verified, as the data is not here: whether its
principal point counts from the first pixel's centre, as taken here.
"""

from pathlib import Path

from depthscope.errors import BadInputError
from depthscope.formats.dataset_files import camera_beside, depth_beside, numbered, rows_of_numbers, size_of
from depthscope.formats.intrinsics import camera_for, remarks_on_centre
from depthscope.ground_truth import DepthEncoding, GroundTruth
from depthscope.reading import reader

ENCODING = DepthEncoding("uint16", 1.0, smallest=1.0, largest=300.5)
PLACES = (("image01", "depth01"), ("color", "depth"))
INTRINSICS = "intrinsics.txt"


def recognises(folder: Path) -> bool:
    """Whether a folder is laid out like this, complete or not."""
    image, depth = _places(folder)
    if not (folder / image).is_dir():
        return False
    return (folder / depth).is_dir() or (folder / INTRINSICS).is_file()


@reader("a folder of Hamlyn")
def read(folder: Path) -> GroundTruth:
    """Reads one ``rectifiedNN`` folder.

    Raises:
        BadInputError: A file is missing or damaged.
    """
    folder = Path(folder)
    image, depth = _places(folder)
    frames = numbered(folder / image, r"\D*(\d+)\.(?:png|jpe?g)")
    if not frames:
        raise BadInputError(f"{folder} looks like Hamlyn, but {image} holds no numbered images", "0000000000.jpg, ...")
    maps = numbered(folder / depth, r"\D*(\d+)\.png")
    files = depth_beside(
        frames, maps, ENCODING, f"{folder} looks like Hamlyn: {len(frames)} frames in {image}", f"{depth}/*.png"
    )
    paths = tuple(frames.values())
    size = size_of(paths)
    camera = camera_beside((folder,), size)
    if camera is None:
        if not (folder / INTRINSICS).is_file():
            raise BadInputError(f"{folder} looks like Hamlyn, but no {INTRINSICS}", "it beside the frames", "copy it")
        k = rows_of_numbers(folder / INTRINSICS, (3, 4))
        if len(k) < 2:
            raise BadInputError(f"{folder / INTRINSICS} holds {len(k)} row", "at least 2", "download it again")
        focal, centre = (float(k[0, 0]), float(k[1, 1])), (float(k[0, 2]) + 0.5, float(k[1, 2]) + 0.5)
        camera = camera_for(size, focal, centre, str(folder / INTRINSICS), source="Hamlyn intrinsics.txt")
    return GroundTruth(
        name=folder.resolve().name,
        layout="Hamlyn",
        images=paths,
        cameras=(camera,) * len(paths),
        camera_from_world=None,
        depth=files,
        notes=("depth is from stereo matching, 1 to 300 mm; the dataset has no poses", *remarks_on_centre(camera)),
    )


def _places(folder: Path) -> tuple[str, str]:
    return next((pair for pair in PLACES if (folder / pair[0]).is_dir()), PLACES[0])
