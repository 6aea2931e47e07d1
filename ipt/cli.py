"""The verbs of the command line; the only place where names become objects and the layers meet.

torch and transformers are imported where a verb needs them, so that help and lists come at once.
Flags derive from the dataclasses of `ipt.config`. Order: default < preset < --config file < flag.
"""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Column, Table

from ipt.config import (
    CONFIG,
    DEVIATIONS,
    DIFF_DATA_SEED,
    DRY_RUN,
    OUT,
    RECIPE,
    BenchConfig,
    ChoiceConfig,
    IstConfig,
    MsfConfig,
    PretrainConfig,
    SourceConfig,
    TuneConfig,
    WorkConfig,
    identity,
)
from ipt.data import NAME, Task
from ipt.flags import flags_before
from ipt.look import runs_app, show, tasks_app
from ipt.progress import Reporter, speaks
from ipt.run import Run, write_json

if TYPE_CHECKING:
    from ipt.adapters import TaskPrompt
    from ipt.pipeline import Bench

LONGEST_DEFINITION = 64  # tokens left for a definition where a model has a fixed number of positions
Flat = Parameter(name="*")
Work = Annotated[WorkConfig, Flat]
Out = Annotated[Path, Parameter(help=OUT)]
Name = Annotated[str, Parameter(help="name of the run folder; chosen from the settings where empty")]
Recipe = Annotated[Literal["ours", "paper"], Parameter(help=RECIPE)]
DryRun = Annotated[bool, Parameter(help=DRY_RUN)]
SummaryFile = Annotated[Path | None, Parameter(help="write the means as a small JSON summary")]

app = App(name="ipt", help="Find and use the intrinsic subspace of soft prompts (Qin et al., arXiv 2110.07867).")
app.command(tasks_app)
app.command(runs_app)


@app.command
def tune(
    *,
    work: Work = WorkConfig(),
    more_seeds: Annotated[tuple[int, ...], Parameter(help="further seeds, each one more job per task and rate in the same run")] = (),
    file: SummaryFile = None,
    tune: Annotated[TuneConfig, Flat] = TuneConfig(),
) -> None:
    """Tune one soft prompt per task (and seed) and print their test scores, averaged over the seeds."""
    from ipt.analysis.report import spread
    from ipt.data import SAME_DATA_SEED
    from ipt.plan import open_bench, projected

    bench = open_bench(work, tune)
    names = list(bench.split.all)
    benches = {seed: replace(bench, seed=seed) for seed in (work.seed, *more_seeds)}
    missing = sum(len(b.missing(names, SAME_DATA_SEED)) for b in benches.values())
    if projected(bench, work.dry_run, {"tune": missing}):
        return
    bench.tune_missing(names, SAME_DATA_SEED, list(benches))
    scores, floors = [b.reference(names, SAME_DATA_SEED) for b in benches.values()], bench.floors(names)
    best = {name: max(v for v in floors[name].values() if v is not None) for name in names}
    table, values = Table("task", "metric", "prompt tuning", "ranked", "floor"), {}
    for name in names:
        generated, ranked = ([v for s in scores if (v := s[name][kind]) is not None] for kind in ("generated", "ranked"))
        values[name] = sum(generated) / len(generated)
        table.add_row(name, bench.tasks[name].metric, spread(generated, 3), spread(ranked, 3), f"{best[name]:.3f}")
    Console().print(table)
    tuned = [t for b in benches.values() for task in b.of(names) if (t := b.bank(SAME_DATA_SEED).get(task))]
    losses = {name: sum(t.dev_loss for t in tuned[i :: len(names)]) / len(benches) for i, name in enumerate(names)}
    _quality("prompt tuning", bench.of(names), values, best, work.seed, file if bench.ranks.first else None, losses)
    for b in benches.values():
        print(f"prompts: {b.bank(SAME_DATA_SEED).folder}")


@app.command
def msf(
    *, work: Work = WorkConfig(), run: Name = "", recipe: Recipe = "ours", msf: Annotated[MsfConfig, Flat] = MsfConfig(),
    tune: TuneConfig = TuneConfig(),
) -> None:  # fmt: skip
    """Find the subspace of the seen tasks' prompts (prompts that are missing are tuned first) and score it."""
    from ipt.data import SAME_DATA_SEED
    from ipt.pipeline import run_msf
    from ipt.plan import digest, open_bench, projected, settings_of

    _deviations(recipe)
    bench = open_bench(work, tune)
    size = tune.prompt_length * bench.backbone.hidden_size
    if msf.dim >= size:
        raise ValueError(f"--dim must be below a prompt's {size} numbers (prompt length x hidden size), found {msf.dim}")
    names = list(bench.split.all)
    missing = len(bench.missing(names, SAME_DATA_SEED))
    if projected(bench, work.dry_run, {"tune": missing, "msf": 2}, msf=msf):
        return
    if run and not NAME.fullmatch(run):
        raise ValueError(f"--run is the name of a folder below --out, letters, digits and . _ + -, found {run!r}")
    settings = settings_of("msf", bench, {"msf": identity(msf)})
    name = run or f"msf-{bench.split.name}-d{msf.dim}-s{bench.seed}-{digest(settings)}"
    folder, result = bench.in_run(work.out / name, settings, lambda folder: run_msf(bench, msf, folder))
    if bench.ranks.first:
        show([folder], [result])
    print(f"next: ipt ist --dim {msf.dim} --out {work.out}")


@app.command
def ist(
    *, choice: Annotated[ChoiceConfig, Flat] = ChoiceConfig(), recipe: Recipe = "ours", ist: Annotated[IstConfig, Flat] = IstConfig()
) -> None:  # fmt: skip
    """Tune `dim` numbers per task in a subspace that `ipt msf` found, and print the table of recoveries."""
    from ipt.autoencoder import Subspace
    from ipt.pipeline import run_ist
    from ipt.plan import digest, find_msf, projected, reopen_bench, settings_of

    _deviations(recipe)
    source = find_msf(choice)
    bench = reopen_bench(source.config, choice.out, choice.limit, choice.device)
    size = f"prompt length {bench.tune.prompt_length}, hidden size {bench.backbone.hidden_size}"
    print(f"subspace: {source.folder} (inherited: {size}, backbone {bench.backbone.name}, {bench.backbone.dtype})")
    subspace = Subspace.load(source.folder / "subspace").to(bench.backbone.device)
    seen, rest = len(bench.split.seen), len(bench.split.all) - len(bench.split.seen)
    missing = len(bench.missing(bench.split.seen, DIFF_DATA_SEED))
    if projected(bench, choice.dry_run, {"tune": missing, "ist": len(ist.learning_rates) * (2 * seen + 3 * rest)}, ist=ist):
        return
    settings = settings_of("ist", bench, {"ist": identity(ist), "msf_run": source.folder.name})
    name = f"ist-{bench.split.name}-d{choice.dim}-s{bench.seed}-{digest(settings)}"
    folder, result = bench.in_run(choice.out / name, settings, lambda folder: run_ist(bench, subspace, ist, folder))
    if bench.ranks.first:
        show([source.folder, folder], [source.result or {}, result])


@app.command
def pretrain(
    *, out: Annotated[Path, Parameter(help="run folder; the model is left in its folder model")] = Path("runs/pretrain"),
    text: Annotated[Path | None, Parameter(help="folder of plain text (*.txt.gz), a line a paragraph; none: tasks only")] = None,
    config: Annotated[Path | None, Parameter(help=CONFIG)] = None, pretrain: Annotated[PretrainConfig, Flat] = PretrainConfig(),
) -> None:  # fmt: skip
    """Make the embedded backbone from the suite's generators (needs the extra `suite`)."""
    from ipt.pretrain import pretrain as train
    from ipt.tasks.build import all_recipes, pretraining_stream
    from ipt.tasks.files import text_lines
    from ipt.tasks.suite import load

    recipes, shipped = all_recipes(), load()
    lines = (lambda seed: text_lines(text, seed)) if text else None
    with Reporter().bar("pre-training") as progress:
        train(lambda s: pretraining_stream(recipes, shipped, s), lines, pretrain, out, lambda d, t, loss: progress(int(d), int(t), loss))
    print(f"model: {out / 'model'}")


@app.command
def export(run: Path, task: str, *, to: Annotated[Path, Parameter(help="folder to write")], out: Out = Path("runs")) -> None:
    """Write a task's prompt as a PEFT folder: tuned in an MSF run, decoded from its d numbers in an IST run."""
    from ipt.peft_folder import write_peft

    found, bench = _task_prompt(run, task, out)
    write_peft(found.prompt, bench.backbone, to, found.about)
    print(f"PEFT folder: {to}")


@app.command
def predict(
    *texts: str,
    run: Annotated[Path, Parameter(help="run folder, or its name below --out")],
    task: Annotated[str, Parameter(help="whose prompt answers")],
    out: Out = Path("runs"),
    tokens: Annotated[int, Parameter(help="most tokens of an answer")] = 32,
) -> None:
    """Answer texts with a task's prompt; without texts, lines of standard input: JSON objects with `input`, or plain text."""
    from ipt.adapters import answers, record_of

    records: list[str | dict[str, Any]] = list(texts)
    records = records or [record_of(line.strip(), number) for number, line in enumerate(sys.stdin, 1) if line.strip()]
    inputs = [record["input"] if isinstance(record, dict) else record for record in records]
    found, bench = _task_prompt(run, task, out)
    for record, answer in zip(records, answers(found.prompt, bench, task, inputs, tokens), strict=True):
        print(json.dumps(record | {"output": answer}, ensure_ascii=False) if isinstance(record, dict) else " ".join(answer.split()))


def _task_prompt(run: Path, task: str, out: Path) -> "tuple[TaskPrompt, Bench]":
    from ipt.adapters import task_prompt
    from ipt.plan import reopen_bench

    found = Run.find(run, out)
    bench = reopen_bench(found.config, found.folder.parent)
    return task_prompt(found, bench, task), bench


@app.command
def convert(file: Path, folder: Path) -> None:
    """Turn a GGUF file of a left-to-right model into a folder for --model (needs the extra `gguf`)."""
    from ipt.gguf import convert as turn

    turn(file, folder)
    print(f"model: {folder}")


@app.command
def score(*, source: Annotated[SourceConfig, Flat] = SourceConfig(tasks="all"), file: SummaryFile = None) -> None:
    """Score the manual prompt (each task's definition before its input) on the test sets."""
    from ipt.data import SAME_DATA_SEED
    from ipt.evaluate import TaskData, score_prompts
    from ipt.plan import open_backbone
    from ipt.tasks.choose import tasks_of

    found = tasks_of(source.tasks, source.as_published)
    backbone = open_backbone(source.model, LONGEST_DEFINITION, source.dtype, source.device)
    table = Table("task", "metric", "definition", "ranked")
    values: dict[str, float] = {}
    with Reporter().bar("scoring definitions") as progress:
        for i, task in enumerate(found):
            prompt = backbone.text_prompt(task.definition + "\n").unsqueeze(0)
            (s,) = score_prompts(backbone, prompt, [TaskData.draw(backbone, task, SAME_DATA_SEED, limit=source.limit)])
            values[task.name] = s.generated
            table.add_row(task.name, task.metric, f"{s.generated:.3f}", "" if s.ranked is None else f"{s.ranked:.3f}")
            progress(i + 1, len(found), float("nan"))
    Console().print(table)
    _quality("definition", list(found), values, None, source.seed, file)


@app.command
def study(
    file: Path, *, out: Out = Path("runs"),
    to: Annotated[Path, Parameter(help="folder of the figures, a JSON file a cell")] = Path("results"),
    only: Annotated[str, Parameter(help="names of the cells to do, with * and ?")] = "*", dry_run: DryRun = False,
) -> None:  # fmt: skip
    """Fill a table of many MSF and IST runs from a short file (JSON, TOML, YAML); the same command goes on where it was stopped."""
    from ipt.study import run_study

    run_study(file, out, to, only, dry_run, _parsed, lambda words: app(words + flags_before(words), exit_on_error=False, print_error=False))


def _parsed(words: list[str]) -> dict[str, Any]:
    """Return what a command line says, by parameter, without doing it."""
    _, bound, _ = app.parse_args(words + flags_before(words), exit_on_error=False, print_error=False)
    bound.apply_defaults()
    return dict(bound.arguments)


@app.command
def bench(
    *, source: Annotated[SourceConfig, Flat] = SourceConfig(), bench: Annotated[BenchConfig, Flat] = BenchConfig(), out: Out = Path("runs"),
    file: SummaryFile = None,
) -> None:  # fmt: skip
    """Measure what stacking gains over a loop with PEFT, and its cost as it grows (needs the extra `bench`)."""
    from ipt.bench import report
    from ipt.plan import bench_parts, bench_race

    if missing := [name for name in ("peft", "cma") if find_spec(name) is None]:
        raise ValueError(f"ipt bench needs {' and '.join(missing)}: pip install 'intrinsic-prompt-tuning[bench]'")
    found = report(*(bench_race(source, bench, out) if bench.race else bench_parts(source, bench)))
    table = Table(*(Column(name, justify="left" if i in (0, 5) else "right") for i, name in enumerate(found["columns"])), box=SIMPLE)
    for row in found["rows"]:
        table.add_row(*row)
    Console().print(table)
    for note in found["notes"]:
        print(note)
    if file:
        write_json(file, found | {"command": " ".join(["ipt", *sys.argv[1:]]), "seed": source.seed})
        print(f"summary: {file}")


def _deviations(recipe: str) -> None:
    for text in DEVIATIONS[recipe]:
        print(f"recipe {recipe}, deviation: {text}")


def _quality(
    prompt: str, tasks: list[Task], values: dict[str, float], floors: dict[str, float] | None, seed: int, file: Path | None,
    losses: dict[str, float] | None = None,
) -> None:  # fmt: skip
    from ipt.analysis.report import KNOWN, quality

    found = quality(prompt, tasks, values, floors, losses)
    table = Table(*found["columns"])
    for row in found["rows"]:
        table.add_row(*row)
    Console().print(table)
    print(KNOWN)
    if file:
        write_json(file, found | {"command": " ".join(["ipt", *sys.argv[1:]]), "seed": seed})
        print(f"summary: {file}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; a user's mistake ends with one line on standard error and exit code 2."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not speaks():
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    try:
        words += flags_before(words)
        app(words, exit_on_error=False, print_error=False, result_action="return_value")
    except (CycloptsError, ValueError) as error:
        if speaks():
            print(f"ipt: {_sentence(error)}", file=sys.stderr)
        return 2
    except OSError as error:
        where = f"{error.strerror or error} ({error.filename or 'no file named'})"
        remedy = "files written so far are whole: make room or mend the folder, then the same command goes on"
        print(f"ipt: {where}; {remedy}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("ipt: stopped; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    finally:
        if "torch" in sys.modules:  # otherwise nobody was joined
            from ipt.ranks import leave

            leave()
    return 0


def _sentence(error: Exception) -> str:
    """Return an error as one line; an impossible value is reported by the configuration's own words."""
    cause = error.__cause__ if isinstance(error, CycloptsError) and isinstance(error.__cause__, ValueError) else error
    return " ".join(str(cause).split())


if __name__ == "__main__":
    sys.exit(main())
