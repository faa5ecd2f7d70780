"""The photometric objectives once more, from the papers, in plain NumPy: what golden tests compare with.

Nothing of the package is used. One sample, images (frames, 3, height, width), target first; formulas name their source.
Pixel centres are at (column + 0.5, row + 0.5).
"""

from dataclasses import dataclass, field

import numpy as np

Array = np.ndarray


@dataclass
class Scene:
    """A snippet and what is predicted of it.

    Attributes:
        images: (frames, 3, height, width).
        masks: (frames, height, width), True on tissue.
        disparities: Of the target, the finest first, each half as large as the one before.
        motions: Rotation (3, 3) and translation (3,) from the target to each source.
        focal, centre: Of the one camera, in pixels.
        logits: Explainability of each scale, (sources, 2, height, width); empty for none.
        source_disparities: (sources, height, width), or None.
        points: Of every frame with a depth: pixels (points, 2), depth (points,), weight (points,); empty for none.
    """

    images: Array
    masks: Array
    disparities: list[Array]
    motions: list[tuple[Array, Array]]
    focal: Array
    centre: Array
    logits: list[Array] = field(default_factory=list)
    source_disparities: Array | None = None
    points: list[tuple[Array, Array, Array]] = field(default_factory=list)


def blocks(values: Array, size: tuple[int, int]) -> Array:
    """The mean over the pixels that fall together: an area filter for whole factors."""
    rows, columns = values.shape[-2] // size[0], values.shape[-1] // size[1]
    return values.reshape(*values.shape[:-2], size[0], rows, size[1], columns).mean((-3, -1))


def at(values: Array, x: float, y: float) -> Array:
    """Bilinear sample of (..., height, width) at a place; the image goes on beyond its outermost centres."""
    height, width = values.shape[-2:]
    x, y = min(max(x - 0.5, 0.0), width - 1.0), min(max(y - 0.5, 0.0), height - 1.0)
    left, top = min(int(x), width - 2), min(int(y), height - 2)
    right, down = x - left, y - top
    upper = values[..., top, left] * (1 - right) + values[..., top, left + 1] * right
    lower = values[..., top + 1, left] * (1 - right) + values[..., top + 1, left + 1] * right
    return upper * (1 - down) + lower * down


def resized(values: Array, size: tuple[int, int]) -> Array:
    """Bilinear, without a filter, pixel centre on pixel centre."""
    rows, columns = values.shape[-2] / size[0], values.shape[-1] / size[1]
    found = np.empty((*values.shape[:-2], *size))
    for v in range(size[0]):
        for u in range(size[1]):
            found[..., v, u] = at(values, (u + 0.5) * columns, (v + 0.5) * rows)
    return found


@dataclass
class Warp:
    """A source on the target's pixels; `depth` is the target's surface in the source's axes, `place` where it falls."""

    image: Array
    valid: Array
    depth: Array
    place: Array


def warped(source, depth, motion, focal, centre, target_mask, source_mask) -> Warp:
    """X = D K^-1 p, Y = R X + t, q = K Y / Y_z (Zhou et al. 2017, eq. 2); valid where q lies between pixel centres."""
    height, width = depth.shape
    rotation, shift = motion
    image, valid = np.zeros_like(source), np.zeros((height, width), bool)
    moved, place = np.ones((height, width)), np.zeros((height, width, 2))
    for v in range(height):
        for u in range(width):
            ray = np.array([(u + 0.5 - centre[0]) / focal[0], (v + 0.5 - centre[1]) / focal[1], 1.0])
            there = rotation @ (depth[v, u] * ray) + shift
            if there[2] <= 0 or not target_mask[v, u]:
                continue
            x, y = focal * there[:2] / there[2] + centre
            if not (0.5 <= x <= width - 0.5 and 0.5 <= y <= height - 0.5):
                continue
            if at(source_mask.astype(float), x, y) < 1 - 1e-3:
                continue
            image[:, v, u] = at(source, x, y)
            valid[v, u], moved[v, u], place[v, u] = True, there[2], (x, y)
    return Warp(image, valid, moved, place)


def windows(values: Array) -> Array:
    """Mean over 3 x 3 pixels, reflected at the border."""
    padded = np.pad(values, [(0, 0)] * (values.ndim - 2) + [(1, 1), (1, 1)], mode="reflect")
    height, width = values.shape[-2:]
    return sum(padded[..., i : i + height, j : j + width] for i in range(3) for j in range(3)) / 9


def structural(image: Array, target: Array) -> Array:
    """Godard et al. 2019, section 3.1: 0.85 (1 - SSIM) / 2 + 0.15 |I - J|, means over the channels."""
    c1, c2 = 0.01**2, 0.03**2
    a, b = windows(image), windows(target)
    var_a, var_b = windows(image**2) - a**2, windows(target**2) - b**2
    covariance = windows(image * target) - a * b
    similar = (2 * a * b + c1) * (2 * covariance + c2) / ((a**2 + b**2 + c1) * (var_a + var_b + c2))
    return 0.85 * np.clip((1 - similar) / 2, 0, 1).mean(0) + 0.15 * np.abs(image - target).mean(0)


def whole_windows(valid: Array) -> Array:
    """Where all nine pixels of a window are valid."""
    padded = np.pad(valid, 1, mode="edge")
    height, width = valid.shape
    return np.logical_and.reduce([padded[i : i + height, j : j + width] for i in range(3) for j in range(3)])


def mean_over(values: Array, where: Array) -> float:
    """The mean over some pixels; 0 over none."""
    return float(values[where].mean()) if where.any() else 0.0


def edge_aware(disparity: Array, image: Array, mask: Array) -> float:
    """Godard et al. 2019, eq. 3, of disparity over its mean."""
    normal = disparity / (disparity[mask].mean() + 1e-7)
    across = np.abs(normal[:, 1:] - normal[:, :-1]) * np.exp(-np.abs(image[:, :, 1:] - image[:, :, :-1]).mean(0))
    down = np.abs(normal[1:] - normal[:-1]) * np.exp(-np.abs(image[:, 1:] - image[:, :-1]).mean(0))
    return mean_over(across, mask[:, 1:] & mask[:, :-1]) + mean_over(down, mask[1:] & mask[:-1])


def second_order(disparity: Array, mask: Array) -> float:
    """Zhou et al. 2017: <|d_xx|> + <|d_xy|> + <|d_yx|> + <|d_yy|>; the mixed ones are equal, and count twice."""
    d, m = disparity, mask
    xx = np.abs(d[:, 2:] - 2 * d[:, 1:-1] + d[:, :-2])
    yy = np.abs(d[2:] - 2 * d[1:-1] + d[:-2])
    xy = np.abs(d[1:, 1:] - d[1:, :-1] - d[:-1, 1:] + d[:-1, :-1])
    return (
        mean_over(xx, m[:, 2:] & m[:, 1:-1] & m[:, :-2])
        + 2 * mean_over(xy, m[1:, 1:] & m[1:, :-1] & m[:-1, 1:] & m[:-1, :-1])
        + mean_over(yy, m[2:] & m[1:-1] & m[:-2])
    )


def sizes(scene: Scene) -> list[tuple[int, int]]:
    return [one.shape for one in scene.disparities]


def at_size(scene: Scene, size: tuple[int, int]):
    """Images, masks, focal lengths and centre at a smaller size: c' = c k, as a corner stays a corner."""
    factor = np.array([size[1] / scene.images.shape[-1], size[0] / scene.images.shape[-2]])
    masks = blocks(scene.masks.astype(float), size) == 1
    return blocks(scene.images, size), masks, scene.focal * factor, scene.centre * factor


def sfmlearner(scene: Scene, explainability: float | None = None) -> dict[str, float]:
    """Zhou et al. 2017 as their code sums it: images in -1..1, every scale at its own size, sums over the scales."""
    view = smooth = penalty = seen = 0.0
    for scale, size in enumerate(sizes(scene)):
        images, masks, focal, centre = at_size(scene, size)
        disparity = scene.disparities[scale]
        anywhere = np.zeros(size, bool)
        for source, motion in enumerate(scene.motions):
            found = warped(images[1 + source], 1 / disparity, motion, focal, centre, masks[0], masks[1 + source])
            error = np.abs((2 * found.image - 1) - (2 * images[0] - 1)).mean(0)
            if explainability is not None:
                no, yes = np.exp(scene.logits[scale][source])
                error = error * yes / (no + yes)
                penalty -= explainability * np.log(yes / (no + yes)).mean()
            view += mean_over(error, found.valid)
            anywhere |= found.valid
        seen += anywhere.mean() / len(scene.disparities)
        smooth += 0.5 / 2**scale * second_order(disparity, masks[0])
    terms = {"view": view, "smooth": smooth} | ({} if explainability is None else {"explained": penalty})
    return terms | {"loss": sum(terms.values()), "seen": seen}


def monodepth2(scene: Scene) -> dict[str, float]:
    """Godard et al. 2019: every scale at full size, the least of warped and unwarped sources, mean over the scales."""
    full = scene.images.shape[-2:]
    target, target_mask = scene.images[0], scene.masks[0]
    view = smooth = 0.0
    for scale, size in enumerate(sizes(scene)):
        depth = 1 / resized(scene.disparities[scale], full)
        best, rest = np.full(full, np.inf), np.full(full, np.inf)
        for source, motion in enumerate(scene.motions):
            image, mask = scene.images[1 + source], scene.masks[1 + source]
            found = warped(image, depth, motion, scene.focal, scene.centre, target_mask, mask)
            seen = whole_windows(found.valid)
            best = np.where(seen, np.minimum(best, structural(found.image, target)), best)
            both = target_mask & mask
            still = structural(np.where(both, image, 0.0), target)
            rest = np.where(whole_windows(both), np.minimum(rest, still), rest)
        counted = np.isfinite(best)
        least = np.where(best < rest - 1e-5, best, rest)
        view += mean_over(least, counted) / len(scene.disparities)
        smaller, masks, _, _ = at_size(scene, size)
        share = 1e-3 / 2**scale / len(scene.disparities)
        smooth += share * edge_aware(scene.disparities[scale], smaller[0], masks[0])
    return {"view": view, "smooth": smooth, "loss": view + smooth}


def highlights(images: Array) -> Array:
    """Bright (0.9 in the brightest channel) and pale (saturation of 0.3 at most) pixels, grown by 2."""
    high, low = images.max(1), images.min(1)
    shiny = (high >= 0.9) & (high - low <= 0.3 * high)
    padded = np.pad(shiny, [(0, 0), (2, 2), (2, 2)])
    height, width = shiny.shape[-2:]
    return np.logical_or.reduce([padded[:, i : i + height, j : j + width] for i in range(5) for j in range(5)])


def brightened(image: Array, target: Array, valid: Array) -> Array:
    """A I + b of each channel, so that mean and standard deviation over the valid pixels are those of the target."""
    found = np.zeros_like(image)
    for channel in range(3):
        mine, other = image[channel][valid], target[channel][valid]
        if len(mine) < 2:
            found[channel] = image[channel]
            continue
        a = np.clip(other.std() / mine.std(), 0.25, 4.0)
        found[channel] = np.where(valid, a * image[channel] + other.mean() - a * mine.mean(), 0.0)
    return found


def factor_of(disparity: Array, points: tuple[Array, Array, Array]) -> float:
    """Depth to the unit of the points: the weighted mean of the log ratios, none of them far off."""
    pixels, depth, weight = points
    ratios = [np.log(z) + np.log(at(disparity, x, y)) for (x, y), z in zip(pixels, depth, strict=True)]
    return float(np.exp(np.average(ratios, weights=weight)))


def differing(found: Warp, source_depth: Array) -> Array:
    """|D_c - D_s| / (D_c + D_s) (Bian et al. 2019), D_s sampled in inverse depth; 0 where nothing is seen."""
    difference = np.zeros(found.valid.shape)
    for v, u in zip(*np.nonzero(found.valid), strict=True):
        own = 1 / at(1 / source_depth, *found.place[v, u])
        difference[v, u] = abs(found.depth[v, u] - own) / (found.depth[v, u] + own)
    return difference


def endoscopy(scene: Scene) -> dict[str, float]:
    """Our recipe for a moving lamp: every scale at its own size, their mean, masks, brightness, one geometry."""
    shiny = highlights(np.where(scene.masks[:, None], scene.images, 0.0))
    masks = scene.masks & ~shiny
    scene = Scene(**(vars(scene) | {"masks": masks, "images": np.where(masks[:, None], scene.images, 0.0)}))
    assert scene.source_disparities is not None
    factor = factor_of(scene.disparities[0], scene.points[0])
    depths = [
        factor_of(one, points) / one for one, points in zip(scene.source_disparities, scene.points[1:], strict=True)
    ]
    view = smooth = agreement = 0.0
    for scale, size in enumerate(sizes(scene)):
        images, smaller, focal, centre = at_size(scene, size)
        disparity = scene.disparities[scale]
        for source, motion in enumerate(scene.motions):
            found = warped(
                images[1 + source], factor / disparity, motion, focal, centre, smaller[0], smaller[1 + source]
            )
            error = structural(brightened(found.image, images[0], found.valid), images[0])
            difference = differing(found, 1 / resized(1 / depths[source], size))
            view += mean_over((1 - difference) * error, whole_windows(found.valid)) / len(scene.disparities)
            if scale == 0:
                rotation, shift = motion
                back = (rotation.T, -rotation.T @ shift)
                there = depths[source]
                seen = warped(images[:1, 0], there, back, focal, centre, smaller[1 + source], smaller[0])
                both = mean_over(difference, found.valid) + mean_over(differing(seen, factor / disparity), seen.valid)
                agreement += 0.1 * both / 2 / len(scene.motions)
        smooth += 1e-2 / 2**scale / len(scene.disparities) * edge_aware(disparity, images[0], smaller[0])
    terms = {"view": view, "smooth": smooth, "consistency": agreement}
    return terms | {"loss": sum(terms.values())}
