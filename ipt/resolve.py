"""From names to objects: tasks, backbone and tuner, and the run that a command builds on.

The only module below `ipt.cli` that imports `ipt.tasks`.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from transformers.utils.logging import disable_progress_bar

from ipt.backbones.base import Backbone
from ipt.backbones.check import ANSWERS, TEXTS
from ipt.backbones.encoder import MAX_QUESTION, Encoder
from ipt.backbones.loading import is_folder, load_backbone
from ipt.backbones.tolerance import is_close
from ipt.bank import open_bank
from ipt.benchmarks.search_cost import SearchProblem
from ipt.benchmarks.speed import BART_BASE, bart_base_sized
from ipt.config import BenchmarkConfig, ChoiceConfig, SourceConfig, TuneConfig, WorkConfig
from ipt.data import DIFF_DATA_SEED, SAME_DATA_SEED, Task, TaskSplit
from ipt.distributed import join_processes
from ipt.encoded import EncodedTask
from ipt.estimate import (
    Rates,
    Work,
    conditions_work,
    ist_tasks,
    ist_work,
    measure_rates,
    msf_work,
    reference_work,
    tuning_work,
)
from ipt.experiment import Experiment, GivenDeltas, encode_tasks
from ipt.fewshot import few_shot
from ipt.heads import ByKind, Span, parse_head
from ipt.heads.states import TYPICAL_CLASSES
from ipt.interop.peft import read_prompts
from ipt.methods.subspace import Subspace
from ipt.progress import Reporter
from ipt.provenance import (
    Record,
    located,
    require_settings,
    tune_from_record,
    work_from_record,
)
from ipt.results import CONDITIONS, Condition
from ipt.run import Run, digest_of_settings
from ipt.tasks.catalog import is_path, load_tasks, select_tasks
from ipt.training.loop import STATE_BYTES
from ipt.training.model import Model
from ipt.tuners import parse_tuner
from ipt.tuners.bare import Bare
from ipt.tuners.base import Tuner
from ipt.tuners.soft_prompt import SoftPrompt
from ipt.workflows.deltas import missing_tasks, tuned_deltas
from ipt.workflows.study import CellConfig

# What every MSF run scores; conditions of IST are chosen.
# The head alone is a floor, which is measured in any case.
MSF_CONDITIONS = tuple(
    condition for condition in CONDITIONS if condition.stage == "msf" and condition.source != "head"
)
# What the deltas of two rows differ by: no start of a tuner is its own.
NOISE = 0.01
# Of a window: [CLS], and [SEP] behind the question and the text, or two each as RoBERTa has it.
SIGNS = 4
MOST_MEMORY = 2**40


def open_backbone(
    name: str,
    added_tokens: int,
    dtype: str,
    device: str,
    reads_states: bool = False,
) -> Backbone:
    """Load a backbone without transformers' own bars."""
    # They would break the one line that our own bars rewrite.
    disable_progress_bar()
    return load_backbone(name, added_tokens, dtype, device, reads_states)


def open_experiment(
    work: WorkConfig,
    tune: TuneConfig | None = None,
    tuner: Tuner | None = None,
) -> Experiment:
    """Load the tasks and the backbone.

    tune: how deltas are tuned; the defaults, if not given.
    tuner: the one that `work.tuner` describes, if not given.
    Raises ValueError for what does not exist or does not fit together.
    """
    tuner = tuner or parse_tuner(work.tuner)
    head = parse_head(work.head)

    # Tasks before the backbone: a wrong name is said in a second, and not after a download.
    processes = join_processes(work.device)
    reporter = Reporter()
    split, tasks, skipped = select_tasks(
        work.tasks,
        work.seen,
        work.unseen,
        work.seed,
        work.as_published,
    )
    if skipped:
        names = ", ".join(skipped)
        reporter.info(f"skipped, too few rows for the few-shot sets: {names}")
    head.require([tasks[name] for name in split.all])
    # The tuner's tokens take places of the input away, so the backbone must know them.
    backbone = open_backbone(
        work.model,
        tuner.added_tokens,
        work.dtype,
        processes.device,
        head.reads_states,
    )
    if not head.reads_states:
        require_options(backbone, split, tasks)
    elif isinstance(backbone, Encoder):
        # A tokenizer that cannot say where its tokens are is refused here, and not in mid-work.
        backbone.piece(TEXTS[0])
        reads_windows = any(tasks[name].category == "span" for name in split.all)
        if reads_windows and isinstance(head, Span | ByKind):
            require_windows(backbone, head)
    model = Model(backbone, tuner, head)
    require_fit(model)
    if tune is not None and tune.delta_start == "shared" and model.network is not None:
        raise ValueError(
            f"--delta-start shared: --tuner {work.tuner} trains the network that makes a delta, of "
            "which there is no shared start; choose network=none, or another tuner"
        )
    given = GivenDeltas()
    if work.prompts and model.has_head_numbers:
        raise ValueError(
            f"--prompts: deltas are read without heads, and --head {head.name} has numbers that "
            "are tuned beside each delta; leave --prompts out, or take --head language-model"
        )
    if work.prompts:
        given, notes = read_prompts(work.prompts, split.all, model)
        for note in notes:
            reporter.info(note)
    return Experiment(
        model=model,
        split=split,
        tasks=tasks,
        work=work,
        tune=(tune or TuneConfig()).with_rates(tuner.learning_rates),
        given=given,
        paths=absolute_paths(work),
        processes=processes,
        reporter=reporter,
    )


@torch.no_grad()
def require_fit(model: Model) -> None:
    """Raise ValueError where the backbone cannot take the tuner: a few words, before any work.

    Each row must have the loss that it has alone, under its own delta.
    """
    try:
        require_room(model)
        # Loading a model asks it the same of vectors before its rows.
        if isinstance(model.tuner, SoftPrompt):
            return
        rows = model.backbone.encode(TEXTS, ANSWERS)
        rows = [model.head.typical(row) for row in rows]
        start = model.first_numbers(rows)
        noise = torch.randn(2, len(start), generator=torch.Generator().manual_seed(0))
        deltas = start + NOISE * noise.to(start)
        owner = torch.arange(2)
        together = model.nll(deltas, owner, rows)
        alone = []
        for i, row in enumerate(rows):
            alone.append(model.nll(deltas[i : i + 1], owner[:1], [row]))
    except ValueError:
        raise
    except Exception as error:
        # Whatever an architecture raises that is not made for this.
        text = " ".join(str(error).split())
        raise _unfit(model, f"{type(error).__name__}: {text:.160}") from error
    if not is_close(model.backbone.model.dtype, together, torch.cat(alone)):
        raise _unfit(model, "a row's loss depends on the rows beside it")


def _unfit(model: Model, reason: str) -> ValueError:
    return ValueError(
        f"--tuner {model.tuner.name}: {model.backbone.name} cannot take it ({reason}); soft-prompt "
        "works in every model, docs/models.md says which tuners work in which"
    )


def require_windows(backbone: Encoder, head: Span | ByKind) -> None:
    """Raise ValueError where windows of a long text would share more than they hold."""
    room = backbone.max_input - MAX_QUESTION - SIGNS
    if head.stride >= room:
        raise ValueError(
            f"--head {head.name}: stride must be below {room}, what a window of {backbone.name} "
            f"holds beside a question; found {head.stride}"
        )


def require_no_heads(experiment: Experiment, verb: str) -> None:
    """Raise ValueError where a command would ignore the numbers of heads."""
    head = experiment.model.head
    if experiment.model.has_head_numbers:
        raise ValueError(
            f"{verb} does not know the numbers of --head {head.name} that this run's tasks have "
            "beside their vectors; choose a run of --head language-model or label-embedding"
        )


def require_room(model: Model) -> None:
    """Raise ValueError where the backbone cannot take the tuner, or the memory no job of it."""
    # Asking for the size looks for the tuner's places.
    if model.size == 0 and not (isinstance(model.tuner, Bare) and model.has_head_numbers):
        raise _unfit(model, "it has nothing there to tune")
    numbers = model.trained_size + model.head.size(model.backbone, TYPICAL_CLASSES)
    needed = numbers * STATE_BYTES
    memory = memory_of(model.device)
    if needed > memory:
        raise ValueError(
            f"--tuner {model.tuner.name}: {numbers:,} numbers are trained for each job in "
            f"{model.backbone.name}, which takes {needed / 1e9:,.1f} GB of the {memory / 1e9:,.1f} "
            f"GB that {model.device} has; choose smaller settings"
        )


def memory_of(device: torch.device) -> int:
    """Return the bytes of memory of a device; a bound that means nothing where it is not known."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    # Not each system says it.
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", ()):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return MOST_MEMORY


def absolute_paths(work: WorkConfig) -> dict[str, str]:
    """Return where the files of relative names lie, by setting: tasks, model."""
    paths = {}
    if is_path(work.tasks) and not os.path.isabs(work.tasks):
        paths["tasks"] = os.path.abspath(work.tasks)
    if is_folder(work.model) and not os.path.isabs(work.model):
        paths["model"] = os.path.abspath(work.model)
    return paths


def require_options(backbone: Backbone, split: TaskSplit, tasks: dict[str, Task]) -> None:
    """Raise ValueError where a model that ranks options meets a task of the split without any."""
    if backbone.generates:
        return
    # Of the split only: a source may have other tasks, which no stage reads.
    free = []
    for name, task in tasks.items():
        if name in split.all and not task.options:
            free.append(name)
    if free:
        raise ValueError(
            f"--model {backbone.name} is a masked model and ranks options; without options: "
            f"{', '.join(free[:5])}; choose cls tasks, or another model"
        )


def reopen_experiment(
    settings: Record,
    out: Path,
    limit: int = 0,
    device: str = "auto",
) -> Experiment:
    """Return the experiment that an MSF run was made on, from its settings.

    limit: above 0, in the place of the run's own.
    Raises ValueError where tasks or backbone have changed.
    """
    # Everything from the settings and nothing from flags: a later stage cannot contradict them.
    require_settings(settings)
    work = work_from_record(settings)
    tune, tuner = tune_from_record(settings["tune"])
    tasks = unchanged_tasks(settings, work)
    processes = join_processes(device)
    model = located(settings, "model")
    head = parse_head(work.head)
    backbone = open_backbone(
        model,
        tuner.added_tokens,
        work.dtype,
        processes.device,
        head.reads_states,
    )
    # What a run in this run's subspace is named after: the model as it was typed.
    backbone.name = work.model
    # A hub id or a folder may hold other weights than then, for which the deltas are meaningless.
    if backbone.fingerprint != settings["backbone"]:
        raise ValueError(
            f"the weights of {work.model} have changed since the subspace was found; "
            "run `ipt msf` again"
        )
    # Not drawn again: a later version may draw other tasks from the same seed.
    parts = {}
    for part, names in settings["parts"].items():
        parts[part] = tuple(names)
    # The deltas themselves are in the bank by now.
    given = settings.get("given", {"names": [], "digest": ""})
    return Experiment(
        model=Model(backbone, tuner, head),
        split=TaskSplit(settings["split"], **parts),
        tasks=tasks,
        work=replace(work, out=out, limit=limit or work.limit, device=device),
        tune=tune,
        given=GivenDeltas(tuple(given["names"]), given["digest"]),
        paths=settings.get("paths", {}),
        processes=processes,
        reporter=Reporter(),
    )


def unchanged_tasks(settings: Record, work: WorkConfig) -> dict[str, Task]:
    """Return a run's tasks by name; raise ValueError where one has other rows than then."""
    digests = settings["digests"]
    source = located(settings, "tasks")
    try:
        loaded = load_tasks(source, work.as_published)
    except ValueError as error:
        raise ValueError(f"--tasks {source}, which the run was made with: {error}") from error
    tasks = {}
    for task in loaded:
        if task.name in digests:
            tasks[task.name] = task
    # By their rows: names stay when a file is edited.
    changed = []
    for name, digest in digests.items():
        if name not in tasks or tasks[name].digest != digest:
            changed.append(name)
    if changed:
        raise ValueError(
            f"tasks have changed since the subspace was found: {', '.join(changed[:5])}; "
            "run `ipt msf` again"
        )
    return tasks


def load_subspace(run: Run, experiment: Experiment) -> Subspace:
    """Return the subspace of an MSF run, on the experiment's device."""
    subspace = Subspace.load(run.folder / "subspace")
    return subspace.to(experiment.model.device)


def find_msf(choice: ChoiceConfig) -> Run:
    """Return the newest complete MSF run of the chosen d (and split, model, seed, name if given).

    Raises ValueError where there is none, with the command to run, and where those there are have
    different settings, with the list.
    """
    # By the time of the result, as folders are named after settings and not after dates.
    out = choice.out
    runs = []
    for path in sorted(out.glob("*/result.json"), key=lambda path: path.stat().st_mtime):
        run = Run(path.parent)
        if is_chosen(choice, run):
            runs.append(run)
    if not runs:
        tasks = choice.tasks or "random-100"
        raise ValueError(
            f"{out} holds no complete MSF run with d = {choice.dim}; run: "
            f"ipt msf --tasks {tasks} --dim {choice.dim} --out {out}"
        )
    # The newest of several is a guess only where they are copies of one run.
    settings = set()
    for run in runs:
        settings.add(digest_of_settings(run.config))
    if len(settings) > 1:
        names = ", ".join(run.folder.name for run in runs)
        raise ValueError(
            f"{out} holds MSF runs of different settings with d = {choice.dim}: {names}; "
            "choose with --tasks, --model, --seed or --run NAME"
        )
    Reporter().info(f"using the newest complete run: {runs[-1].folder.name}")
    return runs[-1]


def is_chosen(choice: ChoiceConfig, run: Run) -> bool:
    """Return whether a run is one of `ipt msf` that the choice allows."""
    # An empty choice allows any.
    settings = run.config
    if settings["kind"] != "msf" or settings["msf"]["dim"] != choice.dim:
        return False
    tasks = {"", settings["split"], settings.get("tasks")}
    if choice.tasks not in tasks and os.path.abspath(choice.tasks) != located(settings, "tasks"):
        return False
    if choice.run not in ("", run.folder.name):
        return False
    if choice.model not in ("", settings["model"]):
        return False
    return choice.seed in (None, settings["seed"])


def require_rows(cells: Sequence[CellConfig]) -> None:
    """Draw every few-shot set that these cells read, each once.

    Raises ValueError where a task has too few rows.
    """
    # Before the first of many hours, and without a backbone: drawing needs none.
    drawn = set()
    for cell in cells:
        work = cell.work
        split, tasks, _ = select_tasks(
            work.tasks,
            work.seen,
            work.unseen,
            work.seed,
            work.as_published,
        )
        for data_seed, names in tasks_read(split, cell.conditions).items():
            for name in sorted(names):
                few_shot_set = (
                    work.tasks,
                    work.as_published,
                    cell.tune.shots,
                    data_seed,
                    name,
                )
                if few_shot_set not in drawn:
                    few_shot(tasks[name], data_seed, cell.tune.shots)
                    drawn.add(few_shot_set)


def cell_hours(cells: Sequence[CellConfig]) -> list[float]:
    """Return the projected hours of each cell of a study.

    Deltas that an earlier cell tunes are counted there.
    """
    rates: dict[tuple[str, ...], Rates] = {}
    hours = []
    tuned: set[tuple[Path, str]] = set()
    for cell in cells:
        experiment = open_experiment(cell.work, cell.tune)
        # Measured once for each model: cells differ in seeds and d, which change no rate.
        model = (cell.work.model, cell.work.dtype, cell.work.tuner, cell.work.head)
        if model not in rates:
            _, rates[model] = measure_rates(experiment)

        # A bank's folder tells which cells share it.
        work = Work()
        missing_counts = {}
        for data_seed, names in tasks_read(experiment.split, cell.conditions).items():
            folder = open_bank(experiment, data_seed).folder
            missing = {(folder, task.name) for task in missing_tasks(experiment, names, data_seed)}
            missing -= tuned
            tuned |= missing
            missing_counts[data_seed] = len(missing)
        work += tuning_work(experiment.tune, sum(missing_counts.values()))
        # The bank keeps references and floors beside its deltas: an earlier cell scores them.
        same, other = missing_counts[SAME_DATA_SEED], missing_counts[DIFF_DATA_SEED]
        work += reference_work(same, other, cell.work.limit)

        split = experiment.split
        if cell.msf is not None and cell.ist is not None:
            work += msf_work(split, cell.msf)
            work += ist_work(split, cell.ist, ist_tasks(split, cell.conditions))
            work += conditions_work(split, [*MSF_CONDITIONS, *cell.conditions], cell.work.limit)
        seconds = rates[model].seconds(work)
        hours.append(seconds / 3600)
    return hours


def tasks_read(split: TaskSplit, conditions: Sequence[Condition]) -> dict[int, Sequence[str]]:
    """Return the tasks whose few-shot sets MSF and these conditions of IST read, by data seed."""
    reads_other_data = any(condition.data_seed == DIFF_DATA_SEED for condition in conditions)
    return {
        SAME_DATA_SEED: split.all,
        DIFF_DATA_SEED: split.seen if reads_other_data else (),
    }


def open_speed_benchmark(
    source: SourceConfig,
    config: BenchmarkConfig,
) -> tuple[Model, list[EncodedTask]]:
    """Return what `ipt bench` measures on: a model, and its first tasks.

    Again from the first task where there are fewer than jobs.
    """
    tuner = SoftPrompt()
    # Of this size without its weights: speed does not depend on them, and nothing is downloaded.
    if source.model == BART_BASE:
        tokenizer = open_backbone("mini", 0, "float32", "cpu").tokenizer
        backbone = bart_base_sized(tokenizer, source.device)
    else:
        length = tuner.added_tokens
        backbone = open_backbone(source.model, length, source.dtype, source.device)
    # Nothing is scored, so one test row is enough.
    tasks = load_tasks(source.tasks, source.as_published)
    encoded = []
    for job in range(config.jobs):
        task = tasks[job % len(tasks)]
        encoded.append(EncodedTask.draw(backbone, task, SAME_DATA_SEED, limit=1))
    return Model(backbone, tuner), encoded


def open_search_problem(
    source: SourceConfig,
    config: BenchmarkConfig,
    out: Path,
) -> SearchProblem:
    """Return what the ways of IST are compared on: unseen tasks of a finished MSF run."""
    run = Run.find(Path(config.search_cost), out)
    if run.config["kind"] != "msf" or run.result is None:
        raise ValueError(
            f"--search-cost needs a complete run of ipt msf, {run.folder.name} is none; "
            f"ipt runs --out {out} lists those that are there"
        )
    folder = run.folder.parent
    experiment = reopen_experiment(run.config, folder, source.limit, source.device)
    require_no_heads(experiment, "ipt bench --search-cost")
    names = experiment.unseen[: config.search_cost_tasks]
    return SearchProblem(
        model=experiment.model,
        subspace=load_subspace(run, experiment),
        tasks=encode_tasks(experiment, names, SAME_DATA_SEED),
        bank=tuned_deltas(experiment, experiment.seen, SAME_DATA_SEED),
        seen_tasks=experiment.split.seen,
        seed=experiment.seed,
    )
