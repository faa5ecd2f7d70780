"""The way through which every reader passes."""

import json
import os
from pathlib import Path

import pytest

from depthscope.errors import BadInputError, NoAnswerError, require_file
from depthscope.reading import inside, json_of, leads_out, reader, reading, text_of, yaml_from, yaml_of


def refused(function, *args) -> str:
    with pytest.raises(BadInputError) as caught:
        function(*args)
    text = str(caught.value)
    assert "\n" not in text and len(text) < 600
    return text


@pytest.mark.parametrize(
    "error",
    [
        ValueError("two\nlines"),
        KeyError("name"),
        TypeError("'int' object is not iterable"),
        RecursionError(),
        MemoryError(),
        OSError(5, "Input/output error"),
        PermissionError(13, "Permission denied", "inner.txt"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        EOFError("ran out"),
    ],
)
def test_whatever_happens_becomes_one_line_that_names_the_file(error: Exception) -> None:
    def fail() -> None:
        with reading("scan.dat", "a scan"):
            raise error

    told = refused(fail)
    assert ("inner.txt" if isinstance(error, PermissionError) else "scan.dat") in told and "a scan" in told


def test_errors_that_know_more_pass_as_do_interruptions_and_our_own_mistakes() -> None:
    for error in (NoAnswerError("no answer"), KeyboardInterrupt(), SystemExit(3), NameError("typo")):
        with pytest.raises(type(error)) as caught, reading("scan.dat"):
            raise error
        assert caught.value is error


def test_a_reader_names_its_first_argument_also_by_keyword() -> None:
    @reader("a scan")
    def read(path: Path) -> int:
        raise KeyError("x")

    assert "one.txt" in refused(read, Path("one.txt"))
    with pytest.raises(BadInputError, match=r"two\.txt"):
        read(path=Path("two.txt"))


def test_what_is_no_file_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "broken").symlink_to(tmp_path / "nothing")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe")
    for name, word in (
        ("folder", "is a folder"),
        ("broken", "is a link to"),
        ("loop", "cannot be read"),
        ("pipe", "is a pipe"),
        ("none", "is missing"),
        ("x" * 300, "cannot be read"),
        ("nul\0", "cannot be read"),
    ):
        assert word in refused(text_of, tmp_path / name, "text")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_permission_denied_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "file").chmod(0)
    assert "permission denied" in refused(text_of, tmp_path / "file", "text")
    (tmp_path / "file").chmod(0o600)
    tmp_path.chmod(0)
    try:
        assert "permission denied" in refused(require_file, tmp_path / "file", "text")
    finally:
        tmp_path.chmod(0o700)


def test_text_has_no_mark_and_lines_of_unix(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo\rthree\n")
    assert text_of(tmp_path / "a.txt", "text") == "one\ntwo\nthree\n"
    (tmp_path / "b.txt").write_bytes(b"caf\xe9")
    assert "cannot be read as text" in refused(text_of, tmp_path / "b.txt", "text")


@pytest.mark.parametrize("text", ['{"a": 1', "[1, 2]", "nonsense", "[" * 100_000, "9" * 5000, '"a"'])
def test_json_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    assert "a.json" in refused(json_of, tmp_path / "a.json", "entries")


@pytest.mark.parametrize(
    "text",
    ["a: [1", "a: b: c", "- 1", "nonsense", "[" * 200_000, "- " * 50_000, "2001-99-99", "&a {b: *a}", "a: \x01", "*b"],
)
def test_yaml_that_is_none_or_exhausts_the_stack(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    assert "a.yaml" in refused(yaml_of, tmp_path / "a.yaml", "entries")


def test_yaml_whose_aliases_stand_for_billions() -> None:
    rows = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    told = refused(yaml_from, "\n".join(["a0: &a0 [1, 2]", *rows]), "bomb.yaml")
    assert "aliases" in told


def test_yaml_with_few_aliases_and_json_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: &x [1, 2]\nb: *x\n")
    assert yaml_of(tmp_path / "a.yaml", "entries") == {"a": [1, 2], "b": [1, 2]}
    (tmp_path / "a.json").write_text(json.dumps({"a": 1}))
    assert json_of(tmp_path / "a.json", "entries") == {"a": 1}


@pytest.mark.parametrize("name", ["../a.png", "/etc/passwd", "b/../../a.png", "..", ".", "", " ", "a\0b", "b/.."])
def test_names_that_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    assert "list.txt" in refused(inside, tmp_path, name, "list.txt")


def test_names_inside_the_folder_stay(tmp_path: Path) -> None:
    for name in ("a.png", "b/a.png", "./a.png", "b/../a.png", "..a.png", str(tmp_path / "a.png")):
        assert inside(tmp_path, name, "list.txt") == tmp_path / name
    (tmp_path / "in").mkdir()
    (tmp_path / "out.png").touch()
    (tmp_path / "in" / "link.png").symlink_to(tmp_path / "out.png")
    (tmp_path / "in" / "own.png").touch()
    assert leads_out(tmp_path / "in", tmp_path / "in" / "link.png")
    assert not leads_out(tmp_path / "in", tmp_path / "in" / "own.png")


def test_image_names_that_leave_their_folder_are_refused_and_links_told(tmp_path: Path) -> None:
    from depthscope.formats import read_sequence, read_truth
    from miniatures.colmap_folder import write_colmap
    from miniatures.dataset_folders import write_nerfstudio
    from miniatures.scene import scene

    write_colmap(tmp_path / "clip", scene(frames=4, points=30))
    frame = tmp_path / "clip" / "images" / "left cam" / "frame 5.jpg"
    frame.rename(tmp_path / "elsewhere.jpg")
    frame.symlink_to(tmp_path / "elsewhere.jpg")
    notes = read_sequence(tmp_path / "clip").notes
    assert any("1 frames lie outside" in note and "elsewhere.jpg" in note for note in notes)
    images = tmp_path / "clip" / "sparse" / "0" / "images.txt"
    text = images.read_text("utf-8")
    for name in ("../../elsewhere.jpg", str(tmp_path / "elsewhere.jpg")):
        images.write_text(text.replace("left cam/frame 5.jpg", name))
        assert "outside" in refused(read_sequence, tmp_path / "clip")

    write_nerfstudio(tmp_path / "nerf")
    path = tmp_path / "nerf" / "transforms.json"
    text = path.read_text("utf-8")
    for old, new in (("images/0001.png", "../elsewhere.jpg"), ("depth/0001.png", "/etc/hosts")):
        path.write_text(text.replace(old, new))
        assert "outside" in refused(read_truth, tmp_path / "nerf")


def test_a_jpeg_cut_behind_a_marker_comes_to_an_end(tmp_path: Path) -> None:
    from depthscope.video import image_size

    for data in (b"\xff\xd8\xff\xe0", b"\xff\xd8\xff\xe0\x00\x00" + bytes(40), b"\xff\xd8\xff\xdb\x00\x01\xff\xd9"):
        (tmp_path / "cut.jpg").write_bytes(data)
        assert "cut.jpg" in refused(image_size, tmp_path / "cut.jpg")


def test_an_image_that_claims_to_be_huge_takes_no_memory(tmp_path: Path) -> None:
    import struct
    import zlib

    from depthscope.video import read_image

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(90_001))) + chunk(b"IEND", b"")
    (tmp_path / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    assert "more pixels than any frame has" in refused(read_image, tmp_path / "huge.png")
