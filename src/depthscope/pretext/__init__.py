"""Learning from unlabelled video: seven systems, each of a real use.

A module is one system. They do not know of each other: what two of them share lies in `networks` or `corpus`.
"""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from depthscope.corpus import Corpus, CorpusOptions
from depthscope.errors import BadInputError
from depthscope.networks.encoder import EncoderOptions
from depthscope.pretext.learned import Learned, Score
from depthscope.pretext.stored import encoder_of, from_yaml, pretext_of, stored_weights, to_yaml, write_encoder
from depthscope.training import Training

__all__ = [
    "Learned",
    "Pretext",
    "SYSTEMS",
    "Score",
    "encoder_of",
    "pretext_of",
    "stored_options",
    "stored_weights",
    "system_named",
    "to_yaml",
    "write_encoder",
]

SYSTEMS = {
    "jigsaw": "Jigsaw",
    "exemplar": "Exemplar",
    "colorization": "Colorization",
    "video-colorization": "VideoColorization",
    "audio-visual": "AudioVisual",
    "deepcluster": "DeepCluster",
    "error-boosting": "ErrorBoosting",
}
"""Each system's name on the command line and its class, in the module of the same name."""


@runtime_checkable
class Pretext(Protocol):
    """Options of a system, which are what learns: a frozen dataclass."""

    @property
    def encoder(self) -> EncoderOptions:
        """What is trained."""
        ...

    @property
    def frames(self) -> CorpusOptions:
        """How video becomes a corpus."""
        ...

    @property
    def training(self) -> Training:
        """How it is trained."""
        ...

    def learn(self, corpus: Corpus, out: Path, *, resume: bool = False, quiet: bool = False) -> Learned:
        """Learns from the frames, and leaves checkpoints and logs in `out`."""
        ...


def system_named(name: str) -> Callable[..., Any]:
    """The class of a system.

    Raises:
        BadInputError: There is none of this name.
    """
    key = name.lower().replace("_", "-")
    if key not in SYSTEMS:
        raise BadInputError(f"no pretext task '{name}'", f"one of {', '.join(SYSTEMS)}")
    module = importlib.import_module(f"depthscope.pretext.{key.replace('-', '_')}")
    return getattr(module, SYSTEMS[key])


def stored_options(run: Path) -> tuple[str, Any]:
    """The name of the system that a run learned, and its options.

    Raises:
        BadInputError: The run learned depth, or something this version does not know.
    """
    text = pretext_of(run)
    if text is None:
        raise BadInputError(f"{run} learned depth", "a run of depthscope pretrain")
    for name, kind in SYSTEMS.items():
        if text.startswith(f"type: {kind}\n"):
            return name, from_yaml(text, (system_named(name),), str(run))  # type: ignore[arg-type]
    raise BadInputError(
        f"{run} learned {text.partition(chr(10))[0][:80]}", f"one of {', '.join(SYSTEMS)}", "use another version"
    )
