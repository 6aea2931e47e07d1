"""The command `ipt`: its verbs, and what a mistake, a full disk or an interrupt ends with.

Verbs lie beside this file by what they are about. Names become objects and the layers meet in the
verbs; torch and transformers are imported there, so that help and lists come at once.
"""

import os
import sys
from collections.abc import Sequence
from typing import Any

from cyclopts import App, CycloptsError

from ipt.cli.benchmark import bench
from ipt.cli.landscape import probe
from ipt.cli.models import convert, pretrain, score
from ipt.cli.options import apply_files, renamed
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
    probe,
    predict,
    export,
    score,
    bench,
    pretrain,
    convert,
)

app = App(
    name="ipt",
    help="Find and use the intrinsic subspace of soft prompts (Qin et al., arXiv 2110.07867).",
    # main answers an interrupt itself: it names what goes on from the last checkpoint.
    suppress_keyboard_interrupt=False,
    config=apply_files,
)
# `tasks` and `runs` have verbs of their own.
app.command(tasks_app)
app.command(runs_app)
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
    except (CycloptsError, ValueError) as error:
        # What a user said: the parser's errors and ours. Any other error keeps its traceback.
        if is_main_process():
            print(f"ipt: {_sentence(error)}", file=sys.stderr)
        return USER_ERROR
    except BrokenPipeError:
        # The reader of the output is closed (`ipt runs | head`): what is left goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except OSError as error:
        # A full disk, or a folder without rights: files are written whole or not at all.
        where = f"{error.strerror or error} ({error.filename or 'no file named'})"
        remedy = (
            "files written so far are whole: "
            "make room or mend the folder, then the same command goes on"
        )
        print(f"ipt: {where}; {remedy}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        remedy = "the same command goes on from the last checkpoint"
        print(f"ipt: stopped; {remedy}", file=sys.stderr)
        return INTERRUPTED
    finally:
        # Without torch no process group was joined.
        if "torch" in sys.modules:
            from ipt.distributed import shutdown

            shutdown()
    return 0


def _sentence(error: Exception) -> str:
    """Return an error as one line; an impossible value in the configuration's own words."""
    # Dataclasses check their values in __post_init__; the parser wraps that error in its own.
    cause: BaseException = error
    if isinstance(error, CycloptsError) and isinstance(error.__cause__, ValueError):
        cause = error.__cause__
    # A message of several lines (the parser's frames, YAML's positions) becomes one.
    return renamed(error) or " ".join(str(cause).split())


if __name__ == "__main__":
    sys.exit(main())
