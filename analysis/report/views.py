"""A finished IST run with the MSF run it stands on, read once for a page: results, settings, vectors, and what its tasks recover."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ipt.analysis.scores import TITLES, Line, lines, per_task, read_pair
from ipt.recovery import relative_score
from ipt.results import RunResult
from ipt.run import complete_runs
from ipt.storage import read_json, read_tensors

SEEN, UNSEEN = ("train_diff", "train_same", "train_msf"), ("test", "test_msf")  # the first that a run has stands for a task
NOWHERE = float("nan")
ALIKE = ("model", "dtype", "limit", "held_out")  # settings that runs of one line share, beside those of the stages


@dataclass(frozen=True)
class View:
    """What a page shows of one run.

    results, records: of the MSF run and of the IST run: what they measured, and config.json; vectors: [T, d] by setting.
    probe: what `ipt probe` left in the IST run's folder, its words and its arrays by name; empty where it was not called.
    stability: the result of the newest complete `ipt stability` in the same subspace, beside the run; empty where there is none.
    tangents: [S, n * h, d], orthonormal bases of the decoder's tangent spaces at S of the codes; empty where only one run is shown.
    """

    folder: Path
    label: str
    results: Sequence[RunResult]
    records: Sequence[dict[str, Any]]
    vectors: dict[str, np.ndarray]
    probe: tuple[dict[str, Any], dict[str, np.ndarray]] = ({}, {})
    stability: dict[str, Any] = field(default_factory=dict)
    tangents: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 0)))

    @property
    def settings(self) -> list[dict[str, Any]]:
        return [record["config"] for record in self.records]

    @cached_property
    def tasks(self) -> dict[str, dict[str, Any]]:
        return {name: asdict(task) for name, task in self.results[-1].tasks.items()}

    @property
    def sizes(self) -> dict[str, int]:
        """What recovery is drawn against, by the axis' name; 0 shots are the default, which differs between kinds of tasks."""
        seen, shots = len(self.names) - len(self.unseen), self.settings[0]["tune"]["shots"] or 0
        return {"intrinsic dimension d": self.results[-1].dim, "seen tasks": seen, "shots (per class, or in all)": shots}

    @property
    def kin(self) -> str:
        """Name what runs share that differ in their sizes and seeds alone: the kind of tasks and every other setting."""
        msf, ist = self.settings
        kept = [without(msf["msf"], "dim"), without(msf["tune"], "shots"), ist["ist"], *(msf.get(key) for key in ALIKE)]
        return f"{self.family} {json.dumps(kept, sort_keys=True)}"

    @property
    def family(self) -> str:
        """Return the split's name without the number of its seen tasks."""
        return re.sub(r"-\d+$", "", self.settings[0]["split"])

    @cached_property
    def unseen(self) -> list[str]:
        split = self.results[-1].split
        return [*split.unseen, *split.out_of_kind]

    @cached_property
    def names(self) -> list[str]:
        return [*self.results[-1].split.seen, *self.unseen]

    @cached_property
    def lines(self) -> list[Line]:
        return lines(self.results)

    @cached_property
    def by_task(self) -> dict[str, dict[str, dict[str, Any]]]:
        """The record of `per_task` by setting and task."""
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for record in per_task(self.results):
            found.setdefault(record["setting"], {})[record["task"]] = record
        return {setting: found[setting] for setting in TITLES if setting in found}

    def setting_of(self, name: str) -> str | None:
        """Return the setting that stands for a task: tuned numbers on other data or on an unseen task, where the run has them."""
        order = UNSEEN if name in self.unseen else SEEN
        return next((setting for setting in order if name in self.by_task.get(setting, {})), None)

    def record_of(self, name: str) -> dict[str, Any] | None:
        """Return the task's record in that setting, with its `recovery` (NaN where prompt tuning is not above 0)."""
        setting = self.setting_of(name)
        if setting is None:
            return None
        record = self.by_task[setting][name]
        score, reference = record["score"], record["reference"]
        return record | {"recovery": relative_score([score], [reference]) if reference > 0 else NOWHERE}

    def tip(self, name: str) -> str:
        """Return a task in a line: name, subcategory, part, recovery."""
        part = "unseen" if name in self.unseen else "seen"
        record = self.record_of(name)
        found = f"{TITLES[record['setting']]} {percent(record['recovery'])}" if record else "not scored"
        return " · ".join((name, self.tasks[name]["subcategory"] or "no subcategory", part, found))

    @cached_property
    def points(self) -> tuple[list[str], np.ndarray]:
        """The tasks that have a vector, and the vectors [T, d]: seen tasks on their own data (or other data), and unseen ones."""
        seen = next((self.vectors[s] for s in ("train_same", "train_diff") if s in self.vectors), None)
        parts = [(self.names[: len(self.names) - len(self.unseen)], seen), (self.unseen, self.vectors.get("test"))]
        there = [(names, found) for names, found in parts if found is not None]
        names = [name for group, _ in there for name in group]
        return names, np.concatenate([found for _, found in there]) if there else np.zeros((0, self.results[-1].dim))


def without(settings: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key != name}


def percent(share: float) -> str:
    return "–" if share != share else f"{100 * share:.1f}\u00a0%"


def arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the tensors of a file by name."""
    return {name: tensor.numpy() for name, tensor in read_tensors(path)[0].items()}


def read_views(folders: Sequence[Path]) -> list[View]:
    """Read IST runs, each with its MSF run; raise ValueError where one is unfinished or of another kind."""
    found = []
    for folder in folders:
        pair = read_pair(folder)
        records = [read_json(run.folder / "config.json") for run in pair]
        vectors, probed = arrays(folder / "vectors.safetensors"), folder / "probe.json"
        probe = (read_json(probed), arrays(folder / "probe.safetensors")) if probed.exists() else ({}, {})
        split, config = pair.ist.result.split.name, records[-1]["config"]
        label = f"{split}, d = {pair.ist.result.dim}, seed {config['seed']}"
        same = [r for r in complete_runs(folder.parent, "stability") if r.config["msf_run"] == config["msf_run"]]
        same = [r for r in same if "columns" not in (r.result or {})]  # texts, of an older version
        found.append(View(folder, label, pair.results, records, vectors, probe, (same[-1].result or {}) if same else {}))
    return _told_apart(found)


def _told_apart(views: list[View]) -> list[View]:
    """Return the views with labels that differ: in words where these do, else names of folders, else paths."""
    ways = ([v.label for v in views], [v.folder.name for v in views], [str(v.folder) for v in views])
    labels = next((way for way in ways if len(set(way)) == len(views)), None)
    if labels is None:
        raise ValueError(f"a run is named twice: {', '.join(v.folder.name for v in views)}; name each once")
    return [replace(view, label=label) for view, label in zip(views, labels, strict=True)]
