"""Which processes train together, where torchrun or srun started them: what their environment says."""

from collections.abc import Mapping
from dataclasses import dataclass

from depthscope.errors import BadInputError
from depthscope.workspace.hold import RANKS


@dataclass(frozen=True)
class Processes:
    """Processes that were started together.

    Attributes:
        here: How many of them run on this machine.
        machines: On how many machines they run, the same number on each.
        launcher: What started them, "" for a process by itself.
    """

    here: int = 1
    machines: int = 1
    launcher: str = ""

    @property
    def world(self) -> int:
        """How many there are."""
        return self.here * self.machines


def processes_of(environment: Mapping[str, str], devices: int) -> Processes:
    """The processes that train together: as many as were started, or `devices` that are still to be started.

    A launcher starts the same command once for each process. Where each of them trained by itself, all would do the
    same work, and write the same folder.

    Args:
        environment: Of this process.
        devices: `Training.devices`; 1 is its default, and means as many as were started.

    Raises:
        BadInputError: They were started in a way that does not tell, or in other numbers than `devices`.
    """
    found = _started(environment)
    if found is None:
        return Processes(here=devices)
    if devices not in (1, found.here):
        raise BadInputError(
            f"--training.devices {devices} where {found.launcher} started {found.here} processes on this machine",
            f"{found.here}",
            "leave --training.devices away, or start as many processes",
        )
    return found


def is_first(environment: Mapping[str, str]) -> bool:
    """Whether this is the process that writes what all have made; also true of a process by itself."""
    return all(environment.get(name, "0").strip() in ("", "0") for name in (*RANKS, "NODE_RANK"))


def _started(environment: Mapping[str, str]) -> Processes | None:
    """The processes that a launcher started, or None where this one is by itself."""
    if environment.get("TORCHELASTIC_RUN_ID") is not None or {"RANK", "WORLD_SIZE"} <= environment.keys():
        world = _number(environment, "WORLD_SIZE", "torchrun")
        here = _number(environment, "LOCAL_WORLD_SIZE", "torchrun", world if world == 1 else None)
        return _even(world, here, "torchrun")
    if _steps(environment) > 1:
        world, machines = _steps(environment), _number(environment, "SLURM_STEP_NUM_NODES", "srun", 1)
        if world % machines:
            raise _uneven(world, "srun")
        return Processes(world // machines, machines, "srun")
    for name in ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE"):
        if int(environment.get(name, "1") or 1) > 1:
            raise BadInputError(
                f"{environment[name]} processes started by mpirun",
                "torchrun or srun, or one process with --training.devices",
                f"torchrun --nproc-per-node {environment[name]} -m depthscope train ...",
            )
    return None


def _steps(environment: Mapping[str, str]) -> int:
    """Tasks of a step of srun; 0 in a batch script, which is one process whatever its job was given."""
    return _number(environment, "SLURM_STEP_NUM_TASKS", "srun", 0) if "SLURM_PROCID" in environment else 0


def _even(world: int, here: int, launcher: str) -> Processes:
    if here < 1 or world % here:
        raise _uneven(world, launcher)
    return Processes(here, world // here, launcher)


def _uneven(world: int, launcher: str) -> BadInputError:
    return BadInputError(
        f"{world} processes of {launcher}, not equally many on every machine",
        "the same number on each",
        "start as many on every machine",
    )


def _number(environment: Mapping[str, str], name: str, launcher: str, otherwise: int | None = None) -> int:
    text = environment.get(name, "")
    if not text and otherwise is not None:
        return otherwise
    if not text.isdigit():
        raise BadInputError(
            f"{name} is {text!r} in the environment", f"a number, as {launcher} sets it", "use torchrun"
        )
    return int(text)
