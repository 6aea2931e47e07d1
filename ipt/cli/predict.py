"""What a task's prompt is for: `ipt predict` answers with it, `ipt export` writes it for PEFT."""

import json
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from cyclopts import Parameter

from ipt.cli.options import Out, RunName
from ipt.config import MOST_AT_ONCE, require_number
from ipt.progress import Reporter
from ipt.run import chosen_run

if TYPE_CHECKING:
    from ipt.experiment import Experiment
    from ipt.predict import TaskDelta

# Without a negative: the mixture is another prompt of the task, not a switch that can be off.
MIXTURE = "of an unseen task of an IST run: the mixture of seen prompts in place of its d numbers"
Mixture = Annotated[bool, Parameter(help=MIXTURE, negative=())]
NAMES = "TASK, or RUN TASK"
TASK = "whose prompt answers; with --vector of a model that generates, none is needed"
VECTOR = "answer with these d numbers in place of a task's own: 0.3,-1.2,..."
# Of which a task has a prompt, the first that there are.
KINDS = ("ist", "msf")


class OpenedPrompt(NamedTuple):
    """A task's prompt and the experiment that it belongs to."""

    delta: "TaskDelta"
    experiment: "Experiment"


def predict(
    *texts: str,
    task: Annotated[str, Parameter(help=TASK)] = "",
    run: RunName = None,
    vector: Annotated[str, Parameter(help=VECTOR, allow_leading_hyphen=True)] = "",
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

    if not task and not vector:
        raise ValueError(
            "--task, or --vector, must say what answers; `ipt tasks list` has the names"
        )
    opened = _opened(run, task, out, vector, mixture=mixture)
    experiment = opened.experiment
    # A pipe gets answers alone.
    if sys.stdout.isatty():
        Reporter().info(about_prompt(opened, task))
    task = task or experiment.split.all[0]
    outputs = answer_rows(opened.delta.delta, experiment, task, records, tokens)
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
    vector: Annotated[str, Parameter(help=VECTOR, allow_leading_hyphen=True)] = "",
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
    opened = _opened(run, task, out, vector, mixture=mixture)
    delta = opened.delta
    experiment = opened.experiment
    of_task = experiment.tasks[task]
    print(write_delta(delta.delta, experiment.model, to, delta.about, of_task))


def numbers_of(text: str) -> list[float]:
    """Return the numbers of a text with commas between them; raise ValueError for other texts."""
    try:
        return [float(number) for number in text.split(",")]
    except ValueError:
        raise ValueError(
            f"--vector must be numbers with commas between them, such as 0.3,-1.2; found {text!r}"
        ) from None


def about_prompt(opened: OpenedPrompt, task: str) -> str:
    """Return what answers, in one line: the task, what it asks, and the prompt's test score."""
    delta = opened.delta
    if not task:
        return f"{delta.about['run']}: {len(delta.about['vector'])} numbers of your own"
    definition = opened.experiment.tasks[task].definition.strip()
    line = definition.splitlines()[0] if definition else "no definition"
    about = f"{task}: {line}"
    if "test_score" in delta.about:
        about += f" (test {delta.about['metric']} of this prompt {delta.about['test_score']:.2f})"
    return about


def _opened(
    run: Path | None,
    task: str,
    out: Path,
    vector: str,
    *,
    mixture: bool,
) -> OpenedPrompt:
    """Return the prompt of given numbers, or that of a task, or its mixture."""
    if vector and mixture:
        raise ValueError("--vector and --mixture are two ways to answer; leave one out")
    if vector:
        return _open_vector(run, task, out, numbers_of(vector))
    return _open_prompt(run, task, out, mixture=mixture)


def _open_vector(
    run: Path | None,
    task: str,
    out: Path,
    vector: Sequence[float],
) -> OpenedPrompt:
    """Return the prompt of d numbers in a run's subspace; task: whose head and options, or none."""
    from ipt.predict import vector_delta
    from ipt.resolve import reopen_experiment

    source = chosen_run(run, out, KINDS)
    experiment = reopen_experiment(source.config, source.folder.parent)
    generates = experiment.backbone.generates and not experiment.model.head.reads_states
    if not task and not generates:
        raise ValueError("--task is needed: this run's model answers with the options of a task")
    name = task or experiment.split.all[0]
    return OpenedPrompt(vector_delta(source, experiment, name, vector), experiment)


def _open_prompt(run: Path | None, task: str, out: Path, *, mixture: bool) -> OpenedPrompt:
    """Return a task's prompt out of a run, with the experiment that it belongs to."""
    from ipt.predict import task_delta
    from ipt.resolve import reopen_experiment

    source = chosen_run(run, out, KINDS)
    # The bank lies beside the run's folder, whatever --out says.
    experiment = reopen_experiment(source.config, source.folder.parent)
    delta = task_delta(source, experiment, task, mixture)
    return OpenedPrompt(delta, experiment)
