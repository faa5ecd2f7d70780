"""How much two images differ, pixel by pixel: structural similarity and absolute difference."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from depthscope.errors import BadInputError

C1, C2 = 0.01**2, 0.03**2
"""Constants of SSIM for images in 0..1 (Wang et al. 2004)."""

WINDOW = 3
"""Side of the window of SSIM, as in Godard et al. 2017."""

Images = Float[Tensor, "batch channels height width"]
ErrorMaps = Float[Tensor, "batch height width"]
ValidMaps = Bool[Tensor, "batch height width"]


@dataclass(frozen=True, eq=False)
class Reference:
    """An image that others are compared with, and the moments of its windows, which are computed once.

    Attributes:
        image: Shape (batch, channels, height, width), 0..1.
        mean: Mean of each window, or None where no structural similarity is asked for.
        variance: Its variance.
    """

    image: Images
    mean: Images | None = None
    variance: Images | None = None

    def __getitem__(self, index) -> "Reference":
        """References picked along the batch."""
        mean, variance = self.mean, self.variance
        return Reference(
            self.image[index],
            None if mean is None else mean[index],
            None if variance is None else variance[index],
        )


@dataclass(frozen=True)
class PhotometricError:
    """``a mean_c clamp((1 - SSIM) / 2, 0, 1) + (1 - a) mean_c |I - J|`` (Godard et al. 2017; Zhao et al. 2017).

    Attributes:
        structure: a, the share of structural similarity; 0 leaves the absolute difference (SfMLearner).
    """

    structure: float = 0.85

    def __post_init__(self) -> None:
        if not 0 <= self.structure <= 1:
            raise BadInputError(f"error.structure {self.structure}", "a share from 0 to 1")

    def reference(self, image: Images) -> Reference:
        """An image to compare others with; what does not depend on the others is computed here, once."""
        if not self.structure:
            return Reference(image)
        mean = window_mean(image)
        return Reference(image, mean, window_mean(image * image) - mean * mean)

    def __call__(self, image: Images, reference: Reference) -> ErrorMaps:
        """The error of every pixel, in 0..1, shape (batch, height, width); symmetric in the two images."""
        error = image.new_zeros(())
        if self.structure:
            error = self.structure * dissimilarity(image, reference)
        if self.structure < 1:
            error = error + (1 - self.structure) * (image - reference.image).abs().mean(1)
        return error

    def valid(self, valid: ValidMaps) -> ValidMaps:
        """Where the error depends on valid pixels only: shrunk by the radius of the window."""
        if not self.structure:
            return valid
        for axis in (-1, -2):
            length = valid.shape[axis] - 1
            before, after = valid.narrow(axis, 0, length), valid.narrow(axis, 1, length)
            shrunk = valid.clone()
            shrunk.narrow(axis, 1, length).logical_and_(before)
            shrunk.narrow(axis, 0, length).logical_and_(after)
            valid = shrunk
        return valid


def dissimilarity(image: Images, reference: Reference) -> ErrorMaps:
    """``mean_c clamp((1 - SSIM) / 2, 0, 1)`` of every pixel, over a uniform 3x3 window, moments of the population.

    The gradient is that of `image` alone: a reference is an image of the recording, and needs none.
    """
    assert reference.mean is not None and reference.variance is not None
    return _Dissimilarity.apply(image, reference.image, reference.mean, reference.variance)  # type: ignore[return-value]


class _Dissimilarity(torch.autograd.Function):
    """SSIM with its gradient written out: the windows are most of the work, and few of them are needed.

    With mu, e and c the window means of x, x^2 and x y, SSIM is S = A1 A2 / (B1 B2) with A1 = 2 mu mu_y + C1,
    A2 = 2 (c - mu mu_y) + C2, B1 = mu^2 + mu_y^2 + C1 and B2 = e - mu^2 + var_y + C2. Hence

        dS/dc = 2 A1 / (B1 B2),  dS/de = -S / B2,  dS/dmu = 2 mu_y (A2 - A1) / (B1 B2) + 2 mu S (1 / B2 - 1 / B1),

    and the gradient in x is W'(dS/dmu) + 2 x W'(dS/de) + y W'(dS/dc), where W' is the adjoint of the window mean.
    """

    @staticmethod
    def forward(ctx, image: Tensor, other: Tensor, other_mean: Tensor, other_variance: Tensor) -> Tensor:
        mean, product = window_mean(image), window_mean(image * other)
        square = window_mean(image * image)
        cross = mean * other_mean
        a1, a2 = 2 * cross + C1, 2 * (product - cross) + C2
        mean_square = mean * mean
        b1 = other_mean * other_mean
        b1 += mean_square
        b1 += C1
        b2 = square.sub_(mean_square)
        b2 += other_variance
        b2 += C2
        below = 1 / (b1 * b2)
        similar = a1 * a2 * below
        loss = ((1 - similar) / 2).clamp_(0, 1).mean(1)
        if ctx.needs_input_grad[0]:
            by_mean = 2 * (other_mean * (a2 - a1) * below + mean * similar * (1 / b2 - 1 / b1))
            ctx.save_for_backward(image, other, by_mean, a1.mul_(below).mul_(2), similar.neg_().div_(b2))
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx, slope: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        image, other, by_mean, by_product, by_square = ctx.saved_tensors
        slope = (slope * (-0.5 / image.shape[1]))[:, None]
        found = window_mean_adjoint(by_square * slope).mul_(image).mul_(2)
        found += window_mean_adjoint(by_product * slope).mul_(other)
        found += window_mean_adjoint(by_mean * slope)
        return found, None, None, None


def window_mean(image: Images) -> Images:
    """Mean over the window around every pixel; the image is reflected at its border."""
    if image.is_cuda:  # one kernel; on a CPU it is far slower than sums of neighbours
        return functional.avg_pool2d(reflected(image), WINDOW, stride=1)
    return _with_neighbours(_with_neighbours(image, -1, reflect=True), -2, reflect=True).div_(WINDOW * WINDOW)


def window_mean_adjoint(slope: Images) -> Images:
    """What `window_mean` does to a gradient: the transposed matrix."""
    return _with_neighbours(_with_neighbours(slope, -1, reflect=False), -2, reflect=False).div_(WINDOW * WINDOW)


def _with_neighbours(values: Tensor, axis: int, reflect: bool) -> Tensor:
    """Every value with the ones before and after it; at the ends reflected, or the transpose of that."""
    last = values.shape[axis] - 1
    total = values.clone(memory_format=torch.contiguous_format)
    total.narrow(axis, 1, last).add_(values.narrow(axis, 0, last))
    total.narrow(axis, 0, last).add_(values.narrow(axis, 1, last))
    for end, beside in ((0, 1), (last, last - 1)):
        to, of = (end, beside) if reflect else (beside, end)
        total.select(axis, to).add_(values.select(axis, of))
    return total


def reflected(image: Images) -> Float[Tensor, "batch channels height+2 width+2"]:
    """One more pixel on every side, reflected about the border pixel."""
    return functional.pad(image, (1, 1, 1, 1), mode="reflect")
