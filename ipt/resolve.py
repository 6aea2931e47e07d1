"""From what a user typed to what will be done: tasks, backbone, the run that is built on, and the projected time."""

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers.utils.logging import disable_progress_bar

from ipt.backbones.base import Backbone, Encoded
from ipt.backbones.loading import load_backbone
from ipt.bank import vocabulary_start
from ipt.benchmarks.search_cost import SearchProblem, measure_search_cost
from ipt.benchmarks.speed import BART_BASE, Measurement, bart_base_sized, measure
from ipt.config import BenchmarkConfig, ChoiceConfig, IstConfig, MsfConfig, SourceConfig, TuneConfig, WorkConfig, identity, restored
from ipt.data import DIFF_DATA_SEED, SAME_DATA_SEED, TaskSplit
from ipt.distributed import join
from ipt.encoded import EncodedTask
from ipt.experiment import Experiment
from ipt.fewshot import few_shot
from ipt.interop.peft import GivenDeltas, read_prompts
from ipt.methods.ist import ROUNDS
from ipt.methods.subspace import Subspace
from ipt.progress import Reporter
from ipt.run import Run
from ipt.storage import free_bytes
from ipt.tasks.catalog import choose, tasks_of

CellSettings = tuple[WorkConfig, TuneConfig, MsfConfig, IstConfig, Sequence[str]]  # a study's cell; last: the parts of IST
REOPENED = {"split", "parts", "tasks", "digests", "model", "dtype", "tune", "backbone", "seed", "limit"}  # settings to open a run with


def open_backbone(name: str, prompt_length: int, dtype: str, device: str) -> Backbone:
    """Load a backbone without transformers' own bars."""
    disable_progress_bar()
    return load_backbone(name, prompt_length, dtype, device)


def open_experiment(work: WorkConfig, tune: TuneConfig) -> Experiment:
    """Load the tasks and the backbone."""
    processes = join(work.device)
    reporter = Reporter()
    split, found, skipped = choose(work.tasks, work.seen, work.unseen, work.seed, work.as_published)
    if skipped:
        reporter.info(f"skipped, too few rows for the few-shot sets: {', '.join(skipped)}")
    backbone = open_backbone(work.model, tune.prompt_length, work.dtype, processes.device)
    free = [name for name, task in found.items() if name in split.all and not task.options]
    if free and not backbone.generates:
        remedy = "choose cls tasks, or another model"
        raise ValueError(f"--model {work.model} is a masked model and processes options; without options: {', '.join(free[:5])}; {remedy}")
    given, notes = read_prompts(work.prompts, split.all, backbone, tune.prompt_length) if work.prompts else (GivenDeltas(), [])
    for note in notes:
        reporter.info(note)
    return Experiment(
        backbone, split, found, tune, work.seed, work.out, work.limit, reporter, work.tasks, given, work.as_published, processes, work.held_out
    )


def settings_record(kind: str, experiment: Experiment, more: dict[str, Any]) -> dict[str, Any]:
    """Return what identifies a run, in JSON's types."""
    split = {part: list(getattr(experiment.split, part)) for part in ("seen", "unseen", "out_of_kind", "new_subcategories")}
    digests = {name: task.digest for name, task in sorted(experiment.tasks.items())}
    common: dict[str, Any] = {"kind": kind, "split": experiment.split.name, "tasks": experiment.source, "parts": split}
    common |= {"as_published": True} if experiment.as_published else {}  # not there in older runs
    common |= {"model": experiment.backbone.name, "dtype": experiment.backbone.dtype, "seed": experiment.seed, "limit": experiment.limit}
    common |= {"held_out": experiment.held_out} if experiment.held_out != "test" else {}
    common |= {"given": {"names": experiment.given.names, "digest": experiment.given.digest}} if experiment.given.names else {}
    whole = common | {"backbone": experiment.backbone.fingerprint, "tune": identity(experiment.tune), "digests": digests} | more
    return dict(json.loads(json.dumps(whole)))


def digest(settings: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]


def source_record(source: Run) -> dict[str, str]:
    """Return what identifies the MSF run that a run was made from: its name, and for a name given with --run also its settings.

    A folder with a given name can be made again with other settings; a name chosen from the settings ends with their digest.
    """
    name, own = source.folder.name, digest(source.config)
    return {"msf_run": name} if name.endswith(own) else {"msf_run": name, "msf_settings": own}


def reopen_experiment(settings: dict[str, Any], out: Path, limit: int = 0, device: str = "auto") -> Experiment:
    """Return the experiment an MSF run was made on, from its settings; raise ValueError where tasks or backbone have changed."""
    lacking = sorted(REOPENED - settings.keys())
    if lacking:
        raise ValueError(f"the run was made by another version of ipt: its settings lack {', '.join(lacking)}; run `ipt msf` again")
    split = TaskSplit(settings["split"], **{part: tuple(names) for part, names in settings["parts"].items()})
    source, as_published = settings["tasks"], settings.get("as_published", False)
    found = {t.name: t for t in tasks_of(source, as_published) if t.name in settings["digests"]}
    changed = [name for name, kept in settings["digests"].items() if name not in found or found[name].digest != kept]
    if changed:
        raise ValueError(f"tasks have changed since the subspace was found: {', '.join(changed[:5])}; run `ipt msf` again")
    processes = join(device)
    backbone = open_backbone(settings["model"], settings["tune"]["prompt_length"], settings["dtype"], processes.device)
    if backbone.fingerprint != settings["backbone"]:
        raise ValueError(f"the weights of {settings['model']} have changed since the subspace was found; run `ipt msf` again")
    kept = settings.get("given", {"names": [], "digest": ""})
    given = GivenDeltas(tuple(kept["names"]), kept["digest"])
    tune, limit = restored(TuneConfig, settings["tune"]), limit or settings["limit"]
    seed, held_out = settings["seed"], settings.get("held_out", "test")
    return Experiment(backbone, split, found, tune, seed, out, limit, Reporter(), source, given, as_published, processes, held_out)


def bench_parts(source: SourceConfig, bench: BenchmarkConfig) -> tuple[Backbone, list[Measurement]]:
    """Measure stacked prompt tuning on a backbone, with the first tasks (again from the first where there are fewer)."""
    length = TuneConfig().prompt_length
    if source.model == BART_BASE:
        backbone = bart_base_sized(open_backbone("mini", 0, "float32", "cpu").tokenizer, source.device)
    else:
        backbone = open_backbone(source.model, length, source.dtype, source.device)
    found = list(tasks_of(source.tasks, source.as_published))
    data = [EncodedTask.draw(backbone, found[i % len(found)], SAME_DATA_SEED, limit=1) for i in range(bench.jobs)]
    return backbone, measure(backbone, vocabulary_start(backbone, length, source.seed), data, bench, Reporter())


def bench_race(source: SourceConfig, bench: BenchmarkConfig, out: Path) -> tuple[Backbone, list[Measurement]]:
    """Let the ways of IST race on unseen tasks of a finished MSF run."""
    run = Run.find(Path(bench.race), out)
    if run.config["kind"] != "msf" or run.result is None:
        raise ValueError(
            f"--race needs a complete run of ipt msf, {run.folder.name} is none; ipt runs --out {out} lists those that are there"
        )
    opened = reopen_experiment(run.config, run.folder.parent, source.limit, source.device)
    subspace = Subspace.load(run.folder / "subspace").to(opened.backbone.device)
    bank = opened.prompts(opened.split.seen, SAME_DATA_SEED)
    data = opened.data([*opened.split.unseen, *opened.split.out_of_kind][: bench.race_tasks], SAME_DATA_SEED)
    problem = SearchProblem(opened.backbone, subspace, data, bank, opened.split.seen, opened.seed)
    return opened.backbone, measure_search_cost(problem, Reporter())


def find_msf(choice: ChoiceConfig) -> Run:
    """Return the newest complete MSF run of the chosen d (and split, model, seed, name where given).

    Raises ValueError where there is none, with the command to run, and where those found have different settings, with
    the list.
    """
    out, dim = choice.out, choice.dim
    found = []
    for path in sorted(out.glob("*/result.json"), key=lambda p: p.stat().st_mtime):
        candidate = Run(path.parent)
        settings = candidate.config
        wanted = {"model": choice.model, "seed": choice.seed}
        same = settings["kind"] == "msf" and settings["msf"]["dim"] == dim
        same = same and choice.tasks in ("", settings["split"], settings.get("tasks"))
        if same and choice.run in ("", path.parent.name) and all(v in (None, "", settings[k]) for k, v in wanted.items()):
            found.append(candidate)
    if not found:
        tasks = choice.tasks or "random-100"
        raise ValueError(f"{out} holds no complete MSF run with d = {dim}; run: ipt msf --tasks {tasks} --dim {dim} --out {out}")
    if len({json.dumps(r.config, sort_keys=True) for r in found}) > 1:
        names = ", ".join(r.folder.name for r in found)
        remedy = "choose with --tasks, --model, --seed or --run NAME"
        raise ValueError(f"{out} holds MSF runs of different settings with d = {dim}: {names}; {remedy}")
    Reporter().info(f"using the newest complete run: {found[-1].folder.name}")
    return found[-1]


def ist_jobs(split: TaskSplit, parts: Sequence[str]) -> int:
    """Return how many tasks these parts of IST find numbers for."""
    rest = len(split.all) - len(split.seen)
    return sum(len(split.seen) if part in ("same", "diff") else rest for part in parts)


def amounts(experiment: Experiment, jobs: dict[str, int], msf: MsfConfig | None, ist: IstConfig | None) -> tuple[int, int, int]:
    """Return how many train rows, dev rows and generated answers the work has at most; jobs: tasks to tune, and to find numbers for."""
    train_rows = dev_rows = 0
    for stage, search in (("tune", experiment.tune), ("ist", ist)):
        if search is not None and stage in jobs:
            steps, losses = search.work
            train_rows, dev_rows = train_rows + jobs[stage] * steps * search.rows_per_step, dev_rows + jobs[stage] * losses * 40
    if msf is not None:
        train_rows += jobs["msf"] * msf.steps * msf.rows_per_step
        dev_rows += jobs["msf"] * len(experiment.split.seen) * 40 * -(-msf.steps // msf.eval_every)
    if ist is not None and ist.start == "seen":  # all codes meet the first round's rows, fewer the others
        rounds = zip((len(experiment.split.seen), *(kept for _, kept in ROUNDS)), ROUNDS, strict=False)
        dev_rows += jobs["ist"] * sum(codes * rows for codes, (rows, _) in rounds)
    answers = (len(experiment.split.all) * 3 + len(experiment.split.seen) * 2) * (experiment.limit or 100)
    return train_rows, dev_rows, answers if any(jobs.values()) else 0


def projected(experiment: Experiment, dry_run: bool, jobs: dict[str, int], msf: MsfConfig | None = None, ist: IstConfig | None = None) -> bool:
    """Print the projected time of the work, check the space, and say whether to stop here (--dry-run).

    jobs: tasks per stage (two searches in MSF: the subspace and the shared prompt); the time comes from a short measurement of
    training and generation on this machine.
    """
    train_rows, dev_rows, answers = amount = amounts(experiment, jobs, msf, ist)
    seconds = sum(rows / rate for rows, rate in zip(amount, _rows_per_second(experiment), strict=True))
    need = len(experiment.split.all) * experiment.tune.prompt_length * experiment.backbone.hidden_size * 4 * 8
    experiment.reporter.info(
        f"{experiment.split.name}: {len(experiment.split.seen)} seen, {len(experiment.split.all) - len(experiment.split.seen)} unseen tasks; "
        f"at most {train_rows:,} training rows, {dev_rows:,} dev rows and {answers:,} generated answers: "
        f"about {max(1, round(seconds / 60))} min on {experiment.backbone.device}"
    )
    if free_bytes(experiment.out) < 2 * need:
        raise ValueError(f"--out {experiment.out} needs about {2 * need / 1e6:.0f} MB free; make room or choose another folder")
    return dry_run


def sets_of(split: TaskSplit, parts: Sequence[str]) -> dict[int, Sequence[str]]:
    """Return the tasks whose few-shot sets MSF and these parts of IST read, by data seed."""
    return {SAME_DATA_SEED: split.all, DIFF_DATA_SEED: split.seen if "diff" in parts else ()}


def check_rows(cells: Sequence[CellSettings]) -> None:
    """Draw the few-shot sets of these cells once each; raise ValueError where a task has too few rows for one."""
    drawn: set[tuple[str, bool, int | None, int, str]] = set()
    for work, tune, _, _, parts in cells:
        split, found, _ = choose(work.tasks, work.seen, work.unseen, work.seed, work.as_published)
        wanted = {(work.tasks, work.as_published, tune.shots, s, name) for s, names in sets_of(split, parts).items() for name in names}
        for *_, shots, data_seed, name in sorted(wanted - drawn, key=str):
            few_shot(found[name], data_seed, shots)
        drawn |= wanted


def hours(cells: Sequence[CellSettings]) -> list[float]:
    """Return the projected hours of each cell of a study: prompts that no earlier cell has tuned, MSF and these parts of IST."""
    rates: dict[tuple[str, str], tuple[float, float, float]] = {}
    found: list[float] = []
    tuned: set[tuple[Path, str]] = set()
    for work, tune, msf, ist, parts in cells:
        experiment = open_experiment(work, tune)
        sets = sets_of(experiment.split, parts).items()
        lacking = {(experiment.bank(s).folder, task.name) for s, names in sets for task in experiment.missing(names, s)} - tuned
        tuned |= lacking
        stages = (
            amounts(experiment, {"tune": len(lacking), "msf": 2}, msf, None),
            amounts(experiment, {"ist": ist_jobs(experiment.split, parts)}, None, ist),
        )
        key = (work.model, work.dtype)
        rates[key] = rates.get(key) or _rows_per_second(experiment)
        found.append(sum(rows / rate for stage in stages for rows, rate in zip(stage, rates[key], strict=True)) / 3600)
    return found


def _rows_per_second(experiment: Experiment) -> tuple[float, float, float]:
    """Time training, forward only and generation on typical rows: up to 128, fewer with a model that takes long for 8."""
    _time(experiment, "train", 4)
    count = max(8, min(128, int(8 * 0.2 / _time(experiment, "train", 8))))
    train, forward, generate = (count / _time(experiment, action, count) for action in ("train", "forward", "generate"))
    return train, forward, generate


def _time(experiment: Experiment, action: str, count: int) -> float:
    """Return the seconds of one batch."""
    rows = [Encoded((5,) * 20 + (1,), (5, 6, 7, 1))] * count
    prompts = experiment.start.expand(count, -1, -1).clone().requires_grad_()
    began = time.monotonic()
    if action == "train":
        experiment.backbone.losses(prompts, rows).sum().backward()
    with torch.no_grad():
        if action == "forward":
            experiment.backbone.losses(prompts, rows)
        if action == "generate" and experiment.backbone.generates:
            experiment.backbone.generate(prompts, rows, 8)
    return time.monotonic() - began
