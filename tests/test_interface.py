"""Help pages, examples, completion, and the options that every command takes."""

import importlib.util
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from depthscope.cli import VERBS, main, overview
from depthscope.cli.examples import EXAMPLES, EXIT_CODES
from depthscope.cli.output import positionals, value_of
from depthscope.cli.pages import INTERFACE, completion, interface, page
from depthscope.commands.stage_options import by_stage, recipe_of, stage_options
from depthscope.errors import BadInputError
from depthscope.recipes import FAST

ROOT = Path(__file__).parents[1]


def tool():
    spec = importlib.util.spec_from_file_location("interface_tool", ROOT / "tools/interface.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def options_of(name):
    return [option for group in interface()[name]["groups"] for option in group["options"]]


@pytest.mark.parametrize("verb", ["depth", "fuse", "predict"])
def test_the_description_of_the_options_is_what_the_parser_says(verb):
    made = tool()
    assert interface()[verb] == made.described(made.parser_of(verb, [])), "run `make interface`"


@pytest.mark.slow  # it loads every command; `make check` does the same
def test_the_description_of_all_options_is_what_the_parsers_say():
    assert INTERFACE.read_text("utf-8") == tool().text(), "run `make interface`"


@pytest.mark.parametrize("name", interface())
def test_a_help_page_has_all_that_it_should(name):
    told = page(name)
    assert told.startswith(f"usage: depthscope {name}") and "exit codes: 0 done" in told
    assert "{None}" not in told and "(default: None)" not in told and "required)" not in told
    for option in options_of(name):
        assert all(flag in told for flag in option["flags"])
    verb = name.split()[0]
    assert "examples:" in told or verb == "predict"
    assert any(f"depthscope {verb}" in line for line in EXAMPLES.get(name, EXAMPLES[verb]))


def test_every_command_writes_to_out():
    assert [name for name in interface() if not any("--out" in o["flags"] for o in options_of(name))] == []


@pytest.mark.parametrize("old", ["--mask", "--split", "--run"])
def test_names_of_two_meanings_are_shown_with_one(old):
    kinds = {o["metavar"] for name in interface() for o in options_of(name) if old in o["flags"]}
    assert len(kinds) <= 1


@pytest.mark.parametrize("call", [["train", "--help"], ["register", "-h"], ["pretrain", "jigsaw", "--help"]])
def test_a_help_page_loads_nothing_heavy(call):
    """Each of these alone takes longer than the half second that a help page may take."""
    code = (
        f"import sys; from depthscope.cli import main; main({call!r});"
        "heavy = {'torch', 'numpy', 'tyro', 'cv2', 'yaml', 'rich', 'shtab'};"
        "print(*heavy.intersection(sys.modules), file=sys.stderr)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "" and done.stdout.startswith("usage: depthscope")


def test_help_with_a_recipe_comes_from_the_parser_itself(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--recipe", "paper-2018", "--help"])
    assert "--network" in capsys.readouterr().out


def test_the_overview_has_all_exit_codes():
    assert all(f"  {code} " in overview() and meaning in overview() for code, meaning in EXIT_CODES.items())


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "tcsh", "powershell"])
def test_completion_knows_every_command_and_option(shell, capsys):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(verb in script for verb in VERBS)
    bare = {"zsh": "--hole-voxels", "fish": "hole-voxels"}.get(shell, "--hole-voxels")
    assert bare in script and "jigsaw" in script


def test_bash_completes_a_command_its_options_and_a_task(tmp_path):
    script = tmp_path / "depthscope.bash"
    script.write_text(completion("bash", VERBS))
    ask = 'source "$0"; COMP_WORDS=(depthscope "${@:1}"); COMP_CWORD=$#; _shtab_depthscope; echo "${COMPREPLY[@]}"'
    for words, expected in (
        (["regi"], "register"),
        (["fuse", "--hole"], "--hole-voxels"),
        (["pretrain", "j"], "jigsaw"),
    ):
        done = subprocess.run(["bash", "-c", ask, script, *words], capture_output=True, text=True, check=True)
        assert done.stdout.split() == [expected]


def test_completion_of_another_shell_is_one_line(capsys):
    assert main(["completion", "ksh"]) == 2
    assert capsys.readouterr().err.startswith("error: no completion for 'ksh'; expected one of bash")
    assert main(["completion"]) == 2
    assert main(["completion", "--help"]) == 0


# --- --json and --quiet


def test_json_is_all_of_standard_output(capsys, tmp_path):
    out = tmp_path / "depth"
    picture = tmp_path / "frame.png"
    write_frame(picture)
    assert main(["depth", str(picture), "--out", str(out), "--no-video", "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out) == json.loads((out / "result.json").read_text("utf-8"))
    assert "1 frames" in told.err


def write_frame(path):
    import torch

    from depthscope.video import write_image

    write_image(path, (torch.arange(64 * 80 * 3).reshape(64, 80, 3) % 251).to(torch.uint8))  # not blank


def test_json_of_an_error_has_its_parts(capsys, tmp_path):
    assert main(["depth", str(tmp_path / "none.png"), "--out", str(tmp_path / "depth"), "--json"]) == 2
    told = capsys.readouterr()
    found = json.loads(told.out)
    assert found["exit_code"] == 2 and "none.png is missing" in found["error"]["found"]
    assert told.err.startswith("error: ")


def test_json_also_keeps_the_words_of_child_processes_away(tmp_path):
    code = (
        "import subprocess, sys; from depthscope import cli;"
        "cli.run = lambda verb, arguments: subprocess.run(['echo', 'words of a child']).returncode;"
        f"sys.exit(cli.main(['fuse', 'a', 'b', '--out', {str(tmp_path)!r}, sys.argv[1]]))"
    )
    (tmp_path / "result.json").write_text('{"vertices": 3}')
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    for option, output, error in (("--json", {"vertices": 3}, "words of a child\n"), ("--quiet", None, "")):
        call = [sys.executable, "-c", code, option]
        done = subprocess.run(call, env=environment, capture_output=True, text=True, check=True)
        assert done.stderr == error
        assert done.stdout == "" if output is None else json.loads(done.stdout) == output


def test_json_of_a_case_has_every_stage(capsys, tmp_path, monkeypatch):
    from depthscope import cli

    for stage in ("sequence", "surface"):
        (tmp_path / stage).mkdir()
        (tmp_path / stage / "result.json").write_text(json.dumps({"name": stage}))
    monkeypatch.setattr(cli, "run", lambda verb, arguments: 3)
    assert main(["run", "video.mp4", f"--out={tmp_path}", "--json"]) == 3
    assert json.loads(capsys.readouterr().out) == {"sequence": {"name": "sequence"}, "surface": {"name": "surface"}}


def test_quiet_leaves_the_error(capsys, tmp_path):
    assert main(["inspect", str(tmp_path / "nothing"), "--quiet"]) == 2
    told = capsys.readouterr()
    assert told.out == "" and told.err.startswith("error: ")


def test_words_of_a_line():
    assert value_of("--out", ["a", "--out", "b", "--out=c"]) == "c" and value_of("--out", ["--out"]) is None
    assert positionals(["a", "b", "--out", "c"]) == ["a", "b"]


# --- run --set


def test_options_of_stages_are_read_by_their_own_commands():
    settings = ("fuse.hole-voxels=4", "register.working-mm=5,40", "train.steps=7", "train.training.batch=2")
    assert stage_options((*settings, "predict.video=false")) == {
        "fuse": {"hole_voxels": 4},
        "register": {"working_mm": (5.0, 40.0)},
        "predict": {"video": False},
    }
    recipe = recipe_of(FAST, settings)
    assert (recipe.training.steps, recipe.training.batch) == (7, 2)
    assert recipe_of(FAST, ("fuse.hole-voxels=4",)) == FAST


@pytest.mark.parametrize("setting", ["fuse", "fuse=3", "fuze.voxel=3", "fuse.out=elsewhere"])
def test_a_setting_that_is_none_is_refused(setting):
    with pytest.raises(BadInputError, match="--set"):
        by_stage((setting,))


def test_an_option_that_no_stage_has_ends_with_2(capsys, tmp_path):
    (tmp_path / "video.mp4").touch()
    with pytest.raises(SystemExit) as ended:
        main(["run", str(tmp_path / "video.mp4"), "--out", str(tmp_path / "case"), "--set", "fuse.holes=3"])
    assert ended.value.code == 2 and not (tmp_path / "case").exists()
    assert shlex.join(["--holes"]) in capsys.readouterr().err
