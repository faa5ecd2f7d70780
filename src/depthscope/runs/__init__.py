"""A run: a recipe and clips become a trained network in a folder."""

from depthscope.runs.held_out import (
    HeldOutPoints,
    HeldOutSnippets,
    ValidatedOn,
    frames_to_look_at,
    log_depth_at,
    predicted,
    relative_errors,
    scale_of,
)
from depthscope.runs.run import RunResult, prepared, prepared_snippets, train_recipe

__all__ = [
    "HeldOutPoints",
    "HeldOutSnippets",
    "RunResult",
    "ValidatedOn",
    "frames_to_look_at",
    "log_depth_at",
    "predicted",
    "prepared",
    "prepared_snippets",
    "relative_errors",
    "scale_of",
    "train_recipe",
]
