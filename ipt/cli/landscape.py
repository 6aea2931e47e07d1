"""`ipt probe`: a subspace through the model, around and between the tasks of an IST run."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from ipt.cli.options import Device, Flat, Out
from ipt.config import IstConfig, ProbeConfig, restored
from ipt.run import Run

RUN = "run of ipt ist: its folder, or its name below --out"
TASK = "whose landscape; the unseen task with the middle recovery where not given"


def probe(
    run: Annotated[Path, Parameter(help=RUN)],
    *,
    task: Annotated[str, Parameter(help=TASK)] = "",
    out: Out = Path("runs"),
    device: Device = "auto",
    config: Annotated[ProbeConfig, Flat] = ProbeConfig(),
) -> None:
    """Look at an IST run through the model: loss landscape, curvature, transfer, decoded words."""
    from ipt.methods.subspace import Subspace
    from ipt.resolve import reopen_experiment
    from ipt.storage import read_tensors
    from ipt.workflows.landscape import run_probe

    source = Run.find(run, out)
    result = source.result
    if result is None or result["kind"] != "ist":
        raise ValueError(
            f"{source.folder} is no complete run of ipt ist; "
            f"`ipt runs --out {out}` lists those that are there"
        )
    chosen = task or middle_task(result)
    if chosen not in result["tasks"]:
        some = ", ".join(list(result["tasks"])[:8])
        raise ValueError(f"--task {chosen} is not one of the run's: {some}, ...")

    experiment = reopen_experiment(source.config, source.folder.parent, device=device)
    folder = source.folder.parent / source.config["msf_run"] / "subspace"
    subspace = Subspace.load(folder).to(experiment.backbone.device)
    if subspace.dim < 2:
        # The landscape is a plane through where IST ends and its two best starts.
        raise ValueError(
            f"{source.folder} has one number per task; a plane needs a run with --dim 2 or more"
        )
    vectors = read_tensors(source.folder / "vectors.safetensors")[0]
    ist = restored(IstConfig, source.config["ist"])
    run_probe(experiment, subspace, ist, vectors, config, chosen, source)
    print(f"written: {source.folder / 'probe.json'}, {source.folder / 'probe.safetensors'}")


def middle_task(result: dict[str, Any]) -> str:
    """Return the unseen task whose recovery is the middle one, the first seen task where no unseen one was tuned."""
    scores, reference = result["scores"].get("test", {}), result["reference"]["100"]
    shares = {n: s["generated"] / reference[n]["generated"] for n, s in scores.items() if reference[n]["generated"] > 0}
    order = sorted(shares, key=lambda name: shares[name])
    return order[len(order) // 2] if order else str(result["split"]["seen"][0])
