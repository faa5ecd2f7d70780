"""The one CT series in a folder, whatever else lies in it."""

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depthscope.errors import BadInputError
from depthscope.formats.ct.lattice import volume_of
from depthscope.formats.ct.slices import Series, Slice, files_under, hounsfield, pixel_reader, slices_of
from depthscope.formats.ct.stack import MOST_DAMAGED, Stack, stacked
from depthscope.formats.ct.volume import CT
from depthscope.video import is_image

FEWEST = 4
"""Images of a series that may be a volume."""

STORED_OFFSET = 1024.0
"""Added to Hounsfield units by nearly all scanners that store them without a sign."""


def read_folder(folder: Path) -> CT:
    """The one CT series in a folder and those within it.

    Localizers, reports and series of other modalities are left out and told.

    Raises:
        BadInputError: No CT series, several, or one whose slices do not make a volume.
    """
    slices: list[Slice] = []
    unreadable: list[Path] = []
    for path in files_under(folder):
        found = slices_of(path, folder)
        if found is None:
            unreadable.append(path)
        else:
            slices += found
    chosen, others = _one_series(_by_series(slices), folder)
    ending = Counter(one.path.suffix for one in chosen).most_common(1)[0][0]
    damaged = [path for path in unreadable if ending and path.suffix == ending]
    if len(damaged) > MOST_DAMAGED:
        names = ", ".join(path.name for path in damaged[:6])
        raise BadInputError(
            f"{folder}: {len(damaged)} files that end in {ending} are no DICOM files: {names}",
            "whole slices",
            "copy the series again",
        )
    notes = [*others, *(f"{path.relative_to(folder)} left out: no DICOM file" for path in damaged)]
    return _read(chosen, str(folder), folder.name.split(".")[0], notes)


def read_file(path: Path) -> CT | None:
    """The volume in an enhanced multi-frame file, or None where the file is no DICOM file.

    Raises:
        BadInputError: One slice alone, another modality, or frames that do not make a volume.
    """
    slices = slices_of(path)
    if slices is None:
        return None
    if len(slices) < 2:
        raise BadInputError(
            f"{path} is a DICOM file {'of one slice' if slices else 'without images'}",
            "a CT volume",
            "give the folder of its series",
        )
    chosen, notes = _one_series(_by_series(list(slices)), path)
    return _read(chosen, str(path), path.name.split(".")[0], notes)


def _read(slices: list[Slice], where: str, name: str, notes: list[str]) -> CT:
    stack = stacked(slices, pixel_reader(slices), where)
    stack = Stack(stack.slices, stack.images, (*notes, *stack.notes))
    if stack.slices[0].rescale is None:
        stack = _without_rescale(stack, where)
    return volume_of(stack, name, where)


def _by_series(slices: list[Slice]) -> dict[Series, list[Slice]]:
    """Slices by their series; those that have one each are joined by the rest of what they say of it."""
    groups: dict[Series, list[Slice]] = defaultdict(list)
    for one in slices:
        groups[one.series].append(one)
    single = [parts[0] for parts in groups.values() if len(parts) == 1 and not parts[0].localizer]
    if len({one.series.uid for one in single}) < FEWEST:
        return dict(groups)
    joined: dict[Series, list[Slice]] = {name: parts for name, parts in groups.items() if parts[0] not in single}
    alike: dict[tuple[str, str, str], list[Slice]] = defaultdict(list)
    for one in single:
        alike[one.series.modality, one.series.description, one.series.number].append(one)
    if max(len(parts) for parts in alike.values()) < FEWEST:  # their numbers differ too
        alike = defaultdict(list)
        for one in single:
            alike[one.series.modality, "", ""].append(one)
    for (modality, description, number), parts in alike.items():
        uid = parts[0].series.uid
        joined[Series(uid, modality, description, number)] = parts
    return joined


def _one_series(groups: dict[Series, list[Slice]], where: Path) -> tuple[list[Slice], list[str]]:
    """The series that may be a CT volume, and what else there is, in words."""

    def told(names: list[Series]) -> str:
        return "; ".join(f"{name} ({len(groups[name])} slices)" for name in names[:6])

    names = list(groups)
    volumes = [
        name
        for name in names
        if name.modality in ("", "CT") and sum(not one.localizer for one in groups[name]) >= min(FEWEST, 2)
    ]
    if len(volumes) > 1:
        most = max(len(groups[name]) for name in volumes)
        volumes = [name for name in volumes if len(groups[name]) >= max(FEWEST, most // 20)] or volumes
    if len(volumes) != 1:
        if len(volumes) > 1 or not names:
            what = f"{len(volumes)} DICOM series{': ' + told(volumes) if volumes else ''}"
        elif all(one.localizer for parts in groups.values() for one in parts):
            what = f"only localizers: {told(names)}"
        else:
            modalities = sorted({name.modality for name in names if name.modality not in ("", "CT")})
            what = f"modality {', '.join(modalities)}: {told(names)}" if modalities else f"single slices: {told(names)}"
        pictures = [] if names or not where.is_dir() else [one for one in sorted(where.iterdir()) if is_image(one)]
        if pictures:
            raise BadInputError(
                f"{where} holds pictures ({pictures[0].name}, ...) and no DICOM series",
                "one CT series: pictures have neither Hounsfield units nor positions",
                "export the series as DICOM, NIfTI, NRRD or MetaImage",
            )
        raise BadInputError(
            f"{where}: {what}",
            "one CT series",
            "put each series in a folder of its own" if len(volumes) > 1 else "choose the folder of the CT series",
        )
    rest = [name for name in names if name != volumes[0]]
    return groups[volumes[0]], [f"left out: {told(rest)}"] if rest else []


def _without_rescale(stack: Stack, where: str) -> Stack:
    """Stored values taken for what they must be, by where air and soft tissue lie among them.

    Raises:
        BadInputError: They lie nowhere that is known.
    """
    values = stack.images
    if float(values.min()) < -200:
        note = "no rescale slope and intercept: values taken for Hounsfield units, which they reach below -200 like"
        return Stack(stack.slices, hounsfield(values), (*stack.notes, note))
    offset = STORED_OFFSET
    if not (_peak(values, offset - 1000, 80.0) and _peak(values, offset + 50, 120.0)):
        raise BadInputError(
            f"{where}: no rescale slope and intercept, and values from {float(values.min()):g} to "
            f"{float(values.max()):g}",
            "a CT in Hounsfield units, in which air is near -1000",
            "export the series with its rescale tags, or as NIfTI in Hounsfield units",
        )
    note = (
        f"no rescale slope and intercept: {offset:g} taken from all values, since air lies near 24 and tissue near 1074"
    )
    return Stack(stack.slices, hounsfield(values.astype(np.float32) - offset), (*stack.notes, note))


def _peak(values: NDArray, about: float, reach: float) -> bool:
    """Whether many values lie about a place, and few beside it."""
    some = values.reshape(-1)[:: max(1, values.size // 1_000_000)].astype(np.float32)
    inside = float((np.abs(some - about) <= reach).mean())
    beside = float(((np.abs(some - about) > reach) & (np.abs(some - about) <= 2 * reach)).mean())
    return inside > 0.005 and inside > 2 * beside
