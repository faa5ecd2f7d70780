"""Processes that train together, and threads that wait: what the environment says, and what is set in it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from depthscope.cli import check_started_alone, main
from depthscope.errors import BadInputError
from depthscope.threads import COUNT, PATIENT, cpu_quota, usable_cores, wait_patiently
from depthscope.training import Training, launched
from depthscope.training.processes import Processes, is_first, processes_of

SRC = Path(__file__).resolve().parents[1] / "src"
TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}
SRUN = {"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_NUM_NODES": "2"}


@pytest.mark.parametrize(
    ("environment", "devices", "expected"),
    [
        ({}, 1, Processes()),
        ({}, 2, Processes(here=2)),  # still to be started
        (TORCHRUN, 1, Processes(2, 2, "torchrun")),  # two machines
        (TORCHRUN, 2, Processes(2, 2, "torchrun")),
        (TORCHRUN | {"WORLD_SIZE": "2"}, 1, Processes(2, 1, "torchrun")),
        (TORCHRUN | {"WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}, 1, Processes(1, 1, "torchrun")),
        ({"RANK": "0", "WORLD_SIZE": "1"}, 1, Processes(1, 1, "torchrun")),
        (SRUN, 1, Processes(2, 2, "srun")),
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, 1, Processes()),  # a batch script: one process of its job
        ({"OMPI_COMM_WORLD_SIZE": "1"}, 1, Processes()),
    ],
)
def test_the_environment_says_how_many_processes_there_are(environment, devices, expected):
    assert processes_of(environment, devices) == expected
    assert expected.world == expected.here * expected.machines


@pytest.mark.parametrize(
    ("environment", "devices", "words"),
    [
        (TORCHRUN, 4, "--training.devices 4 where torchrun started 2 processes"),
        (TORCHRUN | {"WORLD_SIZE": "3"}, 1, "not equally many on every machine"),
        (TORCHRUN | {"WORLD_SIZE": "many"}, 1, "WORLD_SIZE is 'many'"),
        ({"RANK": "1", "WORLD_SIZE": "2"}, 1, "LOCAL_WORLD_SIZE is ''"),
        (SRUN | {"SLURM_STEP_NUM_TASKS": "3"}, 1, "not equally many on every machine"),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, 1, "2 processes started by mpirun"),
        ({"PMI_SIZE": "8"}, 1, "8 processes started by mpirun"),
    ],
)
def test_an_environment_that_does_not_tell_is_refused(environment, devices, words):
    with pytest.raises(BadInputError) as told:
        processes_of(environment, devices)
    assert words in str(told.value)


def test_a_batch_that_the_processes_cannot_share_is_refused_before_they_wait_for_each_other(monkeypatch):
    for name, value in (TORCHRUN | {"WORLD_SIZE": "3", "LOCAL_WORLD_SIZE": "3"}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BadInputError, match="training.batch 4 on 3 processes"):
        launched(Training(batch=4, accelerator="cpu"))


def test_one_process_writes():
    assert is_first({}) and is_first({"RANK": "0", "LOCAL_RANK": "0"})
    assert not is_first(TORCHRUN) and not is_first({"RANK": "2", "LOCAL_RANK": "0"})
    assert not is_first({"LOCAL_RANK": "1"})  # started by Fabric
    assert is_first(SRUN) and not is_first(SRUN | {"SLURM_PROCID": "3"})


def test_torchrun_is_refused_for_what_processes_do_not_do_together(monkeypatch, capsys):
    for verb in ("train", "pretrain"):
        check_started_alone(verb, TORCHRUN)
    check_started_alone("run", {})
    check_started_alone("run", TORCHRUN | {"WORLD_SIZE": "1"})
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    assert main(["simulate", "--out", "nowhere"]) == 2
    error = capsys.readouterr().err
    assert "4 processes of torchrun for 'simulate'" in error and error.count("\n") == 1
    assert not Path("nowhere").exists()


# --- threads


def test_what_the_user_set_stays_and_the_rest_waits_asleep():
    environment = {"OMP_WAIT_POLICY": "ACTIVE"}
    wait_patiently(environment, cores=os.cpu_count())
    assert environment == PATIENT | {"OMP_WAIT_POLICY": "ACTIVE"}
    assert PATIENT["OMP_WAIT_POLICY"] == "PASSIVE" and COUNT not in environment


def test_threads_are_no_more_than_the_cores_of_the_process(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    environment: dict[str, str] = {}
    wait_patiently(environment, cores=6)
    assert environment[COUNT] == "6"
    environment = {COUNT: "3"}
    wait_patiently(environment, cores=6)
    assert environment[COUNT] == "3"
    environment = {}
    wait_patiently(environment, cores=64)  # launchers share them among processes
    assert COUNT not in environment


@pytest.mark.parametrize(
    ("texts", "cores"),
    [
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.max": "250000 100000\n"}, 2.5),
        ({"cpu.cfs_quota_us": "-1\n", "cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu.cfs_quota_us": "150000\n", "cpu.cfs_period_us": "100000\n"}, 1.5),
        ({}, None),
        ({"cpu.max": "broken"}, None),
    ],
)
def test_the_quota_of_a_container(texts, cores):
    assert cpu_quota(texts) == cores


def test_a_quota_of_two_and_a_half_cores_is_three_threads(monkeypatch, tmp_path):
    (tmp_path / "cpu.max").write_text("250000 100000\n")
    monkeypatch.setattr("depthscope.threads.CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)
    assert usable_cores() == 3
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {1, 5}, raising=False)
    assert usable_cores() == 2


WITHOUT_TORCH = """
import os, sys, subprocess
import depthscope
assert not {"torch", "numpy", "cv2"} & set(sys.modules), sorted(sys.modules)
ask = [sys.executable, "-c", "import os; print(os.environ['OMP_WAIT_POLICY'])"]
child = subprocess.run(ask, capture_output=True, text=True)
print(os.environ["OMP_WAIT_POLICY"], child.stdout.strip(), os.environ["OPENBLAS_THREAD_TIMEOUT"])
"""


def test_importing_the_package_is_enough_and_children_inherit_it():
    """Also through the Python API, not by the command line alone, and before anything heavy is loaded."""
    clean = {name: value for name, value in os.environ.items() if name not in PATIENT}
    environment = clean | {"PYTHONPATH": str(SRC)}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == ["PASSIVE", "PASSIVE", "4"], done.stderr
