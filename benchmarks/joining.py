"""Clips of several simulated patients joined at once: which join, how far the scale jumps, and what must not join.

    python benchmarks/joining.py --out DIR [--patients 3] [--clips 2] [--frames 30] [--anatomy nasal]
        [--quick]

Every clip is a flight of its own through its patient's cavity, reconstructed by itself with its true camera; all are
given to ``depthscope join`` together. Cavities of different patients are of one kind, with one kind of tissue: a joint
between two patients is wrong. The scale of each clip is known from its true path; what joints make of it should be one
scale. Patients and clips that are done already are not done again; after each patient all clips so far are joined anew
and ``joining.json`` is written, so that a call that is cut short leaves figures. --quick is two patients with two
clips of 20 frames.
"""

import argparse
import json
import math
from itertools import combinations
from pathlib import Path

from depthscope.cli import main as depthscope
from depthscope.formats import read_sequence
from depthscope.geometry import Similarity
from depthscope.simulation.anatomy import SPLITS
from depthscope.simulation.patients.folder import simulate_patients
from depthscope.simulation.patients.options import SimulationOptions


def reconstructed(given: argparse.Namespace, number: int) -> dict[str, tuple[Path, Path]]:
    """The folder of each reconstruction of one patient's clips, and of its truth, by patient and clip."""
    first = SPLITS["test"].start + given.first + number
    options = SimulationOptions(given.anatomy, given.frames, given.preset, board_frames=1, first=first, split="test")
    folder = given.out / "patients" / f"{first}"
    if not (folder / "done").exists():
        simulate_patients(folder, options, 1, given.clips)
        (folder / "done").touch()
    found = {}
    for clip in sorted(folder.glob("patient_*/clip_*")):
        name = f"{clip.parent.name}-{clip.name}"
        place = given.out / "clips" / name
        if not (place / "result.json").is_file():
            arguments = ["--camera", str(clip / "camera.yaml"), "--features", given.features, "--threads", "1"]
            depthscope(["reconstruct", str(clip / "video.mp4"), *arguments, "--out", str(place)])
        if json.loads((place / "result.json").read_text("utf-8"))["registered"] >= 3:
            found[name] = place, clip
    return found


def mm_per_unit(place: Path, clip: Path) -> float:
    """The true length of a reconstruction's unit."""
    found, truth = read_sequence(place), read_sequence(clip)
    number = {name: n for n, name in enumerate(truth.frame_names)}
    rows = [(n, number[name]) for n, name in enumerate(found.frame_names) if name in number]
    mine = found.camera_centres[[row[0] for row in rows]]
    return float(Similarity.estimate(mine, truth.camera_centres[[row[1] for row in rows]]).scale)


def main() -> None:
    """Simulates, reconstructs, joins, and prints what became of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--patients", type=int, default=3)
    parser.add_argument("--clips", type=int, default=2)
    parser.add_argument("--frames", type=int, default=30)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--anatomy", default="nasal")
    parser.add_argument("--preset", default="clean")
    parser.add_argument("--features", default="sift")
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    if given.quick:
        given.patients, given.clips, given.frames = 2, 2, 20
    clips = {}
    for number in range(given.patients):
        clips |= reconstructed(given, number)
        if len(clips) >= 2:
            figures = joined(clips, given.out / "joined") | {"patients": number + 1}
            (given.out / "joining.json").write_text(json.dumps(figures, indent=1))
            print(json.dumps(figures, indent=1), flush=True)


def joined(clips: dict[str, tuple[Path, Path]], out: Path) -> dict:
    """Joins the clips, and compares maps and scales with the truth."""
    names = list(clips)
    depthscope(["join", *(str(place) for place, _ in clips.values()), "--accept-rejected", "--out", str(out)])
    result = json.loads((out / "result.json").read_text("utf-8"))
    patient = {name: name.split("-")[0] for name in names}
    unit = {name: mm_per_unit(*clips[name]) for name in names}
    same = [pair for pair in combinations(names, 2) if patient[pair[0]] == patient[pair[1]]]
    group = {name: row["name"] for row in result["maps"] for name in row["members"]}
    together = [pair for pair in same if group.get(pair[0]) is not None and group.get(pair[0]) == group.get(pair[1])]
    believed = [j for row in result["maps"] for j in row["joints"] if j["accepted"]]
    wrong = [j for j in believed if patient[j["between"][0]] != patient[j["between"][1]]]
    jumps = []
    for row in result["maps"]:
        scales = json.loads((out / row["name"] / "result.json").read_text("utf-8"))["scales"]
        mm = [math.log(unit[name] / scales[name]) for name in row["members"]]
        jumps += [abs(a - b) for a, b in combinations(mm, 2)]
    return {
        "clips": len(names),
        "pairs_of_one_patient": len(same),
        "joined": len(together),
        "pairs_of_two_patients": len(names) * (len(names) - 1) // 2 - len(same),
        "wrong_joints": len(wrong),
        "largest_scale_jump": max(jumps, default=None),
        "maps": [row["members"] for row in result["maps"]],
    }


if __name__ == "__main__":
    main()
