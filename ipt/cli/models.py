"""The verbs beside the three stages: make, convert and measure a model, and use a task's prompt.

torch and transformers are imported where a verb needs them.
"""

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.table import Column

from ipt.cli.runs import new_table, print_list, show_table
from ipt.config import CONFIG, DEVICE, OUT, BenchmarkConfig, IstConfig, PretrainConfig, ProbeConfig, SourceConfig, restored
from ipt.data import Task
from ipt.progress import Reporter
from ipt.run import Run
from ipt.storage import write_json

if TYPE_CHECKING:
    from ipt.experiment import Experiment
    from ipt.predict import TaskPrompt

LONGEST_DEFINITION = 64  # tokens left for a definition where a model has a fixed number of positions
Flat = Parameter(name="*")
Out = Annotated[Path, Parameter(help=OUT)]
Mixture = Annotated[
    bool, Parameter(help="of an unseen task of an IST run: the mixture of seen prompts in place of its d numbers", negative=())
]
SummaryFile = Annotated[Path | None, Parameter(help="write the means as a small JSON summary")]


def pretrain(
    *, out: Annotated[Path, Parameter(help="run folder; the model is left in its folder model")] = Path("runs/pretrain"),
    text: Annotated[Path | None, Parameter(help="folder of plain text (*.txt.gz), a line a paragraph; none: tasks only")] = None,
    config: Annotated[Path | None, Parameter(help=CONFIG)] = None, pretrain: Annotated[PretrainConfig, Flat] = PretrainConfig(),
) -> None:  # fmt: skip
    """Make the embedded backbone from the suite's generators (needs the extra `suite`)."""
    from ipt.backbones.pretraining import pretrain as train
    from ipt.tasks.generators.build import all_recipes, pretraining_stream
    from ipt.tasks.readers.schema import text_lines
    from ipt.tasks.suites.embedded import load

    recipes, shipped = all_recipes(), load()
    lines = (lambda seed: text_lines(text, seed)) if text else None
    with Reporter().bar("pre-training") as progress:
        train(lambda s: pretraining_stream(recipes, shipped, s), lines, pretrain, out, lambda d, t, loss: progress(int(d), int(t), loss))
    print(f"model: {out / 'model'}")


def export(
    run: Path, task: str, *, to: Annotated[Path, Parameter(help="folder to write")], out: Out = Path("runs"), mixture: Mixture = False
) -> None:
    """Write a task's prompt as a PEFT folder: tuned in an MSF run, decoded from its d numbers in an IST run."""
    from ipt.interop.peft import write_peft

    found, bench = _task_prompt(run, task, out, mixture)
    write_peft(found.prompt, bench.backbone, to, found.about)
    print(f"PEFT folder: {to}")


def predict(
    *texts: str,
    run: Annotated[Path, Parameter(help="run folder, or its name below --out")],
    task: Annotated[str, Parameter(help="whose prompt answers")],
    out: Out = Path("runs"),
    tokens: Annotated[int, Parameter(help="most tokens of an answer")] = 32,
    mixture: Mixture = False,
) -> None:
    """Answer texts with a task's prompt; without texts, lines of standard input: JSON objects with `input`, or plain text."""
    from ipt.predict import answers, record_of

    records: list[str | dict[str, Any]] = list(texts)
    records = records or [record_of(line.strip(), number) for number, line in enumerate(sys.stdin, 1) if line.strip()]
    inputs = [record["input"] if isinstance(record, dict) else record for record in records]
    found, bench = _task_prompt(run, task, out, mixture)
    for record, answer in zip(records, answers(found.prompt, bench, task, inputs, tokens), strict=True):
        print(json.dumps(record | {"output": answer}, ensure_ascii=False) if isinstance(record, dict) else " ".join(answer.split()))


def probe(
    run: Annotated[Path, Parameter(help="run of ipt ist: its folder, or its name below --out")], *,
    task: Annotated[str, Parameter(help="whose landscape; the unseen task with the middle recovery where not given")] = "",
    out: Out = Path("runs"), device: Annotated[str, Parameter(help=DEVICE)] = "auto",
    config: Annotated[ProbeConfig, Flat] = ProbeConfig(),
) -> None:  # fmt: skip
    """Look at an IST run through the model: a task's loss landscape and curvature, transfer, the way between tasks, decoded words."""
    from ipt.methods.subspace import Subspace
    from ipt.resolve import reopen_experiment
    from ipt.storage import read_tensors
    from ipt.workflows.landscape import run_probe

    found = Run.find(run, out)
    result = found.result
    if result is None or result["kind"] != "ist":
        raise ValueError(f"{found.folder} is no complete run of ipt ist; `ipt runs --out {out}` lists those that are there")
    chosen = task or middle_task(result)
    if chosen not in result["tasks"]:
        raise ValueError(f"--task {chosen} is not one of the run's: {', '.join(list(result['tasks'])[:8])}, ...")
    bench = reopen_experiment(found.config, found.folder.parent, device=device)
    subspace = Subspace.load(found.folder.parent / found.config["msf_run"] / "subspace").to(bench.backbone.device)
    if subspace.dim < 2:
        raise ValueError(f"{found.folder} has one number per task; a plane needs a run with --dim 2 or more")
    vectors = read_tensors(found.folder / "vectors.safetensors")[0]
    run_probe(bench, subspace, restored(IstConfig, found.config["ist"]), vectors, config, chosen, found)
    print(f"written: {found.folder / 'probe.json'}, {found.folder / 'probe.safetensors'}")


def middle_task(result: dict[str, Any]) -> str:
    """Return the unseen task whose recovery is the middle one, the first seen task where no unseen one was tuned."""
    scores, reference = result["scores"].get("test", {}), result["reference"]["100"]
    shares = {n: s["generated"] / reference[n]["generated"] for n, s in scores.items() if reference[n]["generated"] > 0}
    order = sorted(shares, key=lambda name: shares[name])
    return order[len(order) // 2] if order else str(result["split"]["seen"][0])


def _task_prompt(run: Path, task: str, out: Path, mixture: bool) -> "tuple[TaskPrompt, Experiment]":
    from ipt.predict import task_prompt
    from ipt.resolve import reopen_experiment

    found = Run.find(run, out)
    bench = reopen_experiment(found.config, found.folder.parent)
    return task_prompt(found, bench, task, mixture), bench


def convert(file: Path, folder: Path) -> None:
    """Turn a GGUF file of a left-to-right model into a folder for --model (needs the extra `gguf`)."""
    from ipt.interop.gguf import convert as turn

    turn(file, folder)
    print(f"model: {folder}")


def score(*, source: Annotated[SourceConfig, Flat] = SourceConfig(tasks="all"), file: SummaryFile = None) -> None:
    """Score the manual prompt (each task's definition before its input) on the test sets."""
    from ipt.data import SAME_DATA_SEED
    from ipt.encoded import EncodedTask
    from ipt.resolve import open_backbone
    from ipt.tasks.catalog import tasks_of
    from ipt.training.evaluate import score_deltas

    found = tasks_of(source.tasks, source.as_published)
    backbone = open_backbone(source.model, LONGEST_DEFINITION, source.dtype, source.device)
    table = new_table("task", "metric", "definition", "ranked")
    values: dict[str, float] = {}
    with Reporter().bar("scoring definitions") as progress:
        for i, task in enumerate(found):
            prompt = backbone.text_prompt(task.definition + "\n").unsqueeze(0)
            data = EncodedTask.draw(backbone, task, SAME_DATA_SEED, limit=source.limit, held_out=source.held_out)
            (s,) = score_deltas(backbone, prompt, [data])
            values[task.name] = s.generated
            table.add_row(task.name, task.metric, f"{s.generated:.3f}", "" if s.ranked is None else f"{s.ranked:.3f}")
            progress(i + 1, len(found), float("nan"))
    print_list(table)
    print_quality("definition", list(found), values, None, source.seed, file)


def bench(
    *, source: Annotated[SourceConfig, Flat] = SourceConfig(), bench: Annotated[BenchmarkConfig, Flat] = BenchmarkConfig(), out: Out = Path("runs"),
    file: SummaryFile = None,
) -> None:  # fmt: skip
    """Measure what stacking gains over a loop with PEFT, and its cost as it grows (needs the extra `bench`)."""
    from ipt.analysis.summaries import bench_notes, bench_table
    from ipt.benchmarks.speed import report
    from ipt.resolve import bench_parts, bench_race

    if missing := [name for name in ("peft", "cma") if find_spec(name) is None]:
        raise ValueError(f"ipt bench needs {' and '.join(missing)}: pip install 'intrinsic-prompt-tuning[bench]'")
    found = report(*(bench_race(source, bench, out) if bench.race else bench_parts(source, bench)))
    names = enumerate(bench_table(found).columns)
    table = new_table(*(Column(name, justify="left" if i in (0, 5) else "right", overflow="fold") for i, name in names))
    for row in bench_table(found).rows:
        table.add_row(*row)
    Console().print(table)
    for note in bench_notes(found):
        print(note)
    if file:
        write_json(file, found | {"command": " ".join(["ipt", *sys.argv[1:]]), "seed": source.seed})
        print(f"summary: {file}")


def print_quality(
    prompt: str, tasks: list[Task], values: dict[str, float], floors: dict[str, float] | None, seed: int, file: Path | None,
    losses: dict[str, float] | None = None,
) -> None:  # fmt: skip
    from ipt.analysis.summaries import KNOWLEDGE_NOTE, quality, text_table

    found = quality(prompt, tasks, values, floors, losses)
    print()
    show_table(text_table(found))
    print(KNOWLEDGE_NOTE)
    if file:
        write_json(file, found | {"command": " ".join(["ipt", *sys.argv[1:]]), "seed": seed})
        print(f"summary: {file}")
