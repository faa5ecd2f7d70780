"""Scale drift: do early and late parts of long tracks give the same depth?"""

import torch

from depthscope.geometry.scale import robust_std
from depthscope.inspection.adjustment import adjusted, triangulated
from depthscope.inspection.check import Check, at_most, cannot_tell, cut_at
from depthscope.inspection.evidence import Evidence

MOST_DRIFT = 0.3
FEWEST, KNOWN = 12, 0.12


def scale_drift(evidence: Evidence) -> Check:
    """Tracks that span two neighbouring windows, triangulated in each: the sum of |ln ratio| beyond its noise."""
    ratios = window_ratios(evidence)
    if len(ratios) < 1:
        return cannot_tell(MOST_DRIFT, "at most", "too few tracks last through two parts of the clip")
    names = evidence.working.frame_names
    value = sum(max(0.0, abs(ratio) - 2 * error) for _, ratio, error in ratios)
    frame, worst, error = max(ratios, key=lambda row: abs(row[1]) - 2 * row[2])
    return at_most(
        value,
        MOST_DRIFT,
        f"parts of the clip differ in scale by {value:.0%} in all, most by {worst:+.0%} at frame {names[frame]}",
        f"the clip is joined from parts of different scale there; {cut_at(names[frame])}",
        unit="%",
        null=0.0,
        standard_error=error,
    )


def window_ratios(evidence: Evidence) -> list[tuple[int, float, float]]:
    """At each border of windows: its frame, the median ln of depths late over early, and the standard error."""
    own, start = evidence.own, evidence.adjusted_frames.start
    frames = len(own.camera_from_world.translation)
    size = max(4, min(8, frames // 3))
    found = []
    for border in range(size, frames - size + 1, max(1, size // 2)):
        early = (own.frame >= border - size) & (own.frame < border)
        late = (own.frame >= border) & (own.frame < border + size)
        counts = [torch.bincount(own.track[w], minlength=len(own.points)) for w in (early, late)]
        both = (counts[0] >= 3) & (counts[1] >= 3)
        if int(both.sum()) < FEWEST:
            continue
        depths, spreads = [], []
        for window in (early, late):
            rows = window & both[own.track]
            part = type(own)(
                (torch.cumsum(both, 0) - 1)[own.track[rows]],
                own.frame[rows],
                own.plane[rows],
                own.camera_from_world,
                own.points[both],
                own.focal_px,
            )
            solved = adjusted(triangulated(part), poses=False, steps=8)
            depths.append(own.camera_from_world[border].apply(solved.bundle.points)[:, 2])
            spreads.append(solved.depth_sd)
        ratio = torch.log(depths[1] / depths[0])
        good = (spreads[0] < KNOWN) & (spreads[1] < KNOWN) & ratio.isfinite()
        if int(good.sum()) < FEWEST:
            continue
        centre = ratio[good].quantile(0.5)
        error = float(robust_std(ratio[good] - centre)) / int(good.sum()) ** 0.5
        found.append((border + start, float(centre), 1.25 * error))
    return found
