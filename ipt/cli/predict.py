"""What a task's prompt is for: `ipt predict` answers with it, `ipt export` writes it for PEFT."""

import json
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from cyclopts import Parameter

from ipt.cli.options import Out, RunName
from ipt.config import MOST_AT_ONCE, require_number
from ipt.run import chosen_run

if TYPE_CHECKING:
    from ipt.experiment import Experiment
    from ipt.predict import TaskDelta

# Without a negative: the mixture is another prompt of the task, not a switch that can be off.
MIXTURE = "of an unseen task of an IST run: the mixture of seen prompts in place of its d numbers"
Mixture = Annotated[bool, Parameter(help=MIXTURE, negative=())]
NAMES = "TASK, or RUN TASK"
# Of which a task has a prompt, the first that there are.
KINDS = ("ist", "msf")


class OpenedPrompt(NamedTuple):
    """A task's prompt and the experiment that it belongs to."""

    delta: "TaskDelta"
    experiment: "Experiment"


def predict(
    *texts: str,
    task: Annotated[str, Parameter(help="whose prompt answers")],
    run: RunName = None,
    out: Out = Path("runs"),
    tokens: Annotated[int, Parameter(help="most tokens of an answer")] = 32,
    mixture: Mixture = False,
) -> None:
    """Answer texts with a task's prompt; without texts, the lines of standard input.

    A line is plain text, or a JSON object with `input` or the fields of the task's kind: tokens;
    context and query; input and choices. The answer of an object is its `output`; of objects that
    have such a field, `prediction`. Tags come as word/tag or, of an object, as tokens, tags and
    entities; spans with their characters in the context.
    """
    from ipt.predict import answer_rows, output_field, read_records, require_text

    require_number("tokens", tokens, int, MOST_AT_ONCE)
    if tokens < 1:
        raise ValueError(f"--tokens must be above 0, found {tokens}")
    # Read before the model is loaded: a mistake in a line is told at once.
    for number, text in enumerate(texts, 1):
        require_text(text, f"text {number}")
    if isinstance(sys.stdin, TextIOWrapper):
        # Whatever the system's encoding is; a line that is not UTF-8 is named by its number.
        sys.stdin.reconfigure(encoding="utf-8-sig", errors="surrogateescape")
    records: list[str | dict[str, Any]] = list(texts) or read_records(sys.stdin)
    if not records:
        raise ValueError("nothing to answer: give texts, or lines on standard input")
    field = output_field(records)

    opened = _open_prompt(run, task, out, mixture=mixture)
    outputs = answer_rows(opened.delta.delta, opened.experiment, task, records, tokens)
    if field != "output":
        about = f"the records' own output stays; answers are in {field}"
        print(f"note: {about}", file=sys.stderr)
    for record, answer in zip(records, outputs, strict=True):
        # What came as JSON goes out as JSON with its other fields, what came as text as one line.
        if isinstance(record, dict):
            answered = record | {field: answer.value}
            print(json.dumps(answered, ensure_ascii=False, allow_nan=False))
        else:
            print(" ".join(answer.text.split()))


def export(
    *names: Annotated[str, Parameter(help=NAMES)],
    run: RunName = None,
    to: Annotated[Path, Parameter(help="folder to write")],
    out: Out = Path("runs"),
    mixture: Mixture = False,
) -> None:
    """Write a task's delta as a PEFT folder: tuned (MSF run), or decoded (IST run).

    Soft prompts, prefixes, LoRA, IA3 and biases of linear layers are PEFT's kinds; what PEFT cannot
    hold is written in a layout of our own, and the output says why. `--prompts` reads both.
    """
    from ipt.interop.peft import write_delta

    if not 1 <= len(names) <= 2 or (run is not None and len(names) == 2):
        raise ValueError(f"TASK, or RUN TASK, was expected; found {' '.join(names) or 'nothing'}")
    task = names[-1]
    if len(names) == 2:
        run = Path(names[0])
    opened = _open_prompt(run, task, out, mixture=mixture)
    delta = opened.delta
    experiment = opened.experiment
    of_task = experiment.tasks[task]
    print(write_delta(delta.delta, experiment.model, to, delta.about, of_task))


def _open_prompt(run: Path | None, task: str, out: Path, *, mixture: bool) -> OpenedPrompt:
    """Return a task's prompt out of a run, with the experiment that it belongs to."""
    from ipt.predict import task_delta
    from ipt.resolve import reopen_experiment

    source = chosen_run(run, out, KINDS)
    # The bank lies beside the run's folder, whatever --out says.
    experiment = reopen_experiment(source.config, source.folder.parent)
    delta = task_delta(source, experiment, task, mixture)
    return OpenedPrompt(delta, experiment)
