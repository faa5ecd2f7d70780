"""Where networks compute, and the type of what training computes on.

Lightning Fabric takes as long to import as PyTorch itself, and prediction does not need it: `launched` imports it.
"""

from typing import TYPE_CHECKING, Any, Literal

import torch

if TYPE_CHECKING:
    from lightning_fabric import Fabric
else:
    Fabric = Any

Device = Literal["auto", "cpu", "cuda"]
"""Where a network computes; auto takes a GPU if there is one."""

Backend = Literal["auto", "torch", "onnxruntime", "openvino"]
"""What computes a network at prediction; auto takes the quickest that is installed (`depthscope.backends`)."""

__all__ = ["Backend", "Device", "Fabric", "resolved_device"]


def resolved_device(device: Device = "auto") -> Literal["cpu", "cuda"]:
    """What "auto" means here: the GPU where there is one."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device
