"""What computes a network at prediction: PyTorch, ONNX Runtime or OpenVINO.

The others take the network as ONNX (`depthscope.onnx_export`), which takes seconds to write; the file is kept in the
user's cache under a name made of the weights, so that this happens once for a model and a size of its images. On
processors with units for bf16, OpenVINO uses them, and depth differs from PyTorch's by up to about a hundredth.
"""

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from depthscope.errors import BadInputError
from depthscope.networks import DepthPrediction
from depthscope.networks.ray_channels import takes_rays
from depthscope.onnx_export import write_onnx
from depthscope.prediction import DepthModel
from depthscope.training.devices import Backend

WORTHWHILE = 1500
"""Frames from which `auto` writes an ONNX file: with fewer, PyTorch is done before the file is written."""

Runtime = Literal["onnxruntime", "openvino"]

Run = Callable[[dict[str, np.ndarray]], list[np.ndarray]]
"""From inputs by name to outputs in their order."""


class CompiledNetwork(nn.Module):
    """A depth network that another runtime computes; it is used as the network itself is, on the CPU.

    Args:
        model: Whose network it is.
        backend: What computes it.
        cache: Folder of the ONNX files.
    """

    def __init__(self, model: DepthModel, backend: Runtime, cache: Path) -> None:
        super().__init__()
        self.rays = takes_rays(model.network)
        self._model, self._cache = [model], cache  # a list hides the weights from .to()
        self.backend: Runtime = backend
        self._runs: dict[tuple[int, int], Run] = {}

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> DepthPrediction:
        """Log depth, and its deviation where the network predicts it; see `depthscope.networks`."""
        size = images.shape[-1], images.shape[-2]
        if size not in self._runs:
            self._runs[size] = _run_of(self._model[0], size, self.backend, self._cache)
        given = {"image": images[:, :3].contiguous().numpy()}
        if self.rays:
            rays = images[:, 3:] if images.shape[1] > 3 else images.new_zeros(len(images), 2, *images.shape[-2:])
            given["rays"] = rays.contiguous().numpy()
        depth, *deviation = (torch.from_numpy(np.array(found)) for found in self._runs[size](given))
        return DepthPrediction(depth.log(), deviation[0].log() if deviation else None)


def with_backend(
    model: DepthModel, backend: Backend, device: str, frames: int, cache: Path | None = None
) -> DepthModel:
    """The model with a network that `backend` computes.

    Args:
        model: From `depthscope.prediction.load_model`.
        backend: auto takes the quickest that is installed, and PyTorch on a GPU or for few frames.
        device: "cpu" or "cuda".
        frames: How many there are to predict.
        cache: Folder of the ONNX files; the user's cache if None.

    Raises:
        BadInputError: The backend is not installed, or `device` is no CPU.
    """
    if backend == "auto":
        backend = quickest(device, frames)
    if backend == "torch":
        return model
    if device != "cpu":
        raise BadInputError(f"--backend {backend} with --device {device}", "the CPU", "leave one of them away")
    for package in (backend, "onnx", "onnxscript"):
        if find_spec(package) is None:
            remedy = "pip install openvino" if package == "openvino" else "pip install 'depthscope[export]'"
            raise BadInputError(f"{package} is not installed", f"what --backend {backend} needs", remedy)
    return replace(model, network=CompiledNetwork(model, backend, cache or cache_folder()).eval())


def quickest(device: str, frames: int) -> Literal["torch", "onnxruntime", "openvino"]:
    """The runtime that is done first with so many frames.

    It follows from what is installed and from the processor, not from a measurement, so that the same machine gives the
    same numbers each time: OpenVINO where it can compute in bf16, else ONNX Runtime (`benchmarks/backends.py`).
    """
    installed = [name for name in ("openvino", "onnxruntime") if find_spec(name) is not None]
    exports = all(find_spec(name) is not None for name in ("onnx", "onnxscript"))
    if device != "cpu" or frames < WORTHWHILE or not exports or not installed:
        return "torch"
    if "openvino" in installed and ("onnxruntime" not in installed or openvino_has_bf16()):
        return "openvino"
    return "onnxruntime"


def openvino_has_bf16() -> bool:
    """Whether OpenVINO computes in bf16 on this processor."""
    import openvino  # pyright: ignore[reportMissingImports]

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def onnx_file(model: DepthModel, size_px: tuple[int, int], cache: Path) -> Path:
    """The network as ONNX for images of `size_px` (width, height), written into `cache` if it is not there."""
    digest = hashlib.sha256(version("depthscope").encode())
    for name, value in sorted(model.network.state_dict().items()):
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    digest.update(repr(model.recipe.network).encode())
    path = cache / f"{digest.hexdigest()[:24]}_{size_px[0]}x{size_px[1]}.onnx"
    if not path.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        write_onnx(model, path, size_px)
    return path


def _run_of(model: DepthModel, size_px: tuple[int, int], backend: Runtime, cache: Path) -> Run:
    """A network ready to compute: its file is made anew where it is damaged, and not kept where nothing can be."""
    try:
        path = onnx_file(model, size_px, cache)
    except OSError:  # a home that cannot be written to; the file serves this one time
        with tempfile.TemporaryDirectory(prefix="depthscope-onnx-") as folder:
            return _opened(backend, onnx_file(model, size_px, Path(folder)))
    try:
        return _opened(backend, path)
    except Exception:  # each runtime has its own errors for a file that it cannot read
        path.unlink()
        return _opened(backend, onnx_file(model, size_px, cache))


def cache_folder() -> Path:
    """Where ONNX files are kept for the next time."""
    try:
        from platformdirs import user_cache_path
    except ImportError:
        return Path.home() / ".cache" / "depthscope"
    return user_cache_path("depthscope", appauthor=False)


def _opened(backend: Runtime, path: Path) -> Run:
    """A file ready to compute, with as many threads as PyTorch has."""
    threads = torch.get_num_threads()
    if backend == "openvino":
        import openvino  # pyright: ignore[reportMissingImports]

        compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_NUM_THREADS": threads})
        request = compiled.create_infer_request()
        return lambda given: [np.array(value) for value in request.infer(given).values()]
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda given: [np.asarray(value) for value in session.run(None, given)]
