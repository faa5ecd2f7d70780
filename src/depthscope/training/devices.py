"""The type of what training computes on.

Lightning Fabric takes as long to import as PyTorch itself, and prediction does not need it: `launched` imports it.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_fabric import Fabric
else:
    Fabric = Any

__all__ = ["Fabric"]
