"""Which run predicts; work on frames by threads: in order, not too far ahead, and errors come through."""

import threading
import time

import pytest
import torch

from depthscope.cli import main
from depthscope.commands.predict import with_run
from depthscope.formats import depth_maps
from depthscope.pipeline.prediction import in_order
from depthscope.video import write_image


def test_the_order_is_kept_whichever_ends_first():
    def slow_when_even(n: int) -> int:
        time.sleep(0.01 if n % 2 == 0 else 0)
        return n * n

    assert list(in_order(slow_when_even, range(20), threads=4, ahead=3)) == [n * n for n in range(20)]


def test_the_source_is_not_read_ahead_of_what_is_asked():
    read = []

    def source():
        for n in range(100):
            read.append(n)
            yield n

    results = in_order(lambda n: n, source(), threads=2, ahead=4)
    next(results)
    assert len(read) <= 6
    results.close()


def test_an_error_in_a_thread_is_raised_where_the_results_are_read():
    def fails(n: int) -> int:
        if n == 3:
            raise ValueError(f"frame {n} in {threading.current_thread().name}")
        return n

    results = in_order(fails, range(9), ahead=2)
    with pytest.raises(ValueError, match="frame 3"):
        list(results)


def test_results_that_are_closed_leave_no_thread_that_writes(tmp_path):
    """A run that Ctrl-C ends removes its folder: a thread that still writes into it would leave it behind."""

    def write(n: int) -> None:
        time.sleep(0.02)
        (tmp_path / f"{n}").touch()

    results = in_order(write, range(100), threads=2, ahead=8)
    next(results)
    results.close()
    written = len(list(tmp_path.iterdir()))
    time.sleep(0.1)
    assert len(list(tmp_path.iterdir())) == written < 8


def test_the_weights_that_ship_are_the_run_where_none_is_named(tmp_path):
    for name in ("run", "frames"):
        (tmp_path / name).mkdir()
    (tmp_path / "run" / "best.pt").touch()
    run, frames = str(tmp_path / "run"), str(tmp_path / "frames")
    assert with_run([frames, "--out", "x"]) == ["shipped", frames, "--out", "x"]
    for words in ([run, frames, "--out", "x"], [run, "--out", "x"], ["shipped", frames], [f"{frames}_missing"], ["-h"]):
        assert with_run(words) == words


def test_predict_with_the_weights_that_ship_is_depth(tmp_path):
    noise = torch.rand(96, 128, 3, generator=torch.Generator().manual_seed(0))
    (tmp_path / "frames").mkdir()
    write_image(tmp_path / "frames" / "0000.png", (noise * 255).byte())
    maps = []
    for words in (["predict"], ["predict", "shipped"], ["depth"]):
        out = tmp_path / "-".join(words)
        assert main([*words, str(tmp_path / "frames"), "--out", str(out), "--no-video"]) == 0
        (path,) = depth_maps.listed(out).values()
        maps.append(depth_maps.read(path))
    assert torch.equal(maps[0], maps[1]) and torch.equal(maps[0], maps[2])
