"""What is wrong with depth maps as a whole: inverse depth, another shape than the frames, a protocol of other data."""

from collections.abc import Iterable
from itertools import islice

import torch
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.evaluation.depth import spread
from depthscope.evaluation.protocols import DepthProtocol, MapPair

BETTER, AT_LEAST = 0.5, 0.02
"""Inverse depth is named if it leaves less than the first share of the error, and the second less of it."""

MOST_FRAMES, LEAST_PIXELS = 10, 50

SAME_ASPECT = 0.05
"""Ratios of width to height that differ by less than this share are the same but for rounding."""

DATA = ("scared", "hamlyn", "c3vd", "simcol3d", "servct", "kitti")
"""Data sets that protocols are called after."""


def inverse_warning(pairs: Iterable[MapPair]) -> list[str]:
    """What to say where the inverse of a prediction fits the truth clearly better, each frame at its own scale.

    Args:
        pairs: Names, predictions and truths of frames, of one size, 0 where unknown.
    """
    errors = []
    for _, prediction, truth in islice(pairs, MOST_FRAMES):
        known = (prediction > 0) & (truth > 0)
        if int(known.sum()) >= LEAST_PIXELS:
            found, true = prediction[known].double().log(), truth[known].double().log()
            errors.append([float(spread(found - true)), float(spread(-found - true))])
    if not errors:
        return []
    as_read, inverse = torch.tensor(errors, dtype=torch.float64).mean(0).tolist()
    if inverse >= BETTER * as_read or as_read - inverse < AT_LEAST:
        return []
    return [
        f"PREDICTION fits better as inverse depth ({inverse:.2%} against {as_read:.2%}): it holds disparities; write 1 "
        "over each value"
    ]


def shape_warning(prediction: Tensor, truth: Tensor, name: str) -> list[str]:
    """What to say where maps have another shape than the frames, which resizing would squeeze.

    Args:
        prediction: The map of a frame as it is stored.
        truth: The true one.
        name: Of the prediction's file.

    Raises:
        BadInputError: They are turned by a quarter.
    """
    (down, across), (rows, columns) = prediction.shape, truth.shape
    own, wanted = across / down, columns / rows
    if abs(own / wanted - 1) < SAME_ASPECT:
        return []
    if abs(own * wanted - 1) < SAME_ASPECT:
        raise BadInputError(
            f"{name} is {across} x {down} pixels",
            f"the shape of the true depth, {columns} x {rows}",
            "rows and columns are exchanged: transpose the maps",
        )
    return [
        f"{name} is {across} x {down} pixels, and the true depth {columns} x {rows}: the maps were stretched to it by "
        "different factors across and down; if they show a part of the frame, lay them back into it"
    ]


def protocol_warning(protocol: DepthProtocol, layout: str) -> list[str]:
    """What to say where a protocol is called after another data set than that of the truth.

    Args:
        protocol: What is compared.
        layout: Of the truth.
    """
    meant, own = protocol.name.split("-")[0], layout.lower().replace("-", "").removesuffix("v2")
    if meant not in DATA or own not in DATA or meant == own:
        return []
    return [
        f"protocol {protocol.name} is for another data set than {layout}: its figures compare with nothing published"
    ]


def nothing_in_common(pairs: Iterable[MapPair], prediction: str, truth: str) -> BadInputError:
    """Why no frame could be compared.

    Args:
        pairs: As they were compared.
        prediction: Where the predictions are from.
        truth: Where the true depth is from.
    """
    found = [(bool((one > 0).any()), bool((other > 0).any())) for _, one, other in pairs]
    for place, side in ((prediction, 0), (truth, 1)):
        if not any(has[side] for has in found):
            return BadInputError(
                f"{place}: no map has a depth above 0 (0, negative and NaN are unknown)",
                "depth in at least one frame",
                "check how the maps were written",
            )
    return BadInputError(
        f"no pixel has depth in both {prediction} and {truth} within the protocol's range and crop",
        "maps of the same frames in the same unit",
        "check frames, unit and protocol",
    )
