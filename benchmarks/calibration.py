"""Cameras found again from simulated board clips, 10 scopes by default.

python benchmarks/calibration.py --out DIR [--scopes 10]
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch

from depthscope.calibration import Chessboard, calibrated, seen_boards
from depthscope.simulation.clip_files import BOARD, BOARD_FPS, board_frame, board_views
from depthscope.simulation.presets import subject
from depthscope.video import write_video


def main() -> None:
    """Draws the scopes, films the board and compares."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scopes", type=int, default=10)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    board, rows = Chessboard(BOARD.corners, BOARD.square_mm), []
    for seed in range(given.scopes):
        kind, preset = ("nasal", "colon")[seed % 2], ("typical", "hard")[seed // 2 % 2]
        scope = subject(seed, kind, preset).scope
        views = board_views(scope, 20, (seed, 0))
        with tempfile.TemporaryDirectory() as scratch:
            frames = (board_frame(scope, views[i], (seed, 0, i))[0] for i in range(20))
            path = write_video(Path(scratch) / "board.mp4", frames, BOARD_FPS)
            started = time.process_time()
            seen = seen_boards(path, board)
            result = calibrated(seen, board)
        found, true = result.camera, scope.camera
        focal = 100 * (found.pinhole.focal_px / true.pinhole.focal_px - 1)
        centre = (found.pinhole.centre_px - true.pinhole.centre_px).norm()
        row = {
            "scope": f"{kind} {preset} {seed}",
            "right_model": found.model == true.model,
            "model": result.chosen.fit.model.name,
            "focal_error_percent": focal.tolist(),
            "centre_error_px": float(centre),
            "holdout_rms_px": result.chosen.holdout_rms_px,
            "views": [len(result.sightings), seen.found],
            "cpu_seconds": time.process_time() - started,
        }
        rows.append(row)
        print(
            f"{row['scope']}: {row['model']}, focal {focal[0]:+.2f} {focal[1]:+.2f} %, centre {centre:.2f} px",
            flush=True,
        )
    worst = max(abs(e) for r in rows for e in r["focal_error_percent"])
    right, seconds = sum(r["right_model"] for r in rows), sum(r["cpu_seconds"] for r in rows)
    print(f"{right} of {len(rows)} models right, focal within {worst:.2f} %, {seconds:.0f} CPU seconds")
    (given.out / "calibration.json").write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
