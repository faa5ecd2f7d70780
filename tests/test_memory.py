"""What a run reads once: by the content of files, through renames, within a budget, and a copy for each who asks."""

import json
import os

import pytest
import torch

from depthscope import memory
from depthscope.case import Case, Stage
from depthscope.formats import depth_maps
from depthscope.memory import keeping, once
from depthscope.video import read_image, write_image
from depthscope.workspace import content_hash, read_result, write_result, writing_folder


class Counting:
    """A reader that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> torch.Tensor:
        self.calls += 1
        return torch.full((4, 5), float(self.calls))


def test_a_file_is_read_once_while_it_stays_the_same(tmp_path):
    file, read = tmp_path / "a", Counting()
    file.write_text("one")
    with keeping():
        assert all(float(once("kind", file, read)[0, 0]) == 1 for _ in range(3))
        os.rename(file, tmp_path / "b")
        assert float(once("kind", tmp_path / "b", read)[0, 0]) == 1
        assert float(once("another kind", tmp_path / "b", read)[0, 0]) == 2
        (tmp_path / "b").write_text("two, longer")
        assert float(once("kind", tmp_path / "b", read)[0, 0]) == 3
    once("kind", tmp_path / "b", read)
    once("kind", tmp_path / "b", read)
    assert read.calls == 5  # outside nothing is kept


def test_who_changes_a_value_changes_only_a_copy(tmp_path):
    (tmp_path / "a").write_text("one")
    with keeping():
        read = Counting()
        once("kind", tmp_path / "a", read).fill_(9)
        once("kind", tmp_path / "a", read).fill_(9)
        assert float(once("kind", tmp_path / "a", read)[0, 0]) == 1


def test_memory_stays_within_its_budget_however_many_files(tmp_path):
    with keeping(10 * 80) as kept:
        for number in range(1000):
            path = tmp_path / str(number)
            path.write_text("x")
            once("kind", path, lambda: torch.zeros(4, 5))
            assert kept.bytes <= 10 * 80
        assert len(kept) == 10
        read = Counting()
        once("kind", tmp_path / "999", read)
        once("kind", tmp_path / "0", read)
        assert read.calls == 1  # the newest are there, the oldest are read again
        once("large", tmp_path / "1", lambda: torch.zeros(1000))
        assert kept.bytes <= 10 * 80


def test_what_is_written_is_not_read_back_and_is_what_would_be_read(tmp_path, monkeypatch):
    depth = torch.rand(6, 7)
    depth[0, 0], depth[1, 1] = float("nan"), -1.0
    image = torch.randint(0, 256, (6, 7, 3), dtype=torch.uint8)
    with keeping(), writing_folder(tmp_path / "out") as folder:
        depth_maps.write(folder / "a.tiff", depth)
        write_image(folder / "a.png", image)
        write_image(folder / "a.jpg", image)
        write_result(folder, {})
    fresh = depth_maps.read(tmp_path / "out" / "a.tiff"), read_image(tmp_path / "out" / "a.jpg")
    with keeping(), writing_folder(tmp_path / "again") as folder:
        depth_maps.write(folder / "a.tiff", depth)
        write_image(folder / "a.png", image)
        write_image(folder / "a.jpg", image)
        write_result(folder, {})
        monkeypatch.setattr("depthscope.formats.depth_maps.bytes_of", None)
        assert torch.equal(depth_maps.read(folder / "a.tiff"), fresh[0])
        assert torch.equal(read_image(folder / "a.jpg"), fresh[1])  # lossy: it is read
        monkeypatch.setattr("depthscope.video.stills._decoded", None)
        assert torch.equal(read_image(folder / "a.png"), image)


def test_stages_of_a_case_share_what_they_read_and_hashes_follow_changes(tmp_path):
    seen, file = [], tmp_path / "file"
    file.write_text("one")

    def work(folder, resume):
        read_result(tmp_path)["changed"] = True
        seen.append((memory._kept is not None, content_hash(file), read_result(tmp_path)))
        file.write_text(f"{len(seen)}, another text")
        write_result(folder, {})

    (tmp_path / "result.json").write_text(json.dumps({"a": 1}))
    Case(tmp_path / "case").walk([Stage("one", "", work), Stage("two", "", work)], lambda line: None)
    assert [s[0] for s in seen] == [True, True] and seen[0][1] != seen[1][1]
    assert seen[0][2] == seen[1][2] == {"a": 1} and memory._kept is None


def test_a_missing_file_is_told_by_its_reader(tmp_path):
    def read():
        raise FileNotFoundError(tmp_path / "none")

    with keeping(), pytest.raises(FileNotFoundError):
        once("kind", tmp_path / "none", read)
