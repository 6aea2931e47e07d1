"""`ipt runs plane`: what the model answers to one text, all over a plane of a run's codes."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from ipt.cli.options import Device, Flat, Out, RunName
from ipt.config import PlaneConfig
from ipt.run import chosen_run
from ipt.storage import write_sealed

TO = "file to write: .json, .png or .svg"
IN = "the run's own subspace, or a control, in which the three tasks are tuned first"
DOTS = 160  # per inch
MOST_SHOWN = 8


def plane(
    run: RunName = None,
    *,
    config: Annotated[PlaneConfig, Flat] = PlaneConfig(),
    subspace: Annotated[Literal["msf", "random", "pca"], Parameter(name="--in", help=IN)] = "msf",
    to: Annotated[Path, Parameter(help=TO)] = Path("plane.png"),
    out: Out = Path("runs"),
    device: Device = "auto",
) -> None:
    """Draw the model's answers to one text over the plane through three tasks' numbers."""
    from ipt.analysis.plots.plane import draw_plane
    from ipt.resolve import reopen_experiment
    from ipt.workflows.plane import in_control, plane_record, plane_text
    from ipt.workflows.walk import Walk

    if to.suffix not in (".json", ".png", ".svg"):
        raise ValueError(f"--to must end with .json, .png or .svg, found {to}")
    source = chosen_run(run, out, ("ist", "msf"))
    experiment = reopen_experiment(source.config, source.folder.parent, device=device)
    walk = Walk.open(source, experiment)
    text = plane_text(walk, config)
    if subspace != "msf":
        walk = in_control(walk, subspace, text.names)
    record = plane_record(walk, text, config.width, config.height)
    to.parent.mkdir(parents=True, exist_ok=True)
    if to.suffix == ".json":
        write_sealed(to, record)
    else:
        draw_plane(record).savefig(to, dpi=DOTS)
    print(f"plane: {to}\n{text.text}: {', '.join(record['answers'][:MOST_SHOWN])}")
