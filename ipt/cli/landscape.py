"""`ipt probe`: a subspace through the model, around and between the tasks of an IST run."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ipt.cli.options import Device, Flat, Out, RunName
from ipt.config import ProbeConfig
from ipt.results import RunResult
from ipt.run import EXAMPLE_FOLDER, chosen_run

TASK = "whose landscape; the unseen task with the middle recovery where not given"


def probe(
    run: RunName = None,
    *,
    task: Annotated[str, Parameter(help=TASK)] = "",
    out: Out = Path("runs"),
    device: Device = "auto",
    config: Annotated[ProbeConfig, Flat] = ProbeConfig(),
) -> None:
    """Measure loss landscape, curvature, transfer and decoded words of a run, for its page."""
    from ipt.resolve import load_subspace, reopen_experiment, require_no_heads
    from ipt.workflows.landscape import middle_task, run_probe

    source = chosen_run(run, out)
    # What is measured is written into the run's folder.
    if EXAMPLE_FOLDER in source.folder.parents:
        raise ValueError(
            f"the run that comes with ipt is not written into; `ipt runs pack example --to {out}` "
            "makes a copy that is"
        )
    record = source.result
    if record is None or record["kind"] != "ist":
        raise ValueError(
            f"{source.folder} is no complete run of ipt ist; "
            f"`ipt runs --out {out}` lists those that are there"
        )
    result = RunResult.from_json(record)
    chosen = task or middle_task(result)
    if chosen not in result.tasks:
        some = ", ".join(list(result.tasks)[:8])
        raise ValueError(f"--task {chosen} is not one of the run's: {some}, ...")

    experiment = reopen_experiment(source.config, source.folder.parent, device=device)
    require_no_heads(experiment, "ipt probe")
    subspace = load_subspace(source.source, experiment)
    if subspace.dim < 2:
        # The landscape is a plane through where IST ends and its two best starts.
        raise ValueError(
            f"{source.folder} has one number per task; a plane needs a run with --dim 2 or more"
        )
    run_probe(experiment, subspace, config, chosen, source)
    print(f"written: {source.folder / 'probe.json'}, {source.folder / 'probe.safetensors'}")
