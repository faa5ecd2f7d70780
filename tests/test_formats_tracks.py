"""Files of tracks: there and back, and everything that is wrong with one."""

from pathlib import Path

import numpy as np
import pytest

from depthscope.errors import BadInputError
from depthscope.formats import tracks


def test_tracks_come_back(tmp_path: Path):
    rows = [
        ("frame_000000", 0, 1.5, 2.25, 1.0),
        ("frame_000001", 0, 3.0, 4.125, 0.5),
        ("frame_000001", 7, 9.0, 9.0, 0.0),
    ]
    found = tracks.read(tracks.write(tmp_path / "tracks.csv", rows))
    assert found.frames == ("frame_000000", "frame_000001", "frame_000001") and found.points.tolist() == [0, 0, 7]
    np.testing.assert_allclose(found.places, [[1.5, 2.25], [3.0, 4.125], [9, 9]])
    np.testing.assert_allclose(found.confidence, [1, 0.5, 0])
    assert len(tracks.read(tracks.write(tmp_path / "none.csv", []))) == 0


HEAD = "frame,point,x,y,confidence\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "begins with ''"),
        ("name,x,y\na,1,2\n", "begins with 'name,x,y'"),
        (HEAD + "a,0,1,2,0.5\na,1,1,two,0.5\n", "row 3"),
        (HEAD + "a,0,1,nan,0.5\n", "row 2"),
        (HEAD + "a,0,1,2\n", "row 2"),
        (HEAD + "a,0,1,2,1.5\n", "confidence of 1.5"),
        (HEAD + "a,0,1,2,1\na,0,3,4,1\n", "twice"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, told: str):
    (tmp_path / "tracks.csv").write_text(text)
    with pytest.raises(BadInputError, match=told):
        tracks.read(tmp_path / "tracks.csv")


def test_a_missing_file_is_refused(tmp_path: Path):
    with pytest.raises(BadInputError, match="is missing"):
        tracks.read(tmp_path / "tracks.csv")


@pytest.mark.parametrize("text", ["x,y\n1,2\n3.5,4\n", "1,2\n3.5,4\n", "\ufeffX, Y\n\n1, 2\n3.5, 4\n"])
def test_points_with_and_without_a_head(tmp_path: Path, text: str):
    (tmp_path / "points.csv").write_text(text, encoding="utf-8")
    assert tracks.read_points(tmp_path / "points.csv").tolist() == [[1, 2], [3.5, 4]]


@pytest.mark.parametrize(("text", "told"), [("x,y\n", "no points"), ("1,2,3\n", "row 1"), ("x,y\n1,b\n", "row 2")])
def test_other_points_are_refused(tmp_path: Path, text: str, told: str):
    (tmp_path / "points.csv").write_text(text)
    with pytest.raises(BadInputError, match=told):
        tracks.read_points(tmp_path / "points.csv")
