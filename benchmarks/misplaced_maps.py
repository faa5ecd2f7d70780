"""Does `evaluate` see that right maps lie in the wrong place, and does it keep quiet where they lie right?

    python benchmarks/misplaced_maps.py --clip CLIP PREDICTION [--clip CLIP PREDICTION ...] --out DIR

`CLIP` is a simulated clip with true depth, `PREDICTION` what a network said of it. The maps are compared as they are,
flipped in three ways, and under the numbers of the frames one and two before and after. Writes ``misplaced_maps.json``.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path

from torch import Tensor

from depthscope.evaluation.depth_folders import resized_to
from depthscope.evaluation.frame_names import same_frames
from depthscope.evaluation.misplaced_maps import FLIPS, SHIFTS, placement_warning
from depthscope.formats import depth_maps


def main() -> None:
    """Reads the arguments, tries every clip, writes and prints how often each placement was named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", type=Path, nargs=2, action="append", required=True, metavar=("CLIP", "PREDICTION"))
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    found: dict[str, dict[str, list[str]]] = defaultdict(dict)
    for clip, prediction in given.clip:
        maps, truths = depth_maps.listed(prediction), depth_maps.true_maps(clip, depth_maps.grid_of(prediction))
        own = {name: depth_maps.read(maps[other]) for name, other in same_frames(truths, maps).items()}
        true = {name: truths[name] for name in own}
        right = {name: resized_to(depth, true[name].shape) for name, depth in own.items()}
        for placement, moved in placed(right).items():
            found[placement][str(clip)] = warning_of(moved, true)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "misplaced_maps.json").write_text(json.dumps(found, indent=1) + "\n")
    for placement, warnings in found.items():
        print(f"{placement}: a warning for {sum(map(bool, warnings.values()))} of {len(warnings)} clips")


def placed(right: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """The maps as they are, and in the wrong place; the ends of a clip are repeated."""
    names, maps = list(right), list(right.values())
    places = {"right": right}
    for how, axes in FLIPS.items():
        places[how] = {name: depth.flip(axes) for name, depth in right.items()}
    for shift in SHIFTS:
        rows = (min(max(row + shift, 0), len(maps) - 1) for row in range(len(maps)))
        places[f"{shift:+d} frames"] = dict(zip(names, (maps[row] for row in rows), strict=True))
    return places


def warning_of(predictions: dict[str, Tensor], truths: dict[str, Tensor]) -> list[str]:
    """What `evaluate` would say."""
    return placement_warning(tuple(truths), lambda name: (predictions[name], truths[name]))


if __name__ == "__main__":
    main()
