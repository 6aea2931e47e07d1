"""Make the lists of tasks that the studies `heads-*` and `real-*` read.

`python -m ipt.analysis.heads_data DATA FOLDER`: DATA holds the folders fewglue, tagging, qa and
real-tasks; FOLDER gets a link to each and the list files beside them.

Of the real tasks those with labels are taken that have at most eight of them and 600 examples, one
of each subcategory: the first by name, then the second of each, until there are 32. In the order of
their names every fourth is unseen. The list real-cls has all tasks with labels but those that were
looked at before the protocol was written.
"""

import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# ReCoRD is left out: its rows have up to twenty options of 256 tokens.
CHOICES = ["copa"]
LABELS = ["boolq", "cb", "multirc", "rte", "wsc", "wic"]
LISTS = {
    "superglue": ("fewglue", sorted(CHOICES + LABELS)),
    "superglue-cls": ("fewglue", LABELS),
    "wnut": ("tagging", ["ner_wnut17"]),
    "tagging": ("tagging", ["ner_uner_ewt", "ner_wnut17", "pos_ewt", "srl_ewt"]),
    "qa": ("qa", ["squad2", "xquad.en"]),
}
FOLDERS = ("fewglue", "tagging", "qa", "real-tasks")
LOOKED_AT = {"mpqa", "sst2", "trec"}
MOST_LABELS = 8
FEWEST_ROWS = 600
COUNT = 32
UNSEEN = 4  # every fourth


def main(data: Path, folder: Path) -> None:
    """Write links and lists; raise ValueError where a folder of data is missing."""
    missing = [name for name in FOLDERS if not (data / name).is_dir()]
    if missing:
        raise ValueError(f"{data} must hold the folders {', '.join(FOLDERS)}; missing: {missing}")
    folder.mkdir(parents=True, exist_ok=True)
    for name in FOLDERS:
        link = folder / name
        link.unlink(missing_ok=True)
        link.symlink_to((data / name).resolve(), target_is_directory=True)
    for name, (tasks, seen) in LISTS.items():
        write_list(folder / f"{name}.json", {"tasks": tasks, "seen": seen})

    chosen = classification_tasks(folder / "real-tasks")
    unseen = chosen[UNSEEN - 1 :: UNSEEN]
    seen = [name for name in chosen if name not in unseen]
    write_list(folder / "cls.json", {"tasks": "real-tasks", "seen": seen, "unseen": unseen})
    everything = [task["name"] for task in tasks_with_labels(folder / "real-tasks")]
    left = [name for name in everything if name not in LOOKED_AT]
    write_list(folder / "real-cls.json", {"tasks": "real-tasks", "seen": left})


def classification_tasks(folder: Path) -> list[str]:
    """Return the names of the tasks that the rule takes, sorted."""
    by_subcategory: dict[str, list[str]] = {}
    for task in tasks_with_labels(folder):
        labels = task.get("options") or []
        if len(labels) <= MOST_LABELS and len(task["examples"]) >= FEWEST_ROWS:
            by_subcategory.setdefault(task["subcategory"], []).append(task["name"])
    order = []
    for subcategory, names in by_subcategory.items():
        for turn, name in enumerate(names):
            order.append((turn, subcategory, name))
    return sorted(name for _, _, name in sorted(order)[:COUNT])


def tasks_with_labels(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the classification tasks as their files have them, by name."""
    for path in sorted(folder.glob("*.json.gz")):
        task = json.loads(gzip.decompress(path.read_bytes()))
        if task["category"] == "cls":
            yield task


def write_list(path: Path, record: dict[str, object]) -> None:
    """Write a list of tasks."""
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf8")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    except ValueError as error:
        sys.exit(str(error))
