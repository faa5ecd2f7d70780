"""A depth network as ONNX, for runtimes without PyTorch; what its inputs and outputs mean goes with it.

Inputs: ``image`` (batch, 3, height, width), sRGB in 0..1, black outside the content area; and for a network that takes
them ``rays`` (batch, 2, height, width), see `depthscope.networks.ray_channels`, zeros where the camera is not known.
Outputs: ``depth`` (batch, height, width), z-depth in the network's own unit, and where the network predicts it
``relative_std`` (batch, height, width), the standard deviation as a share of depth. The batch is free.
"""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from depthscope.errors import BadInputError
from depthscope.networks import as_prediction
from depthscope.networks.ray_channels import takes_rays
from depthscope.prediction import DepthModel
from depthscope.workspace import atomic_file

TOLERANCE = 1e-4
"""Largest relative difference from PyTorch that an export may have."""


class Exported(nn.Module):
    """A network as the file describes it: inputs and outputs by name, without our types."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(
        self,
        image: Float[Tensor, "batch 3 height width"],
        rays: Float[Tensor, "batch 2 height width"] | None = None,
    ) -> tuple[Tensor, ...]:
        """Depth, and its relative standard deviation where the network predicts it."""
        said = as_prediction(self.network(image if rays is None else torch.cat([image, rays], 1)))
        depth = said.log_depth.exp()
        return (depth,) if said.log_std is None else (depth, said.log_std.exp())


def write_onnx(model: DepthModel, path: Path, size_px: tuple[int, int]) -> float:
    """Writes a network and checks it against PyTorch where ONNX Runtime is installed.

    Args:
        model: The network.
        path: The file; it is written whole or not at all.
        size_px: (width, height) of its images, both divisible by ``model.divisor``.

    Returns:
        The largest relative difference from PyTorch; NaN where ONNX Runtime is not installed.

    Raises:
        BadInputError: The exporter is not installed, the size does not fit, or the file computes something else.
    """
    width, height = size_px
    if width < 1 or height < 1 or width % model.divisor or height % model.divisor:
        raise BadInputError(f"--size {width}x{height}", f"sides divisible by {model.divisor}")
    _require_exporter()
    exported = Exported(model.network).eval()
    inputs = example(model, size_px, 2)
    batch = torch.export.Dim("batch", min=1, max=1024)
    names = ["image", "rays"][: len(inputs)]
    outputs = ["depth", "relative_std"][: len(exported(*inputs))]
    with _quiet():
        program = torch.onnx.export(
            exported,
            inputs,
            dynamo=True,
            verbose=False,
            input_names=names,
            output_names=outputs,
            dynamic_shapes=tuple({0: batch} for _ in names),
        )
    assert program is not None
    program.model.metadata_props.update(described(model, size_px))
    with atomic_file(path) as draft:
        program.save(str(draft))
        difference = difference_from_torch(draft, exported, example(model, size_px, 3))
        if difference > TOLERANCE:
            raise BadInputError(
                f"the export differs from PyTorch by {difference:.2g}", f"at most {TOLERANCE:g}", "report this"
            )
    return difference


def described(model: DepthModel, size_px: tuple[int, int]) -> dict[str, str]:
    """What a user of the file has to know, as its metadata."""
    return {
        "depthscope": version("depthscope"),
        "recipe": model.recipe.name,
        "unit": model.unit if model.unit_length is not None else "relative",
        "unit_length": json.dumps(model.unit_length),
        "size_px": json.dumps(list(size_px)),
        "image": "sRGB in 0..1, RGB order, cropped to the content area, black outside it",
        "rays": (
            "angle from the optical axis in radians times the unit vector of its direction (x right, y down); "
            "zeros where the camera is not known"
            if takes_rays(model.network)
            else "not taken"
        ),
        "depth": "z-depth along the optical axis",
        "relative_std": "standard deviation of depth as a share of depth",
        "use": "research only",
    }


def example(model: DepthModel, size_px: tuple[int, int], count: int) -> tuple[Tensor, ...]:
    """Inputs of the right shapes."""
    draw = torch.Generator().manual_seed(count)
    image = torch.rand(count, 3, size_px[1], size_px[0], generator=draw)
    rays = 0.4 * torch.randn(count, 2, size_px[1], size_px[0], generator=draw)
    return (image, rays) if takes_rays(model.network) else (image,)


def difference_from_torch(path: Path, exported: nn.Module, inputs: tuple[Tensor, ...]) -> float:
    """Largest relative difference between ONNX Runtime and PyTorch over all outputs; NaN without ONNX Runtime."""
    try:
        import onnxruntime
    except ImportError:
        return float("nan")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    given = {node.name: value.numpy() for node, value in zip(session.get_inputs(), inputs, strict=True)}
    with torch.inference_mode():
        expected = exported(*inputs)
    found = session.run(None, given)
    return max(float((torch.from_numpy(f) / e - 1).abs().max()) for f, e in zip(found, expected, strict=True))


def _require_exporter() -> None:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise BadInputError(
            f"{error.name} is not installed", "the exporter of ONNX", "pip install 'depthscope[export]'"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Nothing of what the exporter tells its own developers."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        log.setLevel(logging.ERROR)
        try:
            yield
        finally:
            log.setLevel(level)
