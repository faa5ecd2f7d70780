"""The pointer: a gray cell says which cells of other gray frames it looks like, and copies what they are labelled with.

Vondrick et al. (ECCV 2018): colour is the label while learning, and anything else in use, because nothing can be
produced that is not copied.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

Cells = Float[Tensor, "*batch channels cells"]


def unit(features: Float[Tensor, "*batch channels height width"]) -> Cells:
    """Cells as columns of length 1, so that products are cosines; in single precision whatever they came in."""
    return functional.normalize(features.float().flatten(-2), dim=-2)


def similarities(
    target: Float[Tensor, "batch channels targets"],
    references: Float[Tensor, "batch channels references"],
    temperature: float,
    usable: Bool[Tensor, "batch references"] | None = None,
) -> Float[Tensor, "batch targets references"]:
    """Logits of the pointer: cosines over the temperature, -inf where a reference cell must not be pointed at."""
    logits = target.transpose(-1, -2) @ references / temperature
    return logits if usable is None else logits.masked_fill(~usable[:, None], float("-inf"))


def pointer_losses(
    logits: Float[Tensor, "batch targets references"],
    reference_labels: Int[Tensor, "batch references"],
    target_labels: Int[Tensor, "batch targets"],
) -> tuple[Float[Tensor, "batch targets"], Bool[Tensor, "batch targets"]]:
    """-log y_j[c_j] of each target cell j, where y_j = sum over i of A_ij onehot(c_i), and whether it can be asked.

    A is the softmax of the logits over *all* cells of all references together; y is a probability already, so its
    logarithm is taken as it is: the cross-entropy of y would apply a second softmax. A cell whose label no reference
    has cannot be copied and is not asked.

    Args:
        logits: Of the pointer.
        reference_labels: c_i.
        target_labels: c_j.
    """
    same = (target_labels[..., None] == reference_labels[:, None]) & logits.isfinite()
    possible = same.any(-1)
    matching = logits.masked_fill(~same, float("-inf"))
    matching = torch.where(possible[..., None], matching, 0.0)  # no gradient of a row that is all -inf
    total = torch.where(possible[..., None], logits, 0.0)
    return torch.where(possible, total.logsumexp(-1) - matching.logsumexp(-1), 0.0), possible


def voted(
    logits: Float[Tensor, "batch targets references"], reference_labels: Int[Tensor, "batch references"], labels: int
) -> Int[Tensor, "batch targets"]:
    """The label with most of the pointer's weight; -1 where no reference can be pointed at."""
    usable = logits.isfinite().any(-1)
    weight = torch.where(usable[..., None], logits, 0.0).softmax(-1)
    votes = weight @ functional.one_hot(reference_labels, labels).to(weight)
    return torch.where(usable, votes.argmax(-1), -1)
