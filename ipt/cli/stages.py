"""The stages: `ipt tune`, `ipt msf`, `ipt ist`, `ipt stability`.

Each verb opens what it works on, says how long the work will take, calls its workflow and prints.
"""

import shlex
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from ipt.cli.options import (
    By,
    Choice,
    Flat,
    Ist,
    Msf,
    PartFlags,
    Recipe,
    RunFlags,
    SummaryFile,
    Track,
    Tune,
    Work,
    preset,
    say_renamed,
)
from ipt.cli.output import print_recovery, print_stability, print_tuning
from ipt.cli.tuner_flags import NO_FLAGS, TunerFlags, with_tuner
from ipt.config import (
    MOST_AT_ONCE,
    MOST_SEED,
    ChoiceConfig,
    IstConfig,
    MsfConfig,
    TuneConfig,
    WorkConfig,
    require_number,
)
from ipt.data import NAME_PATTERN
from ipt.progress import say_loading
from ipt.provenance import to_argv
from ipt.run import BANK, Run

if TYPE_CHECKING:
    from ipt.estimate import Estimate
    from ipt.experiment import Experiment

NO_RUN_FLAGS = RunFlags()
NO_PARTS = PartFlags()
MORE_SEEDS = "further seeds, each one more job per task and rate in the same run"
SEEDS = "how many seeds, from the subspace's own on"


def tune(
    *,
    work: Work = WorkConfig(),
    tuner: TunerFlags = NO_FLAGS,
    more_seeds: Annotated[tuple[int, ...], Parameter(help=MORE_SEEDS)] = (),
    file: SummaryFile = None,
    track: Track = (),
    config: Tune = TuneConfig(),
) -> None:
    """Tune one delta per task (and seed); out come test scores, averaged over the seeds."""
    say_loading(work.model)
    from ipt.bank import open_bank
    from ipt.data import SAME_DATA_SEED
    from ipt.estimate import announce
    from ipt.resolve import open_experiment
    from ipt.tracking import Tracked, require_trackers, tracked
    from ipt.workflows.tuning import estimate_tuning, run_tuning

    require_trackers(track)

    work = with_tuner(work, tuner)
    seeds = (work.seed, *more_seeds)
    for seed in more_seeds:
        require_number("more_seeds", seed, int, MOST_SEED)
    if min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise ValueError(
            "--more-seeds must be other seeds than --seed and each other, from 0 on, "
            f"found {list(seeds)}"
        )
    experiment = open_experiment(work, config)
    cost = estimate_tuning(experiment, seeds)
    announce(experiment, cost, work.preset, smaller("tune", work))
    if work.dry_run:
        print_rows(cost)
        return
    reporter = experiment.reporter
    folder = open_bank(experiment, SAME_DATA_SEED).folder
    what = Tracked(folder, group=folder.name, job="tune")
    sending = tracked(track if experiment.processes.is_main else (), what, reporter.note)
    with reporter.stages(cost.stages), sending:
        result = run_tuning(experiment, seeds)
    print_tuning(result, file if experiment.processes.is_main else None, work.seed)


def msf(
    *,
    work: Work = WorkConfig(),
    tuner: TunerFlags = NO_FLAGS,
    flags: Annotated[RunFlags, Flat] = NO_RUN_FLAGS,
    recipe: Recipe = "ours",
    config: Msf = MsfConfig(),
    tune: TuneConfig = TuneConfig(),
) -> None:
    """Find the subspace of the seen tasks' deltas, tuned first; out come a run and its scores."""
    say_loading(work.model)
    from ipt.estimate import announce
    from ipt.resolve import open_experiment
    from ipt.tracking import require_trackers
    from ipt.workflows.msf import estimate_msf, plan_msf, resolve_config, run_msf

    require_trackers(flags.track)

    work = with_tuner(work, tuner)
    run = flags.run
    # A name would otherwise be refused after the work is planned.
    if run and (not NAME_PATTERN.fullmatch(run) or run.lower() == BANK):
        raise ValueError(
            "--run is the name of a folder below --out, letters, digits and . _ + -, but not "
            f"{BANK}, which holds the tuned deltas; found {run!r}"
        )
    print_deviations(recipe)
    experiment = open_experiment(work, tune)
    config = resolve_config(experiment, config)
    cost = estimate_msf(experiment, config)
    announce(experiment, cost, work.preset, smaller("msf", work))
    if work.dry_run:
        print_rows(cost)
        return
    plan = plan_msf(experiment, config, run)

    def work_on(folder: Run) -> None:
        with sending(flags.track, experiment, folder, "msf", group=folder.folder.name):
            run_msf(experiment, config, folder)

    with experiment.reporter.stages(cost.stages):
        finished = plan.finish(work_on)
    if experiment.processes.is_main:
        print_recovery([finished.folder])
    print(f"next: {next_ist(work, recipe, config.dim, finished.folder.name)}")


def ist(
    *,
    choice: Choice = ChoiceConfig(),
    recipe: Recipe = "ours",
    parts: Annotated[PartFlags, Flat] = NO_PARTS,
    by: By = "settings",
    track: Track = (),
    config: Ist = IstConfig(),
) -> None:
    """Tune d numbers per task in a subspace of `ipt msf`; out comes the table of recoveries."""
    say_loading("the model")
    from ipt.estimate import announce
    from ipt.resolve import find_msf, load_subspace, reopen_experiment
    from ipt.results import conditions_of_parts, parts_of_flags
    from ipt.tracking import require_trackers
    from ipt.workflows.ist import estimate_ist, plan_ist, run_ist

    require_trackers(track)

    print_deviations(recipe)
    source = find_msf(choice)
    experiment = reopen_experiment(source.config, choice.out, choice.limit, choice.device)
    print(f"subspace: {source.folder} (inherited: {inherited(experiment)})")
    subspace = load_subspace(source, experiment)
    if parts.part:
        say_renamed("--part", "--on and --against")
    named = parts_of_flags(parts.on, parts.against)
    conditions = conditions_of_parts((*named, *parts.part))
    plan = plan_ist(experiment, config, source, conditions)
    cost = estimate_ist(experiment, config, plan.path, conditions, choice.dim)
    less = "" if choice.preset == "quick" else "ipt ist --preset quick: fewer steps"
    announce(experiment, cost, choice.preset, less)
    if choice.dry_run:
        print_rows(cost)
        return

    def work_on(run: Run) -> None:
        with sending(track, experiment, run, "ist", group=source.folder.name):
            run_ist(experiment, subspace, config, run, conditions)

    with experiment.reporter.stages(cost.stages):
        finished = plan.finish(work_on)
    if experiment.processes.is_main:
        print_recovery([source.folder, finished.folder], by)
        for command in after_ist(finished, experiment.unseen):
            print(f"next: {command}")


def stability(
    *,
    choice: Choice = ChoiceConfig(),
    recipe: Recipe = "ours",
    runs: Annotated[int, Parameter(help=SEEDS)] = 10,
    config: Ist = IstConfig(),
    file: SummaryFile = None,
) -> None:
    """Tune the unseen tasks with many seeds in five ways; out comes how far scores spread.

    The ways: tuning, IST, mixtures of seen deltas, and tuning from these two.
    """
    say_loading("the model")
    from ipt.estimate import announce
    from ipt.resolve import find_msf, load_subspace, reopen_experiment, require_no_heads
    from ipt.workflows.stability import estimate_stability, plan_stability, run_stability

    if runs < 2:
        # The spread is a standard deviation with n - 1.
        raise ValueError(f"--runs must be at least 2 for a spread, found {runs}")
    require_number("runs", runs, int, MOST_AT_ONCE)
    print_deviations(recipe)
    source = find_msf(choice)
    experiment = reopen_experiment(source.config, choice.out, choice.limit, choice.device)
    require_no_heads(experiment, "ipt stability")
    subspace = load_subspace(source, experiment)
    seeds = list(range(experiment.seed, experiment.seed + runs))
    announce(experiment, estimate_stability(experiment, config, seeds), choice.preset)
    if choice.dry_run:
        return
    plan = plan_stability(experiment, config, source, seeds)
    finished = plan.finish(lambda run: run_stability(experiment, subspace, config, seeds, run))
    print_stability(finished, file if experiment.processes.is_main else None, experiment.seed)


def sending(
    track: Sequence[str],
    experiment: "Experiment",
    run: Run,
    job: str,
    group: str,
) -> AbstractContextManager[None]:
    """Return a context in which what a run writes is sent to trackers, by the first process."""
    from ipt.bank import open_bank
    from ipt.data import DIFF_DATA_SEED, SAME_DATA_SEED
    from ipt.tracking import Tracked, tracked

    banks = []
    for data_seed in (SAME_DATA_SEED, DIFF_DATA_SEED):
        banks.append(open_bank(experiment, data_seed).folder)
    what = Tracked(run.folder, group, job, tuple(banks))
    return tracked(track if experiment.processes.is_main else (), what, experiment.reporter.note)


def smaller(verb: str, work: WorkConfig) -> str:
    """Return a command of less work than this one; empty: there is none to name."""
    flags: dict[str, Any] = {}
    if work.preset != "quick":
        flags["preset"] = "quick"
    if work.tasks == WorkConfig().tasks:
        flags["tasks"] = "random-20"
    if not flags and work.limit == 0:
        flags["limit"] = 20
    return shlex.join(["ipt", verb, *to_argv(flags)]) if flags else ""


def print_rows(cost: "Estimate") -> None:
    """Print what each stage would read and write, for --dry-run."""
    for line in cost.rows():
        print(line)


def next_ist(work: WorkConfig, recipe: str, dim: int, run: str) -> str:
    """Return the command of IST in the subspace of this MSF run, with the run's own settings."""
    # What IST does not read from the run; what was not said is left out, as it was.
    own = {
        "recipe": (recipe, "ours"),
        "preset": (work.preset, "default"),
        "limit": (work.limit, 0),
        "device": (work.device, "auto"),
    }
    settings: dict[str, Any] = {"dim": dim}
    for name, (value, default) in own.items():
        if value != default:
            settings[name] = value
    settings |= {"out": work.out, "run": run}
    # Quoted for a shell: names of folders may hold spaces.
    return shlex.join(["ipt", "ist", *to_argv(settings)])


def after_ist(run: Run, unseen: Sequence[str]) -> list[str]:
    """Return the commands that show a finished IST run: its page, and answers of an unseen task."""
    out = str(run.folder.parent)
    name = run.folder.name
    commands = [shlex.join(["ipt", "report", name, "--out", out])]
    result = run.result
    assert result is not None
    # A run of controls alone has no numbers to answer with.
    if "test" in result["scores"] and unseen:
        flags = {"run": name, "task": unseen[0], "out": out}
        commands.append(shlex.join(["ipt", "predict", "TEXT", *to_argv(flags)]))
    return commands


def inherited(experiment: "Experiment") -> str:
    """Return what a later stage takes from the run that it reads."""
    backbone = experiment.backbone
    return (
        f"{experiment.model.tuner.description}, hidden size {backbone.hidden_size}, "
        f"backbone {backbone.name}, {backbone.dtype}"
    )


def print_deviations(recipe: str) -> None:
    """Print where a recipe differs from what it is named after."""
    # What a recipe cannot take at this scale must be read before its figures are.
    for text in preset(recipe).get("deviations", ()):
        print(f"recipe {recipe}, deviation: {text}")
