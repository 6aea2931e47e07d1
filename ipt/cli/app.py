"""The command `ipt`: its verbs, and what a mistake, a full disk, an interrupt or a fault ends with.

Verbs lie beside this file by what they are about. Names become objects and the layers meet in the
verbs; torch and transformers are imported there, so that help and lists come at once.
"""

import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from cyclopts import App, CycloptsError, Parameter

import ipt
from ipt.cli.benchmark import bench
from ipt.cli.explore import explore
from ipt.cli.landscape import probe
from ipt.cli.models import convert, pretrain, score
from ipt.cli.options import apply_files, located, sentence, shortened
from ipt.cli.plane import plane
from ipt.cli.predict import export, predict
from ipt.cli.report import report
from ipt.cli.runs import runs_app
from ipt.cli.stages import ist, msf, stability, tune
from ipt.cli.study import study
from ipt.cli.tasks import tasks_app
from ipt.progress import is_main_process

# A waiting thread sleeps and does not spin: beside other work spinning threads take the cores from
# each other, and a job takes ten times as long; alone it takes a third longer (LOG.md).
THREAD_DEFAULTS = {"GOMP_SPINCOUNT": "0"}
# Exit codes as shells and scripts expect them: 128 + the number of the signal where there is one.
USER_ERROR = 2
FAULT = 70  # EX_SOFTWARE: a fault of the program
INTERRUPTED = 130  # SIGINT
BROKEN_PIPE = 141  # SIGPIPE
# One function a verb: its name is the verb, its signature the flags, its docstring the help.
VERBS = (
    tune,
    msf,
    ist,
    stability,
    study,
    report,
    explore,
    probe,
    predict,
    export,
    score,
    bench,
    pretrain,
    convert,
)


def versions() -> str:
    """Return what `ipt --version` says: also torch's, and the device that `--device auto` takes."""
    # Only here: help and lists come without it.
    import torch

    device = torch.accelerator.current_accelerator(check_available=True) or "cpu"
    return f"ipt {ipt.__version__}, torch {torch.__version__}, device {device}"


app = App(
    name="ipt",
    version=versions,
    help="Find and use the intrinsic subspace of soft prompts (Qin et al., arXiv 2110.07867).",
    # main answers an interrupt itself: it names what goes on from the last checkpoint.
    suppress_keyboard_interrupt=False,
    config=apply_files,
    # A name that begins with a bracket is a name, no list in JSON.
    default_parameter=Parameter(json_list=False, json_dict=False),
)
# `tasks` and `runs` have verbs of their own.
app.command(tasks_app)
app.command(runs_app)
runs_app.command(plane)
for verb in VERBS:
    app.command(verb)


def parse(tokens: Sequence[str]) -> dict[str, Any]:
    """Return what a command line says, by parameter of its verb, without doing it."""
    _, bound, _ = app.parse_args(tokens, exit_on_error=False, print_error=False)
    # Without this only what the command line names is bound.
    bound.apply_defaults()
    return dict(bound.arguments)


def call(tokens: Sequence[str]) -> None:
    """Do what a command line says; raise its error."""
    # Errors are left to main, which tells a user's mistake from a fault of the program.
    app(tokens, exit_on_error=False, print_error=False, result_action="return_value")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; a user's mistake ends with one line on standard error and exit code 2."""
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    # Before torch is imported; the user's own environment wins.
    for name, value in THREAD_DEFAULTS.items():
        os.environ.setdefault(name, value)
    # Processes that share a run all do the verb; tables come from the first alone.
    if not is_main_process():
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    try:
        call(tokens)
        # Here and not at the end of the process, where a full disk would be a trace.
        sys.stdout.flush()
    except (CycloptsError, ValueError) as error:
        # What a user said: the parser's errors and ours.
        if is_main_process():
            text = shortened(located(sentence(error), tokens))
            print(f"ipt: {text}", file=sys.stderr)
        return USER_ERROR
    except BrokenPipeError:
        # The reader of the output is closed (`ipt runs | head`): what is left goes nowhere.
        _discard_output()
        return BROKEN_PIPE
    except OSError as error:
        print(f"ipt: {_disk_sentence(error)}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        remedy = "the same command goes on from the last checkpoint"
        print(f"ipt: stopped; {remedy}", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        return report_fault(error, tokens)
    finally:
        # Without torch no process group was joined.
        if "torch" in sys.modules:
            from ipt.distributed import shutdown

            shutdown()
    return 0


def _discard_output() -> None:
    """Let what is still to be written to standard output go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _disk_sentence(error: OSError) -> str:
    """Return what a full disk, or a folder without rights, means: files are whole or not at all."""
    reason = error.strerror or str(error)
    if error.filename is None:
        # Standard output and the system's own files have no name; a table that cannot be written
        # there must not be tried again at the end of the process.
        with suppress(OSError, ValueError):
            _discard_output()
        return (
            f"{reason}, where standard output or a temporary file is written (TMPDIR is "
            f"{tempfile.gettempdir()}); make room there, then the same command goes on"
        )
    return (
        f"{reason} ({error.filename}); files written so far are whole: "
        "make room or mend the folder, then the same command goes on"
    )


def report_fault(error: Exception, tokens: Sequence[str]) -> int:
    """Print one line about a fault of the program, write its trace to a file, return exit code 70.

    What a user can do wrong is a ValueError before it comes here.
    """
    trace = "".join(traceback.format_exception(error))
    about = f"ipt {ipt.__version__}, Python {sys.version}, {sys.platform}"
    text = f"{about}\nipt {' '.join(tokens)}\n\n{trace}"
    what = " ".join(f"{type(error).__name__}: {error}".split())
    # The frame that is nearest to the fault and still ours says most.
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if f"{os.sep}ipt{os.sep}" in frame.filename] or frames
    place = f"{Path(ours[-1].filename).name}, line {ours[-1].lineno}" if ours else "unknown place"
    try:
        handle, path = tempfile.mkstemp(prefix="ipt-fault-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf8", errors="backslashreplace") as file:
            file.write(text)
    except OSError:
        # Nowhere to write: then the trace follows the line.
        path = "the lines below"
        print(text, file=sys.stderr)
    print(
        f"ipt: a fault of ipt, and no mistake of yours: {what:.300} ({place}); the full trace is "
        f"in {path}: please report it with that file where you got ipt from",
        file=sys.stderr,
    )
    return FAULT


if __name__ == "__main__":
    sys.exit(main())
