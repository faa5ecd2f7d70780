"""How many small changes of the code the tests notice: a sampled mutation campaign over what decides the numbers.

    python benchmarks/mutation.py --out DIR [--per-part 40] [--parts objectives geometry ...] [--seed 0] [--minutes 60]

A mutant is one change inside one function: + for -, < for <=, a constant one more, a minus or a not dropped, a sum for
a mean, a minimum for a maximum. Messages of errors are left alone. Of all sites of a part a sample is drawn by the
seed. The tests of the part run once to learn which of them call which function; a mutant is then tried by
the tests that call its function, quickest first, in a child process in which the code of that one function is replaced.
It is killed where a test fails or takes ten times as long as before, and survives where all pass.

A survivor is either a gap in the tests or a change that changes nothing (an equivalent mutant): they are listed.
Writes ``mutation.json`` and prints the score of each part.
"""

import argparse
import ast
import importlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType

import pytest

ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src" / "depthscope"

SNIPPETS = tuple(
    f"tests/test_photometric_training.py::{name}"
    for name in (
        "test_targets_have_all_their_sources",
        "test_sources_are_chosen_by_the_motion_of_the_points",
        "test_motions_and_points_are_those_of_the_sequence",
        "test_true_depth_explains_the_frames_of_a_stored_clip",
    )
)
PARTS = {
    "objectives": (
        ("objectives/**/*.py",),
        ("tests/laws/test_objectives.py", "tests/laws/test_photometric.py", "tests/laws/test_golden_view_synthesis.py"),
    ),
    "geometry": (
        ("geometry/scale.py", "geometry/depth.py", "geometry/motion.py", "geometry/camera.py"),
        (
            "tests/laws/test_scale.py",
            "tests/laws/test_depth.py",
            "tests/laws/test_motion.py",
            "tests/laws/test_similarity.py",
            "tests/laws/test_camera.py",
        ),
    ),
    "supervision": (("supervision/*.py",), ("tests/test_supervision.py", *SNIPPETS)),
    "registration": (
        ("registration/*.py",),
        ("tests/laws/test_alignment.py", "tests/laws/test_similarity.py", "tests/test_registration.py"),
    ),
}
"""Modules of each part, and the tests that are to notice their mutants."""

OPERATORS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
COMPARISONS = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
METHODS = {
    "min": "max",
    "max": "min",
    "amin": "amax",
    "amax": "amin",
    "any": "all",
    "all": "any",
    "sum": "mean",
    "mean": "sum",
    "clamp_min": "clamp_max",
    "floor": "ceil",
    "logical_and_": "logical_or_",
}
SLOWER = 10
"""A test that takes so many times as long as before is taken to have noticed."""


@dataclass(frozen=True)
class Mutant:
    """One change of one function.

    Attributes:
        part, module, function: Where it is; the function by its qualified name.
        line: In the module's file.
        change: In words.
        code: Of the changed function.
    """

    part: str
    module: str
    function: str
    line: int
    change: str
    code: CodeType


def main() -> None:
    """Reads the arguments and runs the campaign."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--parts", nargs="*", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--per-part", type=int, default=40, help="mutants drawn of each part")
    parser.add_argument("--only", default="", help="only modules whose path holds this")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=60.0, help="no mutant is begun after so long")
    given = parser.parse_args()
    os.chdir(ROOT)
    sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]
    given.out.mkdir(parents=True, exist_ok=True)
    end, rows = time.monotonic() + 60 * given.minutes, []
    for part in given.parts:
        files = [file for pattern in PARTS[part][0] for file in sorted(SRC.glob(pattern)) if given.only in str(file)]
        tests = Calls(files)
        if quiet_pytest([*PARTS[part][1]], tests) != 0:
            raise SystemExit(f"the tests of {part} fail before anything is changed")
        every = [place for file in files for place in places_in(file)]
        drawn = random.Random(given.seed).sample(every, min(given.per_part, len(every)))
        for mutant in filter(None, (mutant_at(part, *place) for place in drawn)):
            if time.monotonic() > end:
                break
            row = {name: value for name, value in vars(mutant).items() if name != "code"} | tried(mutant, tests)
            rows.append(row)
            if row["outcome"] != "killed":
                print(
                    f"  {row['outcome']}: {mutant.module}:{mutant.line} {mutant.function}: {mutant.change}", flush=True
                )
            (given.out / "mutation.json").write_text(json.dumps({"seed": given.seed, "rows": rows}, indent=1))
        own = [row for row in rows if row["part"] == part]
        print(f"{part}: {len(every)} sites, {len(own)} tried, {counted(own)}", flush=True)
    print(f"all: {len(rows)} tried, {counted(rows)}")


def counted(rows: list[dict]) -> str:
    """Killed, survived and never called, in words."""
    killed, survived, uncalled = (
        sum(row["outcome"] == outcome for row in rows) for outcome in ("killed", "survived", "not called")
    )
    return f"{killed} killed, {survived} survived, {uncalled} in functions that no test calls"


# Mutants


def places_in(file: Path) -> list[tuple[Path, str, str, int]]:
    """Every site of a module's functions: file, class, function, number."""
    tree = ast.parse(file.read_text("utf-8"))
    return [
        (file, owner, function.name, number)
        for owner, function in functions_of(tree)
        for number, _ in enumerate(sites_of(function))
    ]


def mutant_at(part: str, file: Path, owner: str, name: str, number: int) -> Mutant | None:
    """The mutant of one site; None where Python does not take the change."""
    tree = ast.parse(file.read_text("utf-8"))
    module = ".".join(file.relative_to(SRC.parent).with_suffix("").parts).removesuffix(".__init__")
    function = next(f for o, f in functions_of(tree) if (o, f.name) == (owner, name))
    node, change = list(sites_of(function))[number]
    line = node.lineno  # type: ignore[attr-defined]
    apply(node)
    ast.fix_missing_locations(tree)
    qualified = f"{owner}.{name}" if owner else name
    try:
        code = code_named(compile(tree, str(file), "exec"), qualified)
    except (SyntaxError, ValueError, TypeError):
        return None
    return None if code is None else Mutant(part, module, qualified, line, change, code)


def functions_of(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Functions of a module and of its classes, with the class's name."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield "", node
        if isinstance(node, ast.ClassDef):
            yield from ((node.name, inner) for inner in node.body if isinstance(inner, ast.FunctionDef))


def sites_of(function: ast.FunctionDef) -> Iterator[tuple[ast.AST, str]]:
    """What of a function can be changed, and how; in a fixed order."""
    waiting: list[ast.AST] = [*reversed(function.body)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Raise | ast.Assert | ast.JoinedStr | ast.AnnAssign) and not (
            isinstance(node, ast.AnnAssign) and node.value is not None
        ):
            continue
        if (change := change_of(node)) is not None:
            yield node, change
        children = [node.value] if isinstance(node, ast.AnnAssign) else list(ast.iter_child_nodes(node))
        if isinstance(node, ast.FunctionDef):
            children = list(node.body)
        waiting.extend(child for child in reversed(children) if child is not None)


def change_of(node: ast.AST) -> str | None:
    """The change of a node in words, or None where there is none."""
    match node:
        case ast.BinOp(op=op) if type(op) in OPERATORS:
            return f"{type(op).__name__} becomes {OPERATORS[type(op)].__name__}: {ast.unparse(node)[:70]}"
        case ast.Compare(ops=[op]) if type(op) in COMPARISONS:
            return f"{type(op).__name__} becomes {COMPARISONS[type(op)].__name__}: {ast.unparse(node)[:70]}"
        case ast.UnaryOp(op=ast.USub() | ast.Not() | ast.Invert()) as one:
            return f"{type(one.op).__name__} dropped: {ast.unparse(node)[:70]}"
        case ast.BoolOp(op=op):
            return f"{type(op).__name__} becomes the other: {ast.unparse(node)[:70]}"
        case ast.Constant(value=bool() as value):
            return f"{value} becomes {not value}"
        case ast.Constant(value=int() | float() as value):
            return f"{value} becomes {other_number(value)}"
        case ast.Attribute(attr=name) if name in METHODS:
            return f"{name} becomes {METHODS[name]}: {ast.unparse(node)[:70]}"
    return None


def apply(node: ast.AST) -> None:
    """Makes the change of `change_of`."""
    match node:
        case ast.BinOp(op=op):
            node.op = OPERATORS[type(op)]()
        case ast.Compare(ops=[op]):
            node.ops = [COMPARISONS[type(op)]()]
        case ast.UnaryOp(op=ast.USub()):
            node.op = ast.UAdd()
        case ast.UnaryOp(op=op):  # twice is not at all
            node.operand = ast.UnaryOp(type(op)(), node.operand)
        case ast.BoolOp(op=op):
            node.op = ast.Or() if isinstance(op, ast.And) else ast.And()
        case ast.Constant(value=value):
            node.value = (not value) if isinstance(value, bool) else other_number(value)
        case ast.Attribute():
            node.attr = METHODS[node.attr]


def other_number(value: int | float) -> int | float:
    """One more of a whole number, twice another, and 1 for nothing."""
    if isinstance(value, int):
        return value + 1
    return 2 * value if value else 1.0


def code_named(code: CodeType, name: str) -> CodeType | None:
    """The code of a function by its qualified name."""
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            if inner.co_qualname == name:
                return inner
            if (found := code_named(inner, name)) is not None:
                return found
    return None


# Tests


class Calls:
    """A plugin of pytest that notes which test calls which function, and how long it takes."""

    def __init__(self, files: list[Path]) -> None:
        """Calls of functions of these files."""
        self.files = {str(file) for file in files}
        self.tests: dict[tuple[str, int], set[str]] = {}
        self.seconds: dict[str, float] = {}

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item):
        """One test, its fixtures included."""

        def note(frame, event, argument):
            code = frame.f_code
            if event == "call" and code.co_filename in self.files:
                self.tests.setdefault((code.co_filename, code.co_firstlineno), set()).add(item.nodeid)

        start = time.perf_counter()
        sys.setprofile(note)
        yield
        sys.setprofile(None)
        self.seconds[item.nodeid] = time.perf_counter() - start

    def of(self, code: CodeType) -> list[str]:
        """Tests that call a function, quickest first."""
        found = self.tests.get((code.co_filename, code.co_firstlineno), set())
        return sorted(found, key=lambda name: self.seconds[name])


def quiet_pytest(tests: list[str], *plugins: object) -> int:
    """Runs tests without a word, and without the checks of array shapes, which would hide the code of functions."""
    options = ["-q", "-x", "-p", "no:cacheprovider", "-o", "addopts=", "-m", "not slow and not gpu"]
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        return int(pytest.main([*options, *tests], plugins=[*plugins]))


def tried(mutant: Mutant, tests: Calls) -> dict[str, object]:
    """What the tests say of a mutant, in a child process."""
    function = live(mutant)
    if function is None:
        return {"outcome": "not called", "tests": 0}
    names = tests.of(function.__code__)
    if not names:
        return {"outcome": "not called", "tests": 0}
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        os.setpgrp()
        try:
            function.__code__ = mutant.code
        except ValueError:  # another number of names from outside: no change of this kind makes one
            os._exit(3)
        os._exit(1 if quiet_pytest(names) else 0)
    limit = SLOWER * (1 + sum(tests.seconds[name] for name in names))
    status = None
    while status is None and time.monotonic() - start < limit:
        done, code = os.waitpid(child, os.WNOHANG)
        status = os.waitstatus_to_exitcode(code) if done else None
        if status is None:
            time.sleep(0.05)
    if status is None:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        status = 1
    return {"outcome": "survived" if status == 0 else "killed", "tests": len(names)}


def live(mutant: Mutant) -> FunctionType | None:
    """The function itself, under its decorators."""
    found = importlib.import_module(mutant.module)
    for name in mutant.function.split("."):
        found = vars(found).get(name)
        if found is None:
            return None
    if isinstance(found, property):
        found = found.fget
    if isinstance(found, staticmethod | classmethod):
        found = found.__func__
    while (inner := getattr(found, "__wrapped__", None)) is not None:
        found = inner
    return found if isinstance(found, FunctionType) else None


if __name__ == "__main__":
    main()
