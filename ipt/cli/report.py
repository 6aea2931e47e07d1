"""`ipt report`: finished runs as one HTML file, with the commands that make them again and those for what is missing.

The commands spell out every setting of a run's config.json, so that they mean the same when a default changes.
"""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from ipt.config import IST_PARTS, LEGACY_DEFAULTS, NOT_IN_IDENTITY, OUT, IstConfig, MsfConfig, TuneConfig
from ipt.run import Run, complete_runs

if TYPE_CHECKING:
    from ipt.analysis.report.views import View

Missing = tuple[str, list[str]]  # what the runs do not tell, and the commands that would
CODES = 6  # of a run, where its decoder is compared with those of other runs
PARTS = {  # what a run without a part of ipt ist does not say
    "same": "Seen tasks with the data that the subspace was found with",
    "diff": "Seen tasks with other data",
    "unseen": "Unseen tasks",
    "random": "A random subspace of equal d, as a control",
    "pca": "A PCA subspace of equal d, as a control",
    "mixture": "A mixture of seen prompts of equal d, as a control",
}


def report(
    *runs: Annotated[Path, Parameter(help="runs of ipt ist, by name below --out or by folder; without: the newest complete one")],
    out: Annotated[Path, Parameter(help=OUT)] = Path("runs"),
    file: Annotated[Path | None, Parameter(help="HTML file to write, OUT/report.html where not given")] = None,
) -> None:
    """Write one HTML file about runs: headline, figures, tables, settings, and what is missing; several stand side by side."""
    from ipt.analysis.report.page import write_page
    from ipt.analysis.report.views import read_views

    folders = [Run.find(run, out).folder for run in runs] or [newest(out)]
    views, path = with_tangents(read_views(folders)), file or out / "report.html"
    if path.suffix != ".html":
        raise ValueError(f"--file must end with .html, found {path}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figures = write_page(views, [c for view in views for c in commands_of(view)], missing(views), path)
    except OSError as error:
        raise ValueError(f"--file {path} cannot be written ({error.strerror}); choose another") from error
    print(f"report: {path}\nfigures: {figures}")


def with_tangents(views: "list[View]") -> "list[View]":
    """Return several views with their decoders' tangent spaces at six of their codes, a single one as it is."""
    if len(views) == 1:
        return views
    import torch

    from ipt.analysis.geometry import tangent_bases
    from ipt.methods.subspace import Subspace

    found = []
    for view in views:
        subspace = Subspace.load(view.msf.folder / "subspace").double()
        codes = view.points.vectors
        with torch.no_grad():
            decode = lambda z, subspace=subspace: subspace.decode(torch.as_tensor(z).double()).flatten(1).numpy()
            try:
                found.append(replace(view, tangents=tangent_bases(decode, codes[:: max(1, len(codes) // CODES)][:CODES])))
            except ValueError:  # fewer directions than d: there are no d angles to compare
                found.append(view)
    return found


def newest(out: Path) -> Path:
    """Return the newest complete IST run's folder; raise ValueError where there is none."""
    found = complete_runs(out, "ist")
    if not found:
        raise ValueError(f"{out} holds no complete IST run; run `ipt msf` and then `ipt ist`, or name another folder with --out")
    return found[-1].folder


def flags_of(config: type, kept: dict[str, Any], lead: str = "") -> list[str]:
    """Return a stage's settings as flags; what an older run does not name has the value that it had."""
    found: list[str] = []
    for name in (f.name for f in fields(config) if f.name not in NOT_IN_IDENTITY):
        value = kept.get(name, LEGACY_DEFAULTS.get(name))
        for item in value if isinstance(value, list) else [value]:
            found += [] if item is None else [f"--{lead}{name.replace('_', '-')}", str(item)]
    return found


def msf_command(view: "View", name: str, **changes: Any) -> str:
    """Return the command of a view's MSF run as a run of this name, with some settings changed."""
    kept = view.msf.settings | changes
    words = ["ipt", "msf", "--tasks", kept.get("tasks", kept["split"])]
    if kept.get("tasks") != kept["split"]:  # the split was drawn, or listed in a file
        words += ["--seen", str(len(kept["parts"]["seen"])), "--unseen", str(len(view.unseen))]
    for key in ("model", "dtype", "seed", "limit", "held_out"):
        words += [f"--{key.replace('_', '-')}", str(kept[key])] if kept.get(key) else []
    words += ["--as-published"] if kept.get("as_published") else []
    words += ["--prompts", "FOLDER"] if kept.get("given") else []  # which folder is not kept, the prompts' digest is
    words += flags_of(MsfConfig, kept["msf"]) + flags_of(TuneConfig, kept["tune"], "tune.")
    return shlex.join([*words, "--out", str(view.folder.parent), "--run", name])


def ist_command(view: "View", run: str, parts: Sequence[str] = (), verb: str = "ist", **changes: Any) -> str:
    """Return the command of a view's IST run in the subspace of this MSF run, with some settings changed."""
    kept = view.ist.settings | changes
    words = ["ipt", verb, "--dim", str(view.dim), *(["--limit", str(kept["limit"])] if kept["limit"] else [])]
    words += flags_of(IstConfig, kept["ist"]) + [word for part in parts for word in ("--part", part)]
    return shlex.join([*words, "--out", str(view.folder.parent), "--run", run])


def commands_of(view: "View") -> list[str]:
    """Return the commands that make a view's two runs again."""
    name = view.ist.settings["msf_run"]
    parts = [part for part, setting in IST_PARTS.items() if setting in view.by_condition]
    return [msf_command(view, name), ist_command(view, name, parts if len(parts) < len(IST_PARTS) else ())]


def missing(views: "Sequence[View]") -> list[Missing]:
    """Return what the runs do not tell, each with the commands that would."""
    found = [
        (view, item) for view in views for item in (*_settings(view), *_rows(view), *_seeds(view, views), *_stability(view), *_probe(view))
    ]
    return [(f"{view.label}: {what}" if len(views) > 1 else what, commands) for view, (what, commands) in found]


def _settings(view: "View") -> Iterator[Missing]:
    for part, what in PARTS.items():
        if IST_PARTS[part] not in view.by_condition and (view.unseen or part in ("same", "diff")):
            yield what, [ist_command(view, view.ist.settings["msf_run"], [part])]


def _rows(view: "View") -> Iterator[Missing]:
    if any(config["limit"] or config.get("held_out", "test") != "test" for config in (view.msf.settings, view.ist.settings)):
        name = f"{view.ist.settings['msf_run']}-all-rows"
        commands = [msf_command(view, name, limit=0, held_out="test"), ist_command(view, name, limit=0)]
        yield "Scores on all rows of the test sets", commands


def _seeds(view: "View", views: "Sequence[View]") -> Iterator[Missing]:
    seed, alike = view.ist.settings["seed"], (view.ist.settings["split"], view.dim)
    if any(v.ist.settings["seed"] != seed for v in views if (v.ist.settings["split"], v.dim) == alike):
        return
    name = f"{view.ist.settings['msf_run']}-seed{seed + 1}"
    commands = [msf_command(view, name, seed=seed + 1), ist_command(view, name)]
    yield "Further seeds: this page shows one", commands


def _stability(view: "View") -> Iterator[Missing]:
    source = view.ist.settings["msf_run"]
    if view.unseen and not view.stability:
        yield "How much unseen tasks’ scores depend on the seed", [ist_command(view, source, verb="stability")]


def _probe(view: "View") -> Iterator[Missing]:
    if view.probe is None and view.dim > 1:
        words = ["ipt", "probe", view.folder.name, "--out", str(view.folder.parent)]
        yield "The loss around a task’s numbers, and what they do for other tasks", [shlex.join(words)]
