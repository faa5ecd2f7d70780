"""The manual's commands parse, their folders fit each other, its snippets run, and the errors it quotes exist."""

import functools
import importlib
import inspect
import re
import shlex
from pathlib import Path

import pytest
import torch

from depthscope.cli import VERBS, main, run
from depthscope.cli.examples import EXAMPLES
from depthscope.cli.output import GLOBAL
from depthscope.cli.pages import interface

ROOT = Path(__file__).parents[1]
START = ("README.md", "docs/index.md", "docs/install.md", "docs/own_video.md", "docs/howto.md")
"""Pages whose folders fit each other, read from top to bottom."""

PAGES = (
    *START,
    *(
        str(p.relative_to(ROOT))
        for p in sorted((ROOT / "docs").rglob("*.md"))
        if not {"_build", "reference"} & set(p.parts)
    ),
)
OTHERS = [page for page in dict.fromkeys(PAGES) if page not in START and not page.startswith("docs/reference/")]

COMMAND = re.compile(
    r"^    (?:.*?[ \]])??(?P<line>(?:depthscope|torchrun .*-m depthscope) (?P<verb>[a-z]+) ?.*)$", re.M
)
SNIPPET = re.compile(r"^```python\n(.*?)^```", re.M | re.S)

PATHS = ("--camera", "--masks", "--sequence", "--prediction", "--ct", "--run", "--weights", "--start", "--labels")
"""Options whose values are files or folders that must be there."""

BROUGHT = {
    *("my_video.mp4", "video.mp4", "long_video.mp4", "first.mp4", "second.mp4", "third.mp4", "board.mp4", "frame.png"),
    *("ct.nii.gz", "camera.yaml", "start.txt", "drawn_masks", "colmap_project", "my_dataset", "shipped", "anatomy.ply"),
    *("other_video.mp4", "frames", "true_depth", "clip_2"),
}
"""What a user brings along."""


def commands_of(text: str) -> list[list[str]]:
    """The words of each command line of depthscope in a page, without comments; of synopses one reading."""
    found = []
    for match in COMMAND.finditer(text):
        if match["verb"] not in VERBS or "VERB" in match["line"] or " ... " in match["line"]:
            continue
        line = re.sub(r"\s+#.*$|\s\s+.*$", "", match["line"].split(" -m ")[-1])
        for part in line.split("&&"):
            part = re.sub(r"[\[\]]", " ", part).replace("...", "")
            words = [re.split(r"[|]", word)[0] for word in shlex.split(part)]
            if words[:1] == ["depthscope"]:
                found.append(words[1:])
    return found


def filled(words: list[str]) -> list[str]:
    """The words with a number or a choice where a synopsis has N or NAME."""
    words = ["jigsaw" if word == "TASK" else word for word in words]
    name = " ".join(words[:2]) if " ".join(words[:2]) in interface() else words[0]
    options = {f: o for g in interface().get(name, {"groups": []})["groups"] for o in g["options"] for f in o["flags"]}
    for number, word in enumerate(words[1:], 1):
        option = options.get(words[number - 1])
        if option is not None and re.fullmatch(r"[A-Z_]+", word):
            if option["choices"]:
                words = [*words[:number], option["choices"][0], *words[number + 1 :]]
            elif option["metavar"] in ("INT", "FLOAT"):
                words = [*words[:number], "1", *words[number + 1 :]]
    return words


class Parsed(Exception):
    """A command line was read without fault."""


def parse(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads a command line with the parser of its command; nothing is run."""
    import tyro

    real = tyro.cli

    def parsed(call, **options):
        if inspect.isfunction(call):
            kept = call

            @functools.wraps(kept)
            def call(*_, **__):
                return 0

        real(call, **options)
        raise Parsed

    verb, *rest = (word for word in words if word not in GLOBAL)
    if verb == "train":  # a file or a checkpoint that is not there
        rest = [w for n, w in enumerate(rest) if w not in ("--config", "--resume") and rest[n - 1] != "--config"]
    with monkeypatch.context() as patched:
        patched.setattr(tyro, "cli", parsed)
        readings = [None]
        if verb == "predict":
            tasks = [name.split()[1].replace("-", "_") for name in interface() if name.startswith("predict ")]
            readings = [importlib.import_module("depthscope.commands.predict").predict]
            readings += [getattr(importlib.import_module(f"depthscope.commands.uses.{task}"), task) for task in tasks]
        for number, reading in enumerate(readings):
            if reading is not None:
                patched.setattr("depthscope.commands.predict.verb_of", lambda _, use=reading: use)
            try:
                run(verb, rest)
            except Parsed:
                return
            except SystemExit:
                if number == len(readings) - 1:
                    raise


def check_lines(text: str, monkeypatch) -> int:
    lines = commands_of(text)
    for words in lines:
        try:
            parse(filled(words), monkeypatch)
        except SystemExit:
            pytest.fail(f"does not parse: depthscope {' '.join(words)}")
    return len(lines)


@pytest.mark.parametrize("page", [page for page in START if page != "docs/howto.md"])
def test_commands_to_copy_are_read_by_their_parsers(page, monkeypatch):
    assert check_lines((ROOT / page).read_text("utf-8"), monkeypatch) > 0


@pytest.mark.slow  # some hundred lines; each is read by the parser of its command
@pytest.mark.parametrize("page", [*OTHERS, "docs/howto.md"])
def test_commands_of_the_other_pages_are_read_by_their_parsers(page, monkeypatch):
    check_lines((ROOT / page).read_text("utf-8"), monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("verb", EXAMPLES)
def test_examples_of_help_pages_are_read_by_their_parsers(verb, monkeypatch):
    lines = EXAMPLES[verb]
    assert check_lines("\n".join(f"    {line}" for line in lines), monkeypatch) == len(lines)


def test_a_line_that_is_wrong_would_be_found(monkeypatch):
    with pytest.raises(pytest.fail.Exception, match="--outt"):
        check_lines("    depthscope depth video.mp4 --outt depth\n", monkeypatch)


@pytest.mark.parametrize("page", START)
def test_folders_of_a_page_fit_each_other(page):
    """What a command reads was brought along, or was made by a command further up."""
    made = set(BROUGHT) | {"depthscope-demo"}
    if page == "docs/howto.md":
        made |= {"clip", "run", "depth", "surface", "lens", "case"}  # which its head says
    for words in commands_of((ROOT / page).read_text("utf-8")):
        verb, *rest = words
        inputs = []
        for word in rest[1 if verb == "pretrain" else 0 :]:
            if word.startswith("--"):
                break
            inputs.append(word)
        inputs += [rest[n + 1] for n, word in enumerate(rest[:-1]) if word in PATHS]
        for given in inputs:
            assert Path(given).parts[0] in made or given in made, f"{given} comes from nowhere: {' '.join(words)}"
        made |= {Path(rest[n + 1]).parts[0] for n, word in enumerate(rest[:-1]) if word == "--out"}


def test_the_own_video_of_the_readme_ends_in_a_viewer():
    text = (ROOT / "README.md").read_text("utf-8")
    own = commands_of(text[text.index("## Your own video") : text.index("## In Python")])
    assert [words[0] for words in own] == ["calibrate", "run", "report", "view"]


@pytest.mark.parametrize("page", [p for p in dict.fromkeys(PAGES) if SNIPPET.search((ROOT / p).read_text("utf-8"))])
def test_snippets_run(page, tmp_path, monkeypatch):
    from depthscope.formats import camera_file
    from depthscope.geometry import Camera
    from depthscope.video import write_image

    monkeypatch.chdir(tmp_path)
    rows, columns = torch.meshgrid(torch.arange(96), torch.arange(128), indexing="ij")
    light = 200 - ((rows - 48) ** 2 + (columns - 64) ** 2).sqrt()
    write_image(tmp_path / "frame.png", torch.stack([light, light * 0.6, light * 0.5], -1).to(torch.uint8))
    camera_file.write(Camera((128, 96), (90.0, 90.0), (64.0, 48.0)), tmp_path / "camera.yaml")
    for snippet in SNIPPET.findall((ROOT / page).read_text("utf-8")):
        exec(compile(snippet, page, "exec"), {})


def test_errors_that_are_quoted_exist():
    """Messages in a first column of the troubleshooting page are in the source, but for those of other programs."""
    source = "\n".join(path.read_text("utf-8") for path in (ROOT / "src").rglob("*.py"))
    source = re.sub(r'"\s*\n\s*f?"', "", source)
    others = ("nvidia-...", "torchvision::nms", "No matching distribution", "depthscope depth")
    quoted = re.findall(
        r"^\| `([^`]+)`(?: \.\.\. `([^`]+)`)? \|", (ROOT / "docs/troubleshooting.md").read_text("utf-8"), re.M
    )
    assert len(quoted) > 8
    for part in (part for parts in quoted for part in parts if part):
        assert part in source or part.startswith(others) or any(o in part for o in others), part


@pytest.mark.parametrize("page", dict.fromkeys(PAGES))
def test_links_between_pages_lead_somewhere(page):
    place = (ROOT / page).parent
    for target in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", (ROOT / page).read_text("utf-8")):
        if not target.startswith("reference/") and "/reference/" not in target:  # which the build makes
            assert (place / target).exists(), target


def test_make_targets_of_the_manual_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    for page in PAGES:
        for target in re.findall(r"^    make ([a-z-]+)", (ROOT / page).read_text("utf-8"), re.M):
            assert target in targets, f"{page}: make {target}"


def test_benchmarks_of_the_manual_exist():
    for page in PAGES:
        for script in re.findall(r"python (benchmarks/[\w/]+\.py)", (ROOT / page).read_text("utf-8")):
            assert (ROOT / script).is_file(), f"{page}: {script}"


def test_pictures_are_small():
    for path in (ROOT / "docs/images").iterdir():
        assert path.stat().st_size < 300_000, path


@pytest.mark.slow
def test_the_own_video_of_the_readme_really_runs(tmp_path, monkeypatch):
    """The four commands on a simulated patient: every folder is there for the next one, and a viewer at the end."""
    patients = tmp_path / "patients"
    assert main(["simulate", "--out", str(patients), "--frames", "30", "--seed", "1", "--workers", "1"]) == 0
    recording = next(patients.glob("patient_*/clip_00"))
    for name, brought in (("video.mp4", "my_video.mp4"), ("board.mp4", "board.mp4")):
        (tmp_path / brought).symlink_to(recording / name)
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "README.md").read_text("utf-8")
    lines = commands_of(text[text.index("## Your own video") : text.index("## In Python")])
    for verb, *rest in [["depth", "my_video.mp4", "--out", "depth"], *lines]:
        quick = {"run": ["--steps", "10", "--accept-rejected"], "view": ["--out", "viewer"]}.get(verb, [])
        assert main([verb, *rest, *quick]) in ((0, 3) if verb == "run" else (0,)), verb
    assert (tmp_path / "case/surface/surface.ply").is_file()
    assert (tmp_path / "viewer/index.html").is_file() and (tmp_path / "case/report/index.html").is_file()


# --- packaging


def project() -> dict:
    import tomllib

    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def test_the_version_is_the_same_everywhere():
    import depthscope

    version = project()["version"]
    assert depthscope.__version__ == version
    assert f"version: {version}" in (ROOT / "CITATION.cff").read_text("utf-8")
    assert f'version = "{version}"' in (ROOT / "conda/meta.yaml").read_text("utf-8")


def test_the_conda_recipe_has_every_dependency():
    renamed = {"torch": "pytorch", "opencv-python-headless": "py-opencv", "docstring-parser": "docstring_parser"}
    recipe = (ROOT / "conda/meta.yaml").read_text("utf-8")
    listed = set(re.findall(r"^    - ([\w-]+)", recipe[recipe.index("  run:") : recipe.index("test:")], re.M))
    for requirement in project()["dependencies"]:
        name = re.match(r"[\w-]+", requirement)
        assert name is not None and renamed.get(name[0], name[0]).lower() in listed, requirement


def test_extras_and_typing():
    extras = project()["optional-dependencies"]
    assert {"export", "ray", "docs", "all", "dev"} <= set(extras)
    assert (ROOT / "src/depthscope/py.typed").is_file()


def test_every_command_has_a_line_in_the_changelog_or_the_readme():
    text = (ROOT / "README.md").read_text("utf-8") + (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert [verb for verb in VERBS if f"`{verb}`" not in text and f"depthscope {verb}" not in text] == []
