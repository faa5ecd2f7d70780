"""Similarities as files: 4x4 matrices in text, JSON or YAML, and ITK transforms that 3D Slicer opens."""

from pathlib import Path

import numpy as np
import SimpleITK
import torch

from depthscope.errors import BadInputError, require_file
from depthscope.formats import itk
from depthscope.geometry import RigidMotion, Similarity
from depthscope.reading import json_of, reader, text_of, yaml_of

NAMES = ("target_from_source", "matrix", "transform")
"""Keys under which a matrix is looked for in JSON and YAML."""


@reader("a 4x4 matrix (text, JSON, YAML or .tfm)", "write it again")
def read(path: Path) -> Similarity:
    """Reads ``target_from_source``, roughly a similarity: the nearest one to the 4x4 matrix is returned.

    Text holds 16 numbers in rows; JSON and YAML hold four rows, alone or under ``target_from_source`` (such as the
    ``result.json`` of an earlier registration); ``.tfm`` and ``.h5`` are ITK transforms as `write_itk` writes them.

    Raises:
        BadInputError: No such file, no such matrix, or one that mirrors or flattens.
    """
    path = require_file(Path(path), "a 4x4 matrix (text, JSON, YAML or .tfm)")
    try:
        matrix = _matrix(path)
    except (ValueError, TypeError, OverflowError) as error:  # also NumPy's LinAlgError
        raise BadInputError(
            f"{path} holds no 4x4 matrix", "16 numbers in rows, from the surface to LPS mm", "write it again"
        ) from error
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or np.abs(matrix[3] - [0, 0, 0, 1]).max() > 1e-6:
        raise BadInputError(f"{path}: no 4x4 matrix that ends in 0 0 0 1", "a similarity", "write it again")
    linear = torch.from_numpy(matrix[:3, :3].astype(np.float64))
    u, sizes, vt = torch.linalg.svd(linear)
    if float(torch.linalg.det(linear)) <= 0:
        raise BadInputError(
            f"{path}: a matrix that mirrors or flattens", "a similarity", "check the axes: LPS, not RAS"
        )
    if float(sizes[0] / sizes[2]) > 1.2:
        raise BadInputError(f"{path}: a matrix that shears", "rotation, scale and shift", "write it again")
    shift = torch.from_numpy(matrix[:3, 3].astype(np.float64))
    return Similarity(sizes.mean(), RigidMotion(u @ vt, shift))


def _matrix(path: Path) -> np.ndarray:
    match path.suffix.lower():
        case ".json" | ".yaml" | ".yml":
            read_file = json_of if path.suffix.lower() == ".json" else yaml_of
            found = read_file(path, "a 4x4 matrix", object)
            if isinstance(found, dict):
                found = next((found[name] for name in NAMES if name in found), None)
            return np.array(found, dtype=np.float64).reshape(4, 4)
        case ".tfm" | ".h5":
            return np.linalg.inv(itk.read_transform(path, "an ITK transform of a similarity"))
        case _:
            return np.array(text_of(path, "a 4x4 matrix").replace(",", " ").split(), dtype=np.float64).reshape(4, 4)


def write_text(similarity: Similarity, path: Path) -> Path:
    """Writes the 4x4 matrix ``target_from_source`` as four rows of text."""
    rows = [" ".join(f"{value:.17g}" for value in row) for row in similarity.matrix.tolist()]
    path.write_text("\n".join(rows) + "\n")
    return path


def write_itk(similarity: Similarity, path: Path) -> Path:
    """Writes an ITK transform file (LPS mm) for 3D Slicer.

    ITK's files hold the map from the target to the source, since that is what resampling needs, and Slicer turns them
    round: put the source's model under the loaded transform, and it lies in the CT.
    """
    inverse = similarity.inverse().matrix.double()
    affine = SimpleITK.AffineTransform(3)
    affine.SetMatrix(inverse[:3, :3].reshape(-1).tolist())
    affine.SetTranslation(inverse[:3, 3].tolist())
    SimpleITK.WriteTransform(affine, str(path))
    return path
