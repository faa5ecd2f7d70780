"""A slice of ``make kill``: commands ended at random moments and called again end as if they had been left alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from killing import COMMANDS, SIGNALS, drawn

BENCHMARK = Path(__file__).resolve().parents[1] / "benchmarks" / "kill.py"


def campaign(folder: Path, *options: str) -> str:
    line = [sys.executable, str(BENCHMARK), "--out", str(folder), *options]
    done = subprocess.run(line, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_round_is_a_function_of_its_seed_and_number():
    rounds = [drawn(1, number) for number in range(1000)]
    assert rounds == [drawn(1, number) for number in range(1000)] != [drawn(2, number) for number in range(1000)]
    faults = [fault for one in rounds for fault in one.faults]
    for command, of_hundred in COMMANDS.items():
        assert sum(one.command == command for one in rounds) == pytest.approx(10 * of_hundred, abs=50)
    for sign, of_hundred in SIGNALS.items():
        assert sum(fault.sign == sign for fault in faults) == pytest.approx(len(faults) * of_hundred / 100, abs=60)


@pytest.mark.slow
def test_commands_that_are_ended_end_as_if_they_had_not_been(tmp_path):
    told = campaign(tmp_path, "--rounds", "8", "--seed", "1", "--only", "train", "predict")
    assert "| all | 8 |" in told
    assert "| all | 8 |" in campaign(tmp_path, "--rounds", "8", "--seed", "1", "--only", "train", "predict")


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_likewise_for_all_commands(tmp_path):
    assert "| all | 60 |" in campaign(tmp_path, "--rounds", "60", "--seed", "2")
