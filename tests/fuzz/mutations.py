"""What can be wrong with a file: bytes, text, structure, checksums, and what lies at its path."""

import gzip
import io
import json
import os
import re
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import yaml

NUMBERS = (
    "nan", "inf", "-inf", "0", "-0", "-1", "1e308", "-1e308", "1e-320", "99999999999999999999", "4294967295",
    "2147483648", "-9223372036854775808", "0x10", "1e999", "", "abc", "1,5", "1_000", "\u0661", "9" * 5000, "1 2", "-",
)  # fmt: skip
TEXTS = (
    b"\xff\xfe",
    b"\x00",
    b"\xc3\x28",
    b"\xef\xbb\xbf",
    b"\r",
    b"\x1b[2J",
    "\u202e\U0001f600".encode(),
    b"%n%s",
    b"#",
)
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**70), 1e308, float("nan"), float("inf"), "", "x", "../../x",
    "/etc/passwd", "a\0b", "x" * 10_000, [], {}, [[]], [None], {"a": None}, [1, 2, 3],
    [[1, 2], [3]], {"type": "x"}, "this:X", -0.5,
)  # fmt: skip
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 2**64 - 1)

MOST = 1 << 20
"""Bytes that are mutated: what an earlier mutation has blown up is cut to that."""

TEXT_ENDINGS = (".txt", ".csv", ".yaml", ".yml", ".json", ".obj", ".mhd", ".tfm", ".vtp", ".vtk", "")


def mutated(path: Path, random: Random) -> str:
    """Damages one file in place; returns how, in a word."""
    data = path.read_bytes()[:MOST]
    kinds: list[Callable[[bytes, Random], bytes]] = [flipped, overwritten, cut, removed, repeated, noise, extreme]
    ending = path.suffix.lower()
    textual = ending in TEXT_ENDINGS or _is_text(data)
    if textual:
        kinds = [numbers, numbers, lines, lines, words, inserted, cut, flipped, removed]
    structured = {
        ".json": json_value,
        ".yaml": yaml_value,
        ".yml": yaml_value,
        ".pt": archive,
        ".png": png,
        ".gz": zipped,
    }
    if ending in structured and random.random() < 0.6:
        kinds = [structured[ending]]
    kind = random.choice(kinds)
    try:
        changed = kind(data, random)
    except Exception:  # a structure that an earlier mutation has destroyed
        kind, changed = flipped, flipped(data, random)
    _replace(path, changed)
    return kind.__name__


def misplaced(path: Path, random: Random) -> str:
    """Puts something that is no readable file at a path; returns what."""
    kind = random.choice(
        ("locked", "locked", "shut", "missing", "folder", "pipe", "dangling", "loop", "device", "empty", "hole")
    )
    data = path.read_bytes() if path.is_file() else b""
    if kind == "shut":
        path.parent.chmod(0)
        return kind
    path.unlink(missing_ok=True)
    match kind:
        case "locked":
            path.write_bytes(data)
            path.chmod(0)
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "dangling":
            path.symlink_to(path.parent / "nothing")
        case "loop":
            path.symlink_to(path)
        case "device":
            path.symlink_to("/dev/zero")
        case "empty":
            path.touch()
        case "hole":
            path.write_bytes(data)
            os.truncate(path, len(data) + (32 << 20))
    return kind


def flipped(data: bytes, random: Random) -> bytes:
    """Some bits turned over."""
    changed = bytearray(data or b"\0")
    for _ in range(random.choice((1, 1, 2, 8, 64))):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def overwritten(data: bytes, random: Random) -> bytes:
    """A stretch of random bytes."""
    start = random.randrange(max(1, len(data)))
    return data[:start] + random.randbytes(random.choice((1, 2, 4, 8, 64))) + data[start + 8 :]


def cut(data: bytes, random: Random) -> bytes:
    """Cut short, also right behind the head."""
    return data[: random.randrange(max(1, random.choice((16, 256, len(data)))))]


def removed(data: bytes, random: Random) -> bytes:
    """A stretch left out."""
    start = random.randrange(max(1, len(data)))
    return data[:start] + data[start + random.choice((1, 4, 64, 1000)) :]


def repeated(data: bytes, random: Random) -> bytes:
    """A stretch doubled."""
    start = random.randrange(max(1, len(data)))
    return data[:start] + data[start : start + 200] * random.choice((2, 3, 50)) + data[start + 200 :]


def noise(data: bytes, random: Random) -> bytes:
    """Nothing but noise, or behind a true head."""
    return data[: random.choice((0, 4, 8, 32))] + random.randbytes(random.choice((1, 100, 5000)))


def extreme(data: bytes, random: Random) -> bytes:
    """A number of 1 to 8 bytes at its largest, smallest or most awkward, mostly in the head."""
    size, order = random.choice((1, 2, 4, 4, 8)), random.choice(("little", "big"))
    value = random.choice(EXTREMES) % (1 << 8 * size)
    start = random.randrange(max(1, min(len(data), random.choice((64, 400, len(data) or 1)))))
    return data[:start] + value.to_bytes(size, order) + data[start + size :]


def numbers(data: bytes, random: Random) -> bytes:
    """A number in a text replaced."""
    found = list(re.finditer(rb"[-+]?\d[\d.eE+-]*", data))
    if not found:
        return words(data, random)
    one = random.choice(found)
    return data[: one.start()] + random.choice(NUMBERS).encode() + data[one.end() :]


def words(data: bytes, random: Random) -> bytes:
    """A word in a text replaced, doubled or left out."""
    found = list(re.finditer(rb"\w+", data))
    if not found:
        return flipped(data, random)
    one = random.choice(found)
    new = random.choice(
        (
            b"",
            one.group() * 2,
            b"x",
            b"'",
            b'"',
            b"[",
            b"{",
            b": ",
            b"*a",
            b"&a",
            b"!!python/name:os.system",
            b"../" + one.group(),
        )
    )
    return data[: one.start()] + new + data[one.end() :]


def lines(data: bytes, random: Random) -> bytes:
    """Lines left out, doubled, exchanged or joined."""
    rows = data.split(b"\n")
    one, other = random.randrange(len(rows)), random.randrange(len(rows))
    match random.choice(("out", "double", "exchange", "joined", "many", "deep")):
        case "out":
            del rows[one]
        case "double":
            rows.insert(one, rows[other])
        case "exchange":
            rows[one], rows[other] = rows[other], rows[one]
        case "joined":
            rows[one] = rows[one] + b" " + rows[other]
        case "many":
            rows[one:one] = [rows[other]] * 300
        case "deep":
            rows.insert(one, random.choice((b"[", b"{", b"- ", b"(", b"<a>")) * random.choice((200, 20_000)))
    return b"\n".join(rows)


def inserted(data: bytes, random: Random) -> bytes:
    """Bytes that are no text, marks of an order of bytes, another encoding."""
    if random.random() < 0.2:
        return data.decode("utf-8", "replace").encode(random.choice(("utf-16", "utf-32", "utf-8-sig")))
    start = random.randrange(len(data) + 1)
    return data[:start] + random.choice(TEXTS) + data[start:]


def json_value(data: bytes, random: Random) -> bytes:
    """One value of a JSON file of another type."""
    return json.dumps(changed_value(json.loads(data), random)).encode()


def yaml_value(data: bytes, random: Random) -> bytes:
    """One value of a YAML file of another type, or aliases that stand for billions."""
    found = yaml.safe_load(data)
    if random.random() < 0.05:
        rows = ["a0: &a0 [1, 2]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))]
        return "\n".join(rows).encode()
    return yaml.safe_dump(changed_value(found, random)).encode()


def changed_value(value: Any, random: Random) -> Any:
    """A tree of dictionaries and lists in which one place holds another value."""
    if isinstance(value, dict) and value and random.random() < 0.85:
        key = random.choice(list(value))
        match random.random():
            case chance if chance < 0.1:
                return {k: v for k, v in value.items() if k != key}
            case chance if chance < 0.15:
                return {**value, random.choice(("x", "type", "../x", 7)): random.choice(VALUES)}
        return {**value, key: changed_value(value[key], random)}
    if isinstance(value, list) and value and random.random() < 0.85:
        place = random.randrange(len(value))
        match random.random():
            case chance if chance < 0.1:
                return value[:place] + value[place + 1 :]
            case chance if chance < 0.15:
                return value + value[place : place + 1] * 3
        return [*value[:place], changed_value(value[place], random), *value[place + 1 :]]
    return random.choice(VALUES)


def archive(data: bytes, random: Random) -> bytes:
    """A checkpoint with one value of another type, or an archive with damaged, renamed or compressed parts."""
    import torch

    if random.random() < 0.6:
        content = torch.load(io.BytesIO(data), weights_only=True)
        stream = io.BytesIO()
        content = dict(content)
        if isinstance(content.get("recipe"), str) and random.random() < 0.5:
            content["recipe"] = yaml_value(content["recipe"].encode(), random).decode()
        else:
            content = changed_value(content, random)
        torch.save(content, stream)
        return stream.getvalue()
    source, stream = zipfile.ZipFile(io.BytesIO(data)), io.BytesIO()
    names = source.namelist()
    hit = random.choice(names)
    packing = random.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(stream, "w", packing) as target:
        for name in names:
            part = source.read(name)
            if name == hit:
                part = random.choice((flipped, cut, extreme, noise, _bomb))(part, random)
            target.writestr(name, part)
    return stream.getvalue()


def png(data: bytes, random: Random) -> bytes:
    """A PNG with one field of a chunk changed and its checksum right."""
    place, chunks = 8, []
    while place + 12 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length
    hit = random.randrange(len(chunks))
    made = data[:8]
    for number, (name, body) in enumerate(chunks):
        if number == hit:
            body = random.choice((extreme, flipped, cut))(body, random)
        made += struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    return made


def zipped(data: bytes, random: Random) -> bytes:
    """What is in a gzip file damaged, or a great deal of nothing behind it."""
    inner = gzip.decompress(data)
    if random.random() < 0.1:
        return gzip.compress(_bomb(inner, random), 9)
    return gzip.compress(random.choice((extreme, extreme, flipped, cut, removed))(inner, random), 1)


def _bomb(data: bytes, random: Random) -> bytes:
    return data + bytes(random.choice((1 << 20, 64 << 20)))


def _is_text(data: bytes) -> bool:
    return not re.search(rb"[\x00-\x08\x0e-\x1f\x80-\xff]", data[:400])


def _replace(path: Path, data: bytes) -> None:
    """New bytes under a new inode: the old one may be shared with the seed."""
    path.unlink(missing_ok=True)
    path.write_bytes(data)


def laid_out(source: Path, folder: Path) -> None:
    """A copy of a seed whose files are those of the seed until they are changed."""
    shutil.copytree(source, folder, copy_function=os.link, symlinks=True)
