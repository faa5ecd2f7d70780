"""What each pretext encoder is worth for depth and for segmentation, simulated and real: ``depthscope transfer``.

    depthscope simulate --out PATIENTS --patients 6 --clips 2 --split train
    python benchmarks/reconstruction.py --on PATIENTS --keep --out SFM
    python benchmarks/pretext_transfer.py depth --clips SFM/clips/*/* --truth PATIENTS --out DIR
    python benchmarks/pretext_transfer.py masks --out DIR
    python benchmarks/pretext_transfer.py sinus --clips SINUS --out DIR
    python benchmarks/pretext_transfer.py laparoscopy --clips VIDEO --out DIR

depth: encoders learn from the clips of the first patients without any label, depth from the same clips' structure from
motion; the last patients' clips are the test, judged on every true pixel. masks: the same on simulated colons with
instruments, a mask for each of forty clips, tested on two other patients. sinus and laparoscopy: the two on a real clip
each, of which a later stretch is the test (`real_clips.py`). ``--tasks shipped imagenet`` tries encoders that come with
a package. Every task gets the same steps, so that all
arms from scratch are the same runs. Objects that sound is missing: simulated clips have no sound. Finished work is not
done again. Writes what ``transfer`` writes, ``pretext_transfer_depth.json`` and so on, and prints a table.
"""

import argparse
import json
import platform
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from phantom_masks import PhantomMasks, phantom_masks
from photometric_compare import with_truth
from real_clips import laparoscopy, sinus

from depthscope.corpus.corpus import held_out
from depthscope.pretext.error_boosting.automatic import AUTOMATIC
from depthscope.transfer.arms import FROZEN, RANDOM_FROZEN, SCRATCH, SCRATCH_LONG, TUNED
from depthscope.video import write_image
from depthscope.video.class_masks import write_classes, write_mask

TASKS = ("jigsaw", "exemplar", "colorization", "video-colorization", "deepcluster", "error-boosting")

NAMED = ("shipped", "imagenet")
"""Encoders that come with a package."""

TRAINED, TESTED, PER_CLIP = (21, 22, 23), (31, 32), 10
"""Colons to learn from, to choose the rate by and to test on; masks are drawn every so many frames."""

KNOWN_CLIPS, HELD_CLIPS = 40, 4


def main() -> None:
    """Pretrains, transfers, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("probe", choices=("depth", "masks", "sinus", "laparoscopy"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clips", type=Path, nargs="+", default=[])
    parser.add_argument("--truth", type=Path)
    parser.add_argument("--test", type=int, default=3, help="clips at the end that are the test")
    parser.add_argument("--tasks", nargs="+", default=TASKS, choices=(*TASKS, *NAMED))
    parser.add_argument("--pretext-steps", type=int, default=300)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.1, 0.25, 1.0])
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-3, 3e-3])
    parser.add_argument("--area-px", type=int, default=8000)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    known, inputs, extra = material(given)
    rows = {}
    for task in given.tasks:
        place = given.out / "transfer" / task
        run = Path(task) if task in NAMED else given.out / "encoders" / task
        if task not in NAMED and not (run / "result.json").is_file():
            shutil.rmtree(run, ignore_errors=True)
            steps = ["--steps", given.pretext_steps, *flags_of(task, given.probe)]
            depthscope("pretrain", task, *known, "--out", run, *steps)
        common = ["--steps", given.steps, "--seeds", given.seeds, "--area-px", given.area_px, *extra]
        common += ["--shares", *given.shares, "--rates", *given.rates, "--baselines", given.out / "baselines"]
        if task == "imagenet" and given.probe in ("depth", "sinus"):
            common += ["--recipe", "monodepth2-m"]
        depthscope("transfer", run, *inputs, "--out", place, *common)
        rows[task] = json.loads((place / "result.json").read_text("utf-8"))
        figures = {
            "machine": f"{platform.machine()}, torch {torch.__version__}",
            "date": time.strftime("%Y-%m-%d"),
            "probe": given.probe,
            "pretext_steps": given.pretext_steps,
            "steps": given.steps,
            "seeds": given.seeds,
            "tasks": rows,
        }
        (given.out / f"pretext_transfer_{given.probe}.json").write_text(json.dumps(figures, indent=1) + "\n")
    print(table(rows))


def flags_of(task: str, probe: str) -> list[str]:
    """Flags beside the defaults: for small frames, few steps and few frames."""
    if task == "jigsaw":
        return ["--frames.area-px", "16384"] if probe == "masks" else ["--training.batch", "16"]
    if task == "deepcluster":
        return ["--rounds", "10", *(["--clusters", "4"] if probe == "sinus" else [])]
    return []


def material(given: argparse.Namespace) -> tuple[list[Path], list[Path], list[object]]:
    """What encoders learn from, what `transfer` is given, and its flags."""
    if given.probe == "depth":
        clips = [with_truth(clip, given.truth, given.out / "clips") for clip in given.clips]
        return clips[: -given.test], clips, ["--test", given.test]
    if given.probe == "sinus":
        first, last = sinus(given.clips[0], given.out / "clips")
        return [first], [first, last], ["--test", 1]
    if given.probe == "laparoscopy":
        early, every, labels = laparoscopy(given.clips[0], given.out / "clips")
        return [early], [every], ["--labels", labels]
    known, inputs, labels = colons(given.out / "colons")
    return known, inputs, ["--labels", labels]


def depthscope(*arguments: object) -> None:
    """The command in a process of its own; its lines are shown."""
    line = "import sys; from depthscope.cli import main; sys.exit(main(sys.argv[1:]))"
    subprocess.run([sys.executable, "-c", line, *map(str, arguments)], check=True)


def colons(folder: Path) -> tuple[list[Path], list[Path], Path]:
    """Clips to learn from, all clips, and the masks: one of each clip to learn from, all of the others."""
    pool = phantom_masks(TRAINED, 14, PER_CLIP, folder / "frames")
    test = phantom_masks(TESTED, 3, PER_CLIP, folder / "frames")
    known = [clip_of(pool, number) for number in range(KNOWN_CLIPS)]
    unseen = [clip_of(test, number) for number in (0, 1, 3, 4)[:HELD_CLIPS]]
    count = len(known) + len(unseen)
    kept, _ = held_out(torch.arange(count), torch.zeros(count, dtype=torch.float64), 0.1)
    assert int(kept.sum()) == len(unseen)  # of whole videos the corpus keeps these; the unseen patients lie there
    inputs, learned = [], []
    for number in range(count):
        clip = (unseen if kept[number] else known).pop(0)
        place = folder / "clips" / f"clip_{number:02d}"
        inputs.append(place)
        learned += [] if kept[number] else [place]
        if place.is_dir():
            continue
        masks = folder / "masks" / place.name
        for each in (place, masks):
            each.mkdir(parents=True, exist_ok=True)
        for frame in range(len(clip.frames)):
            write_image(place / f"{frame:03d}.png", clip.frames[frame])
            if kept[number] or frame == len(clip.frames) // 2:
                write_mask(masks / f"{frame:03d}.png", clip.truth[frame])
    write_classes(AUTOMATIC, folder / "masks")
    return learned, inputs, folder / "masks"


def clip_of(masks: PhantomMasks, number: int) -> PhantomMasks:
    """One clip's frames."""
    return masks[torch.arange(number * PER_CLIP, (number + 1) * PER_CLIP)]


def table(rows: dict[str, dict]) -> str:
    """Means and ranges over seeds as Markdown: arms without pretext once for each shape of encoder, then the task's."""
    shares = list(next(iter(rows.values()))["claims"])
    lines = ["| |" + "".join(f" {float(share):.0%} |" for share in shares), "|---" * (len(shares) + 1) + "|"]
    told: list[str] = []
    for task, result in rows.items():
        arms = dict.fromkeys(row["arm"] for row in result["rows"])
        cells = {arm: [cell(result["rows"], arm, share) for share in shares] for arm in arms}
        start = [
            f"| {arm} | {' | '.join(cells[arm])} |" for arm in (RANDOM_FROZEN.name, SCRATCH.name, SCRATCH_LONG.name)
        ]
        lines += [line for line in start if line not in told]
        told += start
        claims = [f"{result['claims'][share]['gain']:+.3f}, {result['claims'][share]['verdict']}" for share in shares]
        tuned = [f"{found}: {claim}" for found, claim in zip(cells[TUNED.name], claims, strict=True)]
        lines.append(f"| {task}, frozen | {' | '.join(cells[FROZEN.name])} |")
        lines.append(f"| {task}, fine-tuned | {' | '.join(tuned)} |")
    return "\n".join(lines)


def cell(rows: list[dict], arm: str, share: str) -> str:
    """Mean and range over the seeds."""
    values = [row["value"] for row in rows if row["arm"] == arm and f"{row['share']:g}" == share]
    return f"{statistics.fmean(values):.3f} ({min(values):.3f}-{max(values):.3f})"


if __name__ == "__main__":
    main()
