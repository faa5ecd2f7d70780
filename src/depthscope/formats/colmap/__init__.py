"""COLMAP models, text and binary, parsed here: the common denominator of structure-from-motion programs.

Poses are camera_from_world, axes as OpenCV, and the top-left pixel's centre is (0.5, 0.5): all as in this package.
``rigs`` and ``frames`` files (COLMAP 3.12 and later) repeat what ``images`` says, and are not needed.
"""

import shutil
from dataclasses import replace
from os.path import commonpath
from pathlib import Path

import numpy as np
import torch

from depthscope.errors import BadInputError, require_file
from depthscope.formats.colmap import binary, text as text_files
from depthscope.formats.colmap.cameras import has_name
from depthscope.formats.colmap.model import NO_POINT, Model
from depthscope.formats.lens_fit import FISHEYE, with_named_lenses
from depthscope.formats.motions import motions_of
from depthscope.reading import inside, reader, reading
from depthscope.sequence import Observations, Sequence
from depthscope.video import IMAGE_ENDINGS, check_sizes, order_of_name, read_grey, write_image

PARTS = ("cameras", "images", "points3D")
MASK = "mask.png"

TISSUE_FROM = 128
"""Grey level from which a pixel of the mask is tissue."""


def recognises(folder: Path) -> bool:
    """Whether a folder holds a COLMAP model, complete or not."""
    return bool(_model_folders(Path(folder)))


@reader("a COLMAP model")
def read(folder: Path, images: Path | None = None) -> Sequence:
    """Reads a model: of a folder's ``sparse/0``, ``sparse``, ``colmap``, or of the folder itself.

    Of several models the one with most images is read. Images that are not in it count as unregistered.

    Args:
        folder: The folder.
        images: Where the images are; found in ``images/`` beside or above the model if not given.

    Raises:
        BadInputError: A file is missing or damaged, files do not belong together, a camera model cannot be represented.
    """
    folder = Path(folder)
    models = _model_folders(folder)
    if not models:
        raise BadInputError(f"{folder} holds no COLMAP model", "cameras, images and points3D files", "check the path")
    notes = []
    place = max(models, key=_registered_count)
    if len(models) > 1:
        rest = ", ".join(f"{m.name} ({_registered_count(m)} images)" for m in models if m != place)
        notes.append(f"of {len(models)} models the largest was read, {place.name}; not read: {rest}")
    model = _read_model(place)
    _check_model(model, place)

    order = sorted(range(len(model.names)), key=lambda i: order_of_name(model.names[i]))
    names = [model.names[i] for i in order]
    image_folder = _image_folder(folder, place, names, images)
    paths = tuple(inside(image_folder, name, place) for name in names)
    cameras = tuple(model.cameras[int(model.camera_ids[i])] for i in order)
    for camera in dict.fromkeys(cameras):
        own = [path for path, c in zip(paths, cameras, strict=True) if c == camera]
        check_sizes(own, camera.size_px, "its COLMAP camera")
    quaternions = torch.from_numpy(model.poses[order, :4])
    translations = torch.from_numpy(model.poses[order, 4:])
    observations = _observations(model, order, place)
    if len(observations) < len(model.tracks):
        notes.append(
            f"{len(model.tracks) - len(observations)} observations saw a point twice in one image: the first kept"
        )
    sequence = Sequence(
        name=folder.resolve().name,
        images=paths,
        cameras=cameras,
        camera_from_world=motions_of(quaternions, translations, names, place),
        points=torch.from_numpy(model.points),
        observations=observations,
        mask=_read_mask(folder, place),
        point_error_px=torch.from_numpy(model.errors) if (model.errors >= 0).any() else None,
        point_colours=torch.from_numpy(model.colours) if model.colours.any() else None,
        unregistered=_unregistered(image_folder, set(names)),
        notes=("poses are camera_from_world, as COLMAP stores them", *notes),
        pose_direction="camera_from_world",
    )
    hides = sequence.mask is not None and not bool(sequence.mask.all())
    return sequence if hides else replace(sequence, mask=None)


def write(sequence: Sequence, folder: Path, *, text: bool = False) -> tuple[str, ...]:
    """Writes ``sparse/0``, ``images/`` and, where there is one, ``mask.png``; returns what was decided, in words.

    Images are copied as they are, under their names below the folder that they share. Without measured pixels the
    projections of the points are written. Errors and colours that are not known are written as COLMAP does: -1, black.
    An omnidirectional camera, which COLMAP has not, is written as the nearest fisheye, and its error is returned.

    Args:
        sequence: The sequence.
        folder: The folder to write in.
        text: Write the text files instead of the binary ones.

    Raises:
        BadInputError: No fisheye comes near an omnidirectional camera.
    """
    sequence, lens_notes = with_named_lenses(sequence, has_name, (FISHEYE,), "COLMAP")
    folder, notes = Path(folder), [*lens_notes]
    root = Path(commonpath([path.parent.absolute() for path in sequence.images]))
    names = [path.absolute().relative_to(root).as_posix() for path in sequence.images]
    for name in (*names, *sequence.unregistered):
        copy = folder / "images" / name
        if (root / name).is_file() and (root / name).resolve() != copy.resolve():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, copy)
    if sequence.observations.pixels is None:
        notes.append("the sequence has no measured pixels: the projections of its points were written")
    if sequence.mask is not None:
        write_image(folder / MASK, sequence.mask.to(torch.uint8) * 255)
    write_model(sequence, folder / "sparse" / "0", names, text=text)
    return tuple(notes)


def write_model(sequence: Sequence, place: Path, names: list[str], *, text: bool = False) -> None:
    """Writes the files of the model alone.

    Args:
        sequence: The sequence.
        place: Folder of the files.
        names: Of the images in the model.
        text: Write the text files instead of the binary ones.
    """
    place.mkdir(parents=True, exist_ok=True)
    model = _model_of(sequence, names)
    for part, writer in (text_files if text else binary).WRITERS.items():
        with (place / f"{part}.{'txt' if text else 'bin'}").open("wb") as stream:
            stream.writelines(writer(model))


# Folders


def _model_folders(folder: Path) -> list[Path]:
    """The models of a folder: its own, or those of the first place below it that has any."""
    for place in (folder, folder / "sparse", folder / "colmap", folder / "colmap" / "sparse"):
        found = [p for p in (place, *_numbered(place)) if _parts(p)]
        if found:
            return found[:1] if found[0] == place else found
    return []


def _numbered(place: Path) -> list[Path]:
    if not place.is_dir():
        return []
    return sorted((p for p in place.iterdir() if p.is_dir() and p.name.isdigit()), key=lambda p: int(p.name))


def _parts(place: Path) -> bool:
    return any((place / f"{part}{ending}").is_file() for part in PARTS for ending in (".bin", ".txt"))


def _file(place: Path, part: str) -> Path:
    """The binary file of a part, or else the text file.

    All three parts come from one kind, so that a stale text file never meets a new binary one.
    """
    binary = any((place / f"{p}.bin").is_file() for p in PARTS)
    text = all((place / f"{p}.txt").is_file() for p in PARTS)
    complete = all((place / f"{p}.bin").is_file() for p in PARTS)
    ending = "bin" if complete or (binary and not text) else "txt"
    return require_file(place / f"{part}.{ending}", "the three files cameras, images and points3D of a COLMAP model")


def _registered_count(place: Path) -> int:
    """How many images a model has, without reading it."""
    try:
        path = _file(place, "images")
    except BadInputError:
        return -1
    if path.suffix == ".bin":
        with path.open("rb") as stream:
            return int.from_bytes(stream.read(8), "little")
    return len(text_files.data_lines(path)) // 2


def _image_folder(folder: Path, place: Path, names: list[str], given: Path | None) -> Path:
    """Where the images are: of the usual places the one that has all of them.

    Raises:
        BadInputError: Images are missing.
    """
    usual = [f / "images" for f in (folder, place, *list(place.absolute().parents)[:3])]
    candidates = [Path(given)] if given is not None else list(dict.fromkeys([*usual, folder, place]))
    missing = {f: [name for name in names if not (f / name).is_file()] for f in candidates}
    best = min(candidates, key=lambda f: len(missing[f]))
    if missing[best]:
        raise BadInputError(
            f"{best} lacks {len(missing[best])} of the {len(names)} registered images, first '{missing[best][0]}'",
            "images/ beside the model, with the names that the model uses",
            "copy the images there",
        )
    return best


def _unregistered(folder: Path, registered: set[str]) -> tuple[str, ...]:
    found = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.suffix.lower() in IMAGE_ENDINGS]
    return tuple(sorted((n for n in found if n not in registered and n != MASK), key=order_of_name))


def _read_mask(folder: Path, place: Path) -> torch.Tensor | None:
    """The mask that `write` leaves beside the model, if there is one."""
    path = next((f / MASK for f in (folder, place, *list(place.parents)[:2]) if (f / MASK).is_file()), None)
    if path is None:
        return None
    return read_grey(path) >= TISSUE_FROM


# From and to arrays


def _read_model(place: Path) -> Model:
    paths = {part: _file(place, part) for part in PARTS}
    readers = (binary if paths["images"].suffix == ".bin" else text_files).READERS
    fields = {}
    for part, path in paths.items():
        with reading(path, "a whole file of a COLMAP model", "copy or export it again"):
            fields.update(readers[part](path))
    return Model(**fields)


def _check_model(model: Model, place: Path) -> None:
    """Refuses files that do not belong together."""
    unknown = set(model.camera_ids.tolist()) - set(model.cameras)
    if unknown:
        raise BadInputError(
            f"{place}: images of camera {min(unknown)}, which the cameras file lacks",
            "files of one model",
            "export again",
        )
    if len(set(model.image_ids.tolist())) < len(model.image_ids) or len(set(model.names)) < len(model.names):
        raise BadInputError(f"{place}: an image is listed twice", "each image once", "export the model again")
    observed = int((model.pixel_points != NO_POINT).sum())
    if observed != len(model.tracks):
        raise BadInputError(
            f"{place}: the images observe points {observed} times, the tracks of the points {len(model.tracks)} times",
            "the same number",
            "export images and points3D from the same model",
        )


def _observations(model: Model, order: list[int], place: Path) -> Observations:
    """The tracks with their pixels, ordered by point and frame."""
    image_order = np.argsort(model.image_ids)
    sorted_ids = model.image_ids[image_order]
    point = np.repeat(np.arange(len(model.points)), model.lengths)
    slot = np.searchsorted(sorted_ids, model.tracks[:, 0])
    known = np.append(sorted_ids, -1)[slot] == model.tracks[:, 0]
    image = image_order[np.minimum(slot, len(sorted_ids) - 1)]
    inside = known & (model.tracks[:, 1] >= 0) & (model.tracks[:, 1] < model.keypoints[image])
    start = np.cumsum(model.keypoints) - model.keypoints
    row = np.where(inside, start[image] + model.tracks[:, 1], 0)
    agrees = inside & (model.pixel_points[row] == model.point_ids[point]) if len(model.pixels) else inside
    if not agrees.all():
        bad = model.point_ids[point[~agrees][0]]
        raise BadInputError(
            f"{place}: the track of point {bad} names a keypoint that does not belong to it",
            "files of one model",
            "export images and points3D from the same model",
        )
    frame_of_image = np.empty(len(order), dtype=np.int64)
    frame_of_image[order] = np.arange(len(order))
    frame = frame_of_image[image]
    _, first = np.unique(point * len(order) + frame, return_index=True)
    return Observations(
        torch.from_numpy(frame[first]), torch.from_numpy(point[first]), torch.from_numpy(model.pixels[row[first]])
    )


def _model_of(sequence: Sequence, names: list[str]) -> Model:
    """A sequence as a model, everything numbered from 1, keypoints only where a point was seen."""
    cameras = {camera: number for number, camera in enumerate(dict.fromkeys(sequence.cameras), 1)}
    frame, point = sequence.observations.frame.numpy(), sequence.observations.point.numpy()
    measured = sequence.observations.pixels
    pixels = (sequence.projections if measured is None else measured).double().numpy()
    by_image, by_point = np.lexsort((point, frame)), np.lexsort((frame, point))
    keypoints = np.bincount(frame, minlength=len(sequence))
    keypoint = np.empty(len(frame), dtype=np.int64)
    keypoint[by_image] = np.arange(len(frame)) - np.repeat(np.cumsum(keypoints) - keypoints, keypoints)
    motion, count = sequence.camera_from_world, len(sequence.points)
    errors, colours = sequence.point_error_px, sequence.point_colours
    return Model(
        cameras={number: camera for camera, number in cameras.items()},
        image_ids=np.arange(1, len(sequence) + 1),
        names=tuple(names),
        camera_ids=np.array([cameras[camera] for camera in sequence.cameras]),
        poses=torch.cat([motion.quaternion_wxyz, motion.translation], -1).double().numpy(),
        keypoints=keypoints,
        pixels=pixels[by_image],
        pixel_points=point[by_image] + 1,
        point_ids=np.arange(1, count + 1),
        points=sequence.points.double().numpy(),
        colours=np.zeros((count, 3), np.uint8) if colours is None else colours.numpy(),
        errors=np.full(count, -1.0) if errors is None else errors.double().numpy(),
        lengths=np.bincount(point, minlength=count),
        tracks=np.stack([frame[by_point] + 1, keypoint[by_point]], 1),
    )
