"""Files that crash or hang ITK end as an error of one line, and Ctrl-C still ends at once."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from depthscope.errors import BadInputError
from depthscope.formats import itk, transforms
from depthscope.formats.ct import read_ct

HEADER = """ObjectType = Image
NDims = {dimensions}
BinaryData = True
BinaryDataByteOrderMSB = False
CompressedData = False
TransformMatrix = {matrix}
Offset = 0 0 0
ElementSpacing = 1 1 1
DimSize = {size}
ElementType = MET_SHORT
ElementDataFile = c.raw
"""
GOOD = {"dimensions": "3", "matrix": "1 0 0 0 1 0 0 0 1", "size": "8 7 6"}


def meta_image(folder: Path, **changes: str) -> Path:
    (folder / "c.mhd").write_text(HEADER.format(**(GOOD | changes)))
    voxels = np.full(8 * 7 * 6, 40, "<i2")
    voxels[100:200] = -1000
    (folder / "c.raw").write_bytes(voxels.tobytes())
    return folder / "c.mhd"


def test_a_whole_volume_is_read_with_its_geometry(tmp_path: Path) -> None:
    ct = read_ct(meta_image(tmp_path))
    assert ct.hounsfield.shape == (6, 7, 8) and ct.hounsfield.min() == -1000


@pytest.mark.parametrize(
    "changes",
    [
        {"dimensions": "4294967295_000"},
        {"matrix": "1 0 0 1e308 1 0 0 0 1"},
        {"size": "60000 60000 60000"},
        {"size": "-8 7 6"},
        {"size": "8 7 600"},
    ],
)
def test_hostile_headers_are_one_line(tmp_path: Path, changes: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(itk, "READING_S", 2.0)
    with pytest.raises(BadInputError, match=r"c\.mhd") as caught:
        read_ct(meta_image(tmp_path, **changes))
    assert "\n" not in str(caught.value)


def test_a_transform_that_is_not_linear_is_refused(tmp_path: Path) -> None:
    grid = SimpleITK.Image([4, 4, 4], SimpleITK.sitkVectorFloat64, 3)
    grid.SetSpacing((100.0, 100.0, 100.0))
    grid.SetOrigin((-150.0, -150.0, -150.0))
    grid[1, 1, 1] = (30.0, 0.0, 0.0)
    SimpleITK.WriteTransform(SimpleITK.DisplacementFieldTransform(grid), str(tmp_path / "bent.tfm"))
    with pytest.raises(BadInputError, match=r"bent\.tfm is no linear transform"):
        transforms.read(tmp_path / "bent.tfm")


def test_a_signal_ends_a_reader_that_hangs_and_its_child(tmp_path: Path) -> None:
    path = meta_image(tmp_path, matrix=GOOD["matrix"])
    slow = tmp_path / "slow.py"
    slow.write_text("import os, sys, time\nprint('ready', os.getpid(), file=open(sys.argv[1] + '/../pid', 'w'))\n")
    slow.write_text(slow.read_text("utf-8") + "print('ready', flush=True)\ntime.sleep(100)\n")
    code = (
        "import sys; from pathlib import Path; from depthscope.cli import terminated_like_interrupted\n"
        "from depthscope.formats import itk; itk.CHILD = Path(sys.argv[1]); itk.READING_S = 100\n"
        "with terminated_like_interrupted(): itk.read_image([Path(sys.argv[2])], 'a volume')"
    )
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(slow), str(path)], env=environment, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 60
    while not (tmp_path / "pid").is_file() or not (tmp_path / "pid").read_text("utf-8").endswith("\n"):
        assert time.monotonic() < until and parent.poll() is None
        time.sleep(0.05)
    child = int((tmp_path / "pid").read_text("utf-8").split()[1])
    parent.send_signal(signal.SIGTERM)
    _, told = parent.communicate(timeout=60)  # the child alone would take 100 s
    assert "KeyboardInterrupt" in told
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    assert not list(tmp_path.glob("depthscope-*"))
