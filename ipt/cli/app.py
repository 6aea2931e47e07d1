"""The verbs of the command line; the only place where names become objects and the layers meet.

torch and transformers are imported where a verb needs them, so that help and lists come at once.
Flags derive from the dataclasses of `ipt.config`. Order: default < preset < --config file < flag.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter

from ipt.cli.models import Flat, Out, SummaryFile, bench, convert, export, predict, pretrain, print_quality, probe, score
from ipt.cli.options import flags_before
from ipt.cli.report import report
from ipt.cli.runs import new_table, print_list, runs_app, show, show_table, tasks_app
from ipt.config import DEVIATIONS, DRY_RUN, IST_PARTS, PARTS, RECIPE, ChoiceConfig, IstConfig, MsfConfig, TuneConfig, WorkConfig, identity
from ipt.data import DIFF_DATA_SEED, NAME
from ipt.progress import is_main_process
from ipt.run import Run
from ipt.storage import write_json

Work = Annotated[WorkConfig, Flat]
Name = Annotated[str, Parameter(help="name of the run folder; chosen from the settings where empty")]
Recipe = Annotated[Literal["ours", "paper"], Parameter(help=RECIPE)]
DryRun = Annotated[bool, Parameter(help=DRY_RUN)]

app = App(
    name="ipt",
    help="Find and use the intrinsic subspace of soft prompts (Qin et al., arXiv 2110.07867).",
    suppress_keyboard_interrupt=False,  # main answers it
)
app.command(tasks_app)
app.command(runs_app)
for verb in (report, probe, pretrain, export, predict, convert, score, bench):
    app.command(verb)


@app.command
def tune(
    *,
    work: Work = WorkConfig(),
    more_seeds: Annotated[tuple[int, ...], Parameter(help="further seeds, each one more job per task and rate in the same run")] = (),
    file: SummaryFile = None,
    tune: Annotated[TuneConfig, Flat] = TuneConfig(),
) -> None:
    """Tune one soft prompt per task (and seed) and print their test scores, averaged over the seeds."""
    from ipt.analysis.spread import spread_text
    from ipt.data import SAME_DATA_SEED
    from ipt.resolve import open_experiment, projected

    experiment = open_experiment(work, tune)
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
        table.add_row(name, experiment.tasks[name].metric, spread_text(generated, 3), spread_text(ranked, 3), f"{best[name]:.3f}")
    print_list(table)
    tuned = [t for b in experiments.values() for task in b.of(names) if (t := b.bank(SAME_DATA_SEED).get(task))]
    losses = {name: sum(t.dev_loss for t in tuned[i :: len(names)]) / len(experiments) for i, name in enumerate(names)}
    print_quality("prompt tuning", experiment.of(names), values, best, work.seed, file if experiment.processes.is_main else None, losses)
    for b in experiments.values():
        print(f"prompts: {b.bank(SAME_DATA_SEED).folder}")


@app.command
def msf(
    *, work: Work = WorkConfig(), run: Name = "", recipe: Recipe = "ours", msf: Annotated[MsfConfig, Flat] = MsfConfig(),
    tune: TuneConfig = TuneConfig(),
) -> None:  # fmt: skip
    """Find the subspace of the seen tasks' prompts (prompts that are missing are tuned first) and score it."""
    from ipt.data import SAME_DATA_SEED
    from ipt.experiment import run_msf
    from ipt.resolve import digest, open_experiment, projected, settings_record

    _deviations(recipe)
    experiment = open_experiment(work, tune)
    size = tune.prompt_length * experiment.backbone.hidden_size
    if msf.dim >= size:
        raise ValueError(f"--dim must be below a prompt's {size} numbers (prompt length x hidden size), found {msf.dim}")
    names = list(experiment.split.all)
    missing = len(experiment.missing(names, SAME_DATA_SEED))
    if projected(experiment, work.dry_run, {"tune": missing, "msf": 2}, msf=msf):
        return
    if run and not NAME.fullmatch(run):
        raise ValueError(f"--run is the name of a folder below --out, letters, digits and . _ + -, found {run!r}")
    settings = settings_record("msf", experiment, {"msf": identity(msf)})
    name = run or f"msf-{experiment.split.name}-d{msf.dim}-s{experiment.seed}-{digest(settings)}"
    folder, result = experiment.in_run(work.out / name, settings, lambda folder: run_msf(experiment, msf, folder))
    if experiment.processes.is_main:
        show([folder], [result])
    print(f"next: ipt ist --dim {msf.dim} --out {work.out}")


@app.command
def ist(
    *, choice: Annotated[ChoiceConfig, Flat] = ChoiceConfig(), recipe: Recipe = "ours",
    part: Annotated[tuple[Literal["same", "diff", "unseen", "random", "pca", "mixture"], ...], Parameter(help=PARTS)] = (),
    ist: Annotated[IstConfig, Flat] = IstConfig(),
) -> None:  # fmt: skip
    """Tune `dim` numbers per task in a subspace that `ipt msf` found, and print the table of recoveries."""
    from ipt.experiment import run_ist
    from ipt.methods.subspace import Subspace
    from ipt.resolve import digest, find_msf, ist_jobs, projected, reopen_experiment, settings_record, source_record

    _deviations(recipe)
    source = find_msf(choice)
    experiment = reopen_experiment(source.config, choice.out, choice.limit, choice.device)
    size = f"prompt length {experiment.tune.prompt_length}, hidden size {experiment.backbone.hidden_size}"
    print(f"subspace: {source.folder} (inherited: {size}, backbone {experiment.backbone.name}, {experiment.backbone.dtype})")
    subspace = Subspace.load(source.folder / "subspace").to(experiment.backbone.device)
    parts = {name: setting for name, setting in IST_PARTS.items() if name in (part or IST_PARTS)}
    settings = settings_record("ist", experiment, {"ist": identity(ist)} | source_record(source))
    path = choice.out / f"ist-{experiment.split.name}-d{choice.dim}-s{experiment.seed}-{digest(settings)}"
    todo = experiment.processes.on_main_process(lambda: Run(path).lacking(parts))
    missing = len(experiment.missing(experiment.split.seen, DIFF_DATA_SEED)) if "diff" in todo else 0
    if projected(experiment, choice.dry_run, {"tune": missing, "ist": ist_jobs(experiment.split, todo)}, ist=ist):
        return
    folder, result = experiment.in_run(path, settings, lambda run: run_ist(experiment, subspace, ist, run, parts), parts)
    if experiment.processes.is_main:
        show([source.folder, folder], [source.result or {}, result])


@app.command
def stability(
    *, choice: Annotated[ChoiceConfig, Flat] = ChoiceConfig(), recipe: Recipe = "ours",
    runs: Annotated[int, Parameter(help="how many seeds, from the subspace's own on")] = 10,
    ist: Annotated[IstConfig, Flat] = IstConfig(), file: SummaryFile = None,
) -> None:  # fmt: skip
    """Tune the unseen tasks with many seeds: prompt tuning, IST, mixtures, prompt tuning from these two; compare their spread."""
    from ipt.analysis.summaries import text_table
    from ipt.data import SAME_DATA_SEED
    from ipt.methods.subspace import Subspace
    from ipt.resolve import digest, find_msf, projected, reopen_experiment, settings_record, source_record
    from ipt.workflows.stability import run_stability

    if runs < 2:
        raise ValueError(f"--runs must be at least 2 for a spread, found {runs}")
    source = find_msf(choice)
    experiment = reopen_experiment(source.config, choice.out, choice.limit, choice.device)
    subspace = Subspace.load(source.folder / "subspace").to(experiment.backbone.device)
    seeds, names = list(range(experiment.seed, experiment.seed + runs)), [*experiment.split.unseen, *experiment.split.out_of_kind]
    missing = sum(len(replace(experiment, seed=seed).missing(names, SAME_DATA_SEED)) for seed in seeds)
    jobs = {"tune": missing + 2 * runs * len(names), "ist": 2 * runs * len(names)}
    if projected(experiment, choice.dry_run, jobs, ist=ist):
        return
    settings = settings_record("stability", experiment, {"ist": identity(ist), "seeds": seeds} | source_record(source))
    name = f"stability-{experiment.split.name}-d{choice.dim}-s{experiment.seed}-{digest(settings)}"
    folder, result = experiment.in_run(choice.out / name, settings, lambda run: run_stability(experiment, subspace, ist, seeds, run))
    show_table(text_table(result))
    print(f"run: {folder}")
    if file and experiment.processes.is_main:
        kept = {k: result[k] for k in ("kind", "rows", "digest", "by_seed")}
        write_json(file, kept | {"command": " ".join(["ipt", *sys.argv[1:]]), "seed": experiment.seed})


@app.command
def study(
    file: Annotated[Path, Parameter(help="cells with their flags, as the README shows under Studies")], *, out: Out = Path("runs"),
    to: Annotated[Path, Parameter(help="folder of the figures, a JSON file a cell")] = Path("results"),
    only: Annotated[str, Parameter(help="names of the cells to do, with * and ?")] = "*", dry_run: DryRun = False,
) -> None:  # fmt: skip
    """Fill a table of many MSF and IST runs from a short file (JSON, TOML, YAML); the same command goes on where it was stopped."""
    from ipt.cli.study import run_study

    run_study(file, out, to, only, dry_run, _parsed, lambda words: app(words + flags_before(words), exit_on_error=False, print_error=False))


def _parsed(words: list[str]) -> dict[str, Any]:
    """Return what a command line says, by parameter, without doing it."""
    _, bound, _ = app.parse_args(words + flags_before(words), exit_on_error=False, print_error=False)
    bound.apply_defaults()
    return dict(bound.arguments)


def _deviations(recipe: str) -> None:
    for text in DEVIATIONS[recipe]:
        print(f"recipe {recipe}, deviation: {text}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; a user's mistake ends with one line on standard error and exit code 2."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not is_main_process():
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    try:
        words += flags_before(words)
        app(words, exit_on_error=False, print_error=False, result_action="return_value")
    except (CycloptsError, ValueError) as error:
        if is_main_process():
            print(f"ipt: {_sentence(error)}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read the output has left (`ipt runs | head`)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
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
            from ipt.distributed import shutdown

            shutdown()
    return 0


def _sentence(error: Exception) -> str:
    """Return an error as one line; an impossible value is reported by the configuration's own words."""
    cause = error.__cause__ if isinstance(error, CycloptsError) and isinstance(error.__cause__, ValueError) else error
    return " ".join(str(cause).split())


if __name__ == "__main__":
    sys.exit(main())
