"""The stages: `ipt tune`, `ipt msf`, `ipt ist`, `ipt stability`.

Each verb opens what it works on, says how long the work will take, calls its workflow and prints.
"""

from dataclasses import replace
from typing import Annotated

from cyclopts import Parameter

from ipt.cli.options import (
    Choice,
    Ist,
    Msf,
    Name,
    Parts,
    Recipe,
    SummaryFile,
    Tune,
    Work,
    preset,
)
from ipt.cli.output import (
    new_table,
    print_list,
    print_quality,
    print_recovery,
    print_table,
    write_summary,
)
from ipt.config import (
    IST_PARTS,
    ChoiceConfig,
    IstConfig,
    MsfConfig,
    TuneConfig,
    WorkConfig,
    identity,
)
from ipt.data import DIFF_DATA_SEED, NAME, SAME_DATA_SEED
from ipt.run import Run

MORE_SEEDS = "further seeds, each one more job per task and rate in the same run"


def tune(
    *,
    work: Work = WorkConfig(),
    more_seeds: Annotated[tuple[int, ...], Parameter(help=MORE_SEEDS)] = (),
    file: SummaryFile = None,
    config: Tune = TuneConfig(),
) -> None:
    """Tune one soft prompt per task (and seed); print their test scores, averaged over the seeds."""
    from ipt.analysis.summaries import spread
    from ipt.resolve import open_experiment, projected

    experiment = open_experiment(work, config)
    names = list(experiment.split.all)
    experiments = {seed: replace(experiment, seed=seed) for seed in (work.seed, *more_seeds)}
    missing = sum(len(b.missing(names, SAME_DATA_SEED)) for b in experiments.values())
    if projected(experiment, work.dry_run, {"tune": missing}):
        return
    experiment.tune_missing(names, SAME_DATA_SEED, list(experiments))
    scores, floors = [b.reference(names, SAME_DATA_SEED) for b in experiments.values()], experiment.floors(names)
    best = {name: max(v for v in floors[name].values() if v is not None) for name in names}
    table, values = new_table("task", "metric", "prompt tuning", "ranked", "floor"), {}
    for name in names:
        generated, ranked = ([v for s in scores if (v := s[name][kind]) is not None] for kind in ("generated", "ranked"))
        values[name] = sum(generated) / len(generated)
        table.add_row(name, experiment.tasks[name].metric, spread(generated, 3), spread(ranked, 3), f"{best[name]:.3f}")
    print_list(table)
    tuned = [t for b in experiments.values() for task in b.of(names) if (t := b.bank(SAME_DATA_SEED).get(task))]
    losses = {name: sum(t.dev_loss for t in tuned[i :: len(names)]) / len(experiments) for i, name in enumerate(names)}
    print_quality("prompt tuning", experiment.of(names), values, best, work.seed, file if experiment.processes.is_main else None, losses)
    for b in experiments.values():
        print(f"prompts: {b.bank(SAME_DATA_SEED).folder}")


def msf(
    *,
    work: Work = WorkConfig(),
    run: Name = "",
    recipe: Recipe = "ours",
    config: Msf = MsfConfig(),
    tune: TuneConfig = TuneConfig(),
) -> None:
    """Find the subspace of the seen tasks' prompts (missing ones are tuned first) and score it."""
    from ipt.experiment import run_msf
    from ipt.resolve import digest, open_experiment, projected, settings_record

    print_deviations(recipe)
    experiment = open_experiment(work, tune)
    size = tune.prompt_length * experiment.backbone.hidden_size
    if config.dim >= size:
        raise ValueError(
            f"--dim must be below a prompt's {size} numbers (prompt length x hidden size), "
            f"found {config.dim}"
        )
    names = list(experiment.split.all)
    missing = len(experiment.missing(names, SAME_DATA_SEED))
    if projected(experiment, work.dry_run, {"tune": missing, "msf": 2}, msf=config):
        return
    if run and not NAME.fullmatch(run):
        raise ValueError(
            f"--run is the name of a folder below --out, letters, digits and . _ + -, found {run!r}"
        )

    settings = settings_record("msf", experiment, {"msf": identity(config)})
    split = experiment.split.name
    chosen_name = f"msf-{split}-d{config.dim}-s{experiment.seed}-{digest(settings)}"
    path = work.out / (run or chosen_name)
    folder, result = experiment.in_run(
        path,
        settings,
        lambda folder: run_msf(experiment, config, folder),
    )
    if experiment.processes.is_main:
        print_recovery([folder], [result])
    print(f"next: ipt ist --dim {config.dim} --out {work.out}")


def ist(
    *,
    choice: Choice = ChoiceConfig(),
    recipe: Recipe = "ours",
    part: Parts = (),
    config: Ist = IstConfig(),
) -> None:
    """Tune d numbers per task in a subspace of `ipt msf`; print the table of recoveries."""
    from ipt.experiment import run_ist
    from ipt.methods.subspace import Subspace
    from ipt.resolve import (
        digest,
        find_msf,
        ist_jobs,
        projected,
        reopen_experiment,
        settings_record,
        source_record,
    )

    print_deviations(recipe)
    source = find_msf(choice)
    experiment = reopen_experiment(source.config, choice.out, choice.limit, choice.device)
    backbone = experiment.backbone
    print(
        f"subspace: {source.folder} (inherited: prompt length {experiment.tune.prompt_length}, "
        f"hidden size {backbone.hidden_size}, backbone {backbone.name}, {backbone.dtype})"
    )
    subspace = Subspace.load(source.folder / "subspace").to(backbone.device)
    parts = {name: IST_PARTS[name] for name in IST_PARTS if name in (part or IST_PARTS)}
    settings = settings_record("ist", experiment, {"ist": identity(config)} | source_record(source))
    split = experiment.split.name
    name = f"ist-{split}-d{choice.dim}-s{experiment.seed}-{digest(settings)}"
    path = choice.out / name

    missing_parts = experiment.processes.on_main_process(lambda: Run(path).lacking(parts))
    missing_prompts = 0
    if "diff" in missing_parts:
        missing_prompts = len(experiment.missing(experiment.split.seen, DIFF_DATA_SEED))
    jobs = {"tune": missing_prompts, "ist": ist_jobs(experiment.split, missing_parts)}
    if projected(experiment, choice.dry_run, jobs, ist=config):
        return
    folder, result = experiment.in_run(
        path,
        settings,
        lambda run: run_ist(experiment, subspace, config, run, parts),
        parts,
    )
    if experiment.processes.is_main:
        print_recovery([source.folder, folder], [source.result or {}, result])


def stability(
    *,
    choice: Choice = ChoiceConfig(),
    recipe: Recipe = "ours",
    runs: Annotated[int, Parameter(help="how many seeds, from the subspace's own on")] = 10,
    config: Ist = IstConfig(),
    file: SummaryFile = None,
) -> None:
    """Tune the unseen tasks with many seeds in five ways; compare their spread.

    The ways: prompt tuning, IST, mixtures of seen prompts, and prompt tuning from these two.
    """
    from ipt.methods.subspace import Subspace
    from ipt.resolve import (
        digest,
        find_msf,
        projected,
        reopen_experiment,
        settings_record,
        source_record,
    )
    from ipt.workflows.stability import run_stability

    if runs < 2:
        # The spread is a standard deviation with n - 1.
        raise ValueError(f"--runs must be at least 2 for a spread, found {runs}")
    source = find_msf(choice)
    experiment = reopen_experiment(source.config, choice.out, choice.limit, choice.device)
    subspace = Subspace.load(source.folder / "subspace").to(experiment.backbone.device)
    seeds = list(range(experiment.seed, experiment.seed + runs))
    names = [*experiment.split.unseen, *experiment.split.out_of_kind]

    missing = 0
    for seed in seeds:
        missing += len(replace(experiment, seed=seed).missing(names, SAME_DATA_SEED))
    both = 2 * runs * len(names)
    if projected(experiment, choice.dry_run, {"tune": missing + both, "ist": both}, ist=config):
        return

    more = {"ist": identity(config), "seeds": seeds} | source_record(source)
    settings = settings_record("stability", experiment, more)
    split = experiment.split.name
    name = f"stability-{split}-d{choice.dim}-s{experiment.seed}-{digest(settings)}"
    folder, result = experiment.in_run(
        choice.out / name,
        settings,
        lambda run: run_stability(experiment, subspace, config, seeds, run),
    )
    print_table(result)
    print(f"run: {folder}")
    if file and experiment.processes.is_main:
        summary = {key: result[key] for key in ("columns", "rows", "digest", "by_seed")}
        write_summary(file, summary, experiment.seed)


def print_deviations(recipe: str) -> None:
    """Print where a recipe differs from what it is named after."""
    # What a recipe cannot take at this scale must be read before its figures are.
    for text in preset(recipe).get("deviations", ()):
        print(f"recipe {recipe}, deviation: {text}")
