"""The command line: one verb per stage. A stage is imported only when its verb is used."""

import gc
import importlib
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext

from depthscope.cli.examples import EXIT_CODES
from depthscope.cli.output import GLOBAL, print_json, result_folder, result_of, words_to
from depthscope.errors import BadInputError, DepthscopeError, InterruptedRunError

INTERNAL_ERROR = 70
"""Exit code of a mistake in this package (EX_SOFTWARE of sysexits.h)."""

VERBS = {
    "demo": "a simulated patient through everything, and how good the result is in mm",
    "run": "from a video or a sequence to depth and a surface, in the CT if there is one",
    "depth": "depth of an image, a folder or a video at once, by the weights that ship",
    "simulate": "phantom patients: a CT, and endoscopic clips with exact depth, motions and points",
    "stills": "single frames of phantom patients with exact depth, every one with its own lens and light: to train on",
    "calibrate": "the lens of a camera, from pictures of a chessboard or ChArUco board",
    "reconstruct": "structure from motion on a video: sequences to train on, or why not",
    "join": "clips that see the same places, of one video or several: one map in one scale",
    "inspect": "say whether a sequence folder is usable, why, and how its poses are stored",
    "convert": "write a sequence in another layout (colmap, jhu, nerfstudio, tum)",
    "train": "train a depth network on sequences",
    "pretrain": "learn from unlabelled video: tracks, masks, places, sounds, colours; or an encoder to start from",
    "transfer": "whether a pretrained encoder helps depth here: five arms, several seeds, one table",
    "compare": "train several recipes on the same clips with equal steps: one table and one page",
    "predict": "what a trained network says of a video: depth maps, or tracks, masks, places, sounds, colours",
    "export": "a trained network for other programs: ONNX, or its weights alone",
    "fuse": "one surface from the depth maps of a clip",
    "register": "a surface to a CT: rotation, shift and scale without a start by hand, and how sure that is",
    "evaluate": "how good depth maps are, against a sequence's points or true depth",
    "report": "one page of a case: verdict, pictures, surface to turn, figures and their files",
    "view": "a case in the browser: video, depth, masks, the surface in the CT; or a flight through it",
}
"""Each verb and what it does; its code is the function of the same name in ``depthscope.commands.<verb>``."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb and returns the exit code.

    0 done, 2 bad input, 3 no answer in the data, 130 interrupted, 70 a mistake in this package.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names need not be text
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    given = set(arguments) & set(GLOBAL)
    arguments = [a for a in arguments if a not in GLOBAL]
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if arguments[0] == "--version":
        from importlib.metadata import version

        print(f"depthscope {version('depthscope')}")
        return 0
    verb, rest = arguments[0], arguments[1:]
    if verb not in VERBS and verb != COMPLETION:
        print(f"error: no verb '{verb}'; expected one of {', '.join(VERBS)}; see depthscope --help", file=sys.stderr)
        return 2
    told, error = 0, None
    try:
        if "--json" in given and not {"-h", "--help"} & set(rest):
            told, error = _with_result(verb, rest)
        else:
            with words_to(None) if "--quiet" in given else nullcontext(), terminated_like_interrupted():
                told = run(verb, rest)
    except (Exception, KeyboardInterrupt) as caught:
        error = caught
    if error is None:
        return told
    if "--verbose" in given and not isinstance(error, BrokenPipeError):
        raise error
    return _ended_by(error)


def _with_result(verb: str, arguments: list[str]) -> tuple[int, BaseException | None]:
    """Runs a verb, with its words on standard error and its result, or its error, as JSON on standard output."""
    with result_folder(verb, arguments) as (words, place):
        try:
            with words_to(sys.stderr), terminated_like_interrupted():
                code = run(verb, words)
        except DepthscopeError as error:
            parts = {"found": error.found, "expected": error.expected, "remedy": error.remedy}
            print_json({"error": parts, "exit_code": error.exit_code})
            return error.exit_code, error
        print_json(result_of(verb, place))
        return code, None


def _ended_by(error: BaseException) -> int:
    """Says in one line why a verb ended, and returns the exit code."""
    match error:
        case DepthscopeError():
            label = "interrupted" if isinstance(error, InterruptedRunError) else "error"
            print(f"{label}: {error}", file=sys.stderr)
            return error.exit_code
        case KeyboardInterrupt():
            print("interrupted", file=sys.stderr)
            return InterruptedRunError.exit_code
        case BrokenPipeError():  # whoever read our output has gone
            return _silenced()
        case Exception():
            line, code = unforeseen(error)
            print(line, file=sys.stderr)
            return code
    raise error


def unforeseen(error: Exception) -> tuple[str, int]:
    """The line and the exit code for an exception that no reader has explained.

    What the operating system refuses names its file; anything else is a mistake in this package, and is called one.
    """
    if isinstance(error, OSError) and error.strerror:
        place = "a file or folder" if error.filename is None else error.filename
        from depthscope.reading import explained  # which loads a YAML library

        told = explained(error, place, remedy="check the path, its permissions and the space on its disk")
        return f"error: {told}", told.exit_code
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):  # torch has no class for it
        return "error: out of memory; use fewer or smaller inputs, or a larger machine", DepthscopeError.exit_code
    if isinstance(error, UnicodeEncodeError) and "surrogates" in error.reason:
        name = error.object.encode(errors="surrogateescape").decode(errors="replace")[:200]
        return f"error: the name {name!r} is not UTF-8 text; rename the file or folder", DepthscopeError.exit_code
    what = " ".join(str(error).split())[:200]
    return (
        f"internal error: {type(error).__name__}{': ' + what if what else ''}; this is a mistake in depthscope; "
        "please report it with the command; --verbose shows the traceback",
        INTERNAL_ERROR,
    )


def _silenced() -> int:
    """Keeps Python from complaining once more at its end about a pipe that was closed; the code of SIGPIPE."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 128 + signal.SIGPIPE


@contextmanager
def terminated_like_interrupted() -> Iterator[None]:
    """SIGTERM ends a verb as Ctrl-C does, so that half-written folders are removed; a second one acts as usual."""

    def end(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


TOGETHER = ("train", "pretrain")
"""Verbs that several processes do together."""


def check_started_alone(verb: str, environment: Mapping[str, str]) -> None:
    """Refuses verbs that each process of torchrun would do once more, in one folder.

    Raises:
        BadInputError: torchrun started several processes of such a verb.
    """
    count = environment.get("WORLD_SIZE", "1")
    if verb not in TOGETHER and "TORCHELASTIC_RUN_ID" in environment and count != "1":
        raise BadInputError(
            f"{count} processes of torchrun for '{verb}'",
            f"one: several processes only {' and '.join(TOGETHER)} together",
            "start it without torchrun",
        )


COMPLETION = "completion"
"""Prints a script by which a shell completes commands and options."""


def run(verb: str, arguments: list[str]) -> int:
    """Imports the verb's module and calls it with the parsed arguments."""
    if {"-h", "--help"} & set(arguments[-1:]):
        from depthscope.cli.pages import page_named

        page = page_named([verb, *arguments])
        if page is not None:
            print(page)
            return 0
    if verb == COMPLETION:
        return _print_completion(arguments)
    check_started_alone(verb, os.environ)
    with _collection_paused():
        module = importlib.import_module(f"depthscope.commands.{verb}")
    if hasattr(module, "parse"):  # a verb with options that depend on other options reads them itself
        call = module.parse(arguments)
        return call() or 0
    import tyro

    from depthscope.commands.flags import REGISTRY

    return tyro.cli(getattr(module, verb), args=arguments, prog=f"depthscope {verb}", registry=REGISTRY) or 0


@contextmanager
def _collection_paused() -> Iterator[None]:
    """What modules define stays: looking through it for garbage took a tenth of the time from start to first map."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _print_completion(arguments: list[str]) -> int:
    from depthscope.cli.pages import completion

    if len(arguments) != 1 or arguments[0].startswith("-"):
        if {"-h", "--help"} & set(arguments):
            print(COMPLETION_HELP)
            return 0
        raise BadInputError(f"depthscope completion {' '.join(arguments)}", "the name of a shell", COMPLETION_HELP)
    print(completion(arguments[0], VERBS))
    return 0


COMPLETION_HELP = """usage: depthscope completion SHELL

Prints a script by which bash, zsh, fish, tcsh or powershell completes commands and options.

examples:
  depthscope completion bash > ~/.local/share/bash-completion/completions/depthscope
  depthscope completion zsh > ~/.zfunc/_depthscope
  depthscope completion fish > ~/.config/fish/completions/depthscope.fish"""


def overview() -> str:
    """The text of ``depthscope --help``."""
    width = max(map(len, VERBS))
    codes = [f"  {str(code).ljust(width)}  {meaning}" for code, meaning in EXIT_CODES.items()]
    return "\n".join(
        [
            "usage: depthscope COMMAND ...    (depthscope COMMAND --help for options and examples)",
            "",
            "Dense depth and measured surfaces from plain endoscopic video. For research only.",
            "",
            "start here:",
            "  depthscope depth video.mp4 --out depth     depth of your own video, at once",
            "  depthscope demo                            a simulated patient through everything",
            "",
            "commands:",
            *(f"  {verb.ljust(width)}  {summary}" for verb, summary in VERBS.items()),
            f"  {COMPLETION.ljust(width)}  a script by which your shell completes all of this",
            "",
            "options of every command:",
            "  --json        the result on standard output as JSON, everything else on standard error",
            "  --quiet       only errors",
            "  --verbose     the traceback of an error",
            "  --version     the version",
            "",
            "exit codes:",
            *codes,
        ]
    )
