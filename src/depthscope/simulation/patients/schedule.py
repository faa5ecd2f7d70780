"""Jobs over the cores, in whatever order they come to be ready."""

import dataclasses
import os
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from typing import Any

import cv2
import torch

from depthscope.progress import Lines
from depthscope.simulation.patients.jobs import SimulationJob, build_patient, end_clip, make_frames
from depthscope.workspace import die_with_parent

FRAMES_AT_ONCE = 6
"""Frames of one job: few enough to keep all cores busy to the end."""


def do_all(jobs: list[SimulationJob], workers: int) -> None:
    """Does all jobs, and what follows from them, with a progress bar over the frames."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    total = sum(len(job.clips) * job.options.frames for job in jobs)
    if not jobs:
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    pool: Executor = (
        Inline() if workers == 1 else ProcessPoolExecutor(workers, get_context("spawn"), _begin, (os.getpid(),))
    )
    with pool, Progress(*columns) as progress:
        bar, lines, made = progress.add_task("frames", total=total), Lines(), 0
        pending: dict[Future, SimulationJob] = {pool.submit(build_patient, job): job for job in jobs}
        left: dict[tuple[int, int], int] = {}
        try:
            while pending:
                done, _ = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    job = pending.pop(future)
                    future.result()
                    for following in _following(job, left):
                        work = end_clip if following.frames == (0, 0) else make_frames
                        pending[pool.submit(work, following)] = following
                    progress.advance(bar, job.frames[1] - job.frames[0])
                    made += job.frames[1] - job.frames[0]
                    lines.update("frames", made, total)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _following(job: SimulationJob, left: dict[tuple[int, int], int]) -> list[SimulationJob]:
    """Jobs that can begin once this one is done; `left` counts the frame jobs that a clip still waits for."""
    if job.clip < 0:  # a patient: the frames of its clips
        spans = [
            (first, min(first + FRAMES_AT_ONCE, job.options.frames))
            for first in range(0, job.options.frames, FRAMES_AT_ONCE)
        ]
        left.update({(job.patient, clip): len(spans) for clip in job.clips})
        return [dataclasses.replace(job, clip=clip, frames=span) for clip in job.clips for span in spans]
    if job.frames == (0, 0):
        return []
    left[job.patient, job.clip] -= 1
    return [] if left[job.patient, job.clip] else [dataclasses.replace(job, frames=(0, 0))]


class Inline(Executor):
    """Does what is submitted at once, in this process."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future:
        """The result, already there."""
        future: Future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def _begin(parent: int) -> None:
    """One thread in each process, as the processes are the cores' work; none outlives the command."""
    die_with_parent(parent)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
