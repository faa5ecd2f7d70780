"""How many small changes of the code the tests notice: a sampled mutation campaign over what decides the numbers.

    python benchmarks/mutation.py --out DIR [--per-part 40] [--parts objectives geometry ...] [--seed 0] [--minutes 60]

A mutant is one change inside one function: + for -, < for <=, a constant one more, a minus or a not dropped, a sum for
a mean, a minimum for a maximum. Messages of errors are left alone. Of all sites of a part a sample is drawn by the
seed. The tests of the part run once to learn which of them reach which line, by themselves or by a fixture that they
use; a mutant is then tried by the tests that reach its line, quickest first and no further than the first that fails,
in a child process in which the code of that one function is replaced. It is killed where a test fails or takes several
times as much processor time as before, and survives where all pass.

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
from functools import cached_property
from pathlib import Path
from types import CodeType, FrameType, FunctionType

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
        (
            "tests/laws/test_alignment.py",
            "tests/laws/test_similarity.py",
            "tests/test_registration_parts.py",
            "tests/test_registration.py",
            "tests/test_registration_unscaled.py",
        ),
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
SLOWER = 4
"""A test that takes so many times as much processor time as before, and two seconds, is taken to have noticed."""


@dataclass(frozen=True)
class Mutant:
    """One change of one function.

    Attributes:
        part, module, function: Where it is; the function by its qualified name.
        file: Of the module.
        line: In it.
        lines: Of the statement, to tell which tests reach it.
        change: In words.
        code: Of the changed function.
    """

    part: str
    module: str
    function: str
    file: Path
    line: int
    lines: range
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
        tests = Reach(files)
        if quiet_pytest([*PARTS[part][1]], tests) != 0:
            raise SystemExit(f"the tests of {part} fail before anything is changed")
        every = [place for file in files for place in places_in(file)]
        drawn = random.Random(given.seed).sample(every, min(given.per_part, len(every)))
        for mutant in filter(None, (mutant_at(part, *place) for place in drawn)):
            if time.monotonic() > end:
                break
            told = {name: getattr(mutant, name) for name in ("part", "module", "function", "line", "change")}
            row = told | tried(mutant, tests)
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
    """Killed, survived and never reached, in words."""
    killed, survived, missed = (
        sum(row["outcome"] == outcome for row in rows) for outcome in ("killed", "survived", "not reached")
    )
    return f"{killed} killed, {survived} survived, {missed} where no test comes"


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
    line, lines = node.lineno, lines_of(node, function)  # type: ignore[attr-defined]
    apply(node)
    ast.fix_missing_locations(tree)
    qualified = f"{owner}.{name}" if owner else name
    try:
        code = code_named(compile(tree, str(file), "exec"), qualified)
    except (SyntaxError, ValueError, TypeError):
        return None
    return None if code is None else Mutant(part, module, qualified, file, line, lines, change, code)


def lines_of(node: ast.AST, function: ast.FunctionDef) -> range:
    """Lines of the smallest simple statement around a node; of the node itself in the head of an if, for, or with."""
    simple = [
        statement
        for statement in ast.walk(function)
        if isinstance(statement, ast.stmt) and not hasattr(statement, "body") and node in set(ast.walk(statement))
    ]
    place = simple[0] if simple else node
    return range(place.lineno, place.end_lineno + 1)  # type: ignore[attr-defined]


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
        case ast.Constant(value=bool() | int() | float() as value):
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


class Reach:
    """A plugin of pytest that notes which test reaches which line, and how long it takes alone.

    What a fixture of several tests does is noted once, while it is set up, and counted for each test that uses it: that
    test depends on it, and alone it would have to set it up itself.
    """

    def __init__(self, files: list[Path]) -> None:
        """Lines of these files."""
        self.files = {str(file) for file in files}
        self.lines: dict[str, set[tuple[str, int]]] = {}
        self.seconds: dict[str, float] = {}
        self._fixtures: dict[object, tuple[set[tuple[str, int]], float]] = {}
        self._now: list[set[tuple[str, int]]] = [set()]

    def _note(self, frame: FrameType, event: str, argument: object):
        if frame.f_code.co_filename not in self.files:
            return None
        name, lines = frame.f_code.co_filename, self._now[-1]

        def line(frame: FrameType, event: str, argument: object):
            lines.add((name, frame.f_lineno))
            return line

        return line

    @pytest.hookimpl(hookwrapper=True)
    def pytest_fixture_setup(self, fixturedef, request):
        """One fixture without those it uses, which are set up before it."""
        self._now.append(set())
        start = time.process_time()
        yield
        self._fixtures[fixturedef] = self._now.pop(), time.process_time() - start

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item):
        """One test."""
        self._now[:] = [set()]
        sys.settrace(self._note)
        start, before = time.process_time(), set(self._fixtures)
        yield
        sys.settrace(None)
        seconds, lines = time.process_time() - start, self._now[0]
        used = {
            definition for name in item.fixturenames for definition in item._fixtureinfo.name2fixturedefs.get(name, ())
        }
        for definition in used & set(self._fixtures):
            own, cost = self._fixtures[definition]
            lines |= own
            seconds += cost if definition in before else 0.0
        self.lines[item.nodeid], self.seconds[item.nodeid] = lines, seconds

    def of(self, file: Path, lines: range) -> list[str]:
        """Tests that reach any of the lines, quickest first."""
        places = {(str(file), line) for line in lines}
        return sorted((name for name, own in self.lines.items() if own & places), key=lambda name: self.seconds[name])


class Limit:
    """A plugin of pytest that ends its process where a test takes several times its processor time."""

    def __init__(self, seconds: dict[str, float]) -> None:
        """What each test took before."""
        self.seconds = seconds

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item):
        """One test, with the fixtures that it sets up."""
        signal.setitimer(signal.ITIMER_PROF, 2 + SLOWER * self.seconds[item.nodeid])
        yield
        signal.setitimer(signal.ITIMER_PROF, 0)


def quiet_pytest(tests: list[str], *plugins: object) -> int:
    """Runs tests without a word, and without the checks of array shapes, which would hide the code of functions."""
    options = ["-q", "-x", "-p", "no:cacheprovider", "-o", "addopts=", "-m", "not slow and not gpu"]
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        return int(pytest.main([*options, *tests], plugins=[*plugins]))


def tried(mutant: Mutant, tests: Reach) -> dict[str, object]:
    """What the tests say of a mutant, in a child process."""
    function = live(mutant)
    names = [] if function is None else tests.of(mutant.file, mutant.lines)
    if function is None or not names:
        return {"outcome": "not reached", "tests": 0}
    child = os.fork()
    if child == 0:
        os.setpgrp()
        try:
            function.__code__ = mutant.code
        except ValueError:  # another number of names from outside: no change of this kind makes one
            os._exit(3)
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        os._exit(1 if quiet_pytest(names, Limit(tests.seconds)) else 0)
    start, limit = time.monotonic(), 60 + 10 * SLOWER * sum(tests.seconds[name] for name in names)
    status = None
    while status is None and time.monotonic() - start < limit:  # asleep for ever: no processor time ends that
        done, code = os.waitpid(child, os.WNOHANG)
        status = os.waitstatus_to_exitcode(code) if done else None
        if status is None:
            time.sleep(0.05)
    if status is None:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        status = 1
    seconds = time.monotonic() - start
    return {"outcome": "survived" if status == 0 else "killed", "tests": len(names), "seconds": round(seconds, 1)}


def live(mutant: Mutant) -> FunctionType | None:
    """The function itself, under its decorators."""
    found = importlib.import_module(mutant.module)
    for name in mutant.function.split("."):
        found = vars(found).get(name)
        if found is None:
            return None
    if isinstance(found, property):
        found = found.fget
    if isinstance(found, cached_property):
        found = found.func
    if isinstance(found, staticmethod | classmethod):
        found = found.__func__
    while (inner := getattr(found, "__wrapped__", None)) is not None:
        found = inner
    return found if isinstance(found, FunctionType) else None


if __name__ == "__main__":
    main()
