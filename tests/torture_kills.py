"""`ipt msf` and `ipt ist` in a toy world, killed at chosen renames, resumed, and compared bit by bit.

    python tests/torture_kills.py [TRIALS] [FIRST SEED]

Every file that a command writes ends with an `os.replace`, so these calls are all the moments at
which the folder changes. A kill is a SIGKILL before such a call, after it, or before it with half
of the draft written. `kill_trial(seed, ...)` draws one or two of them and returns what is different
afterwards: nothing, if all is well. The commands run in forks of one fresh process that has
imported everything, so that a trial takes seconds.
"""

import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

MOMENTS = ("before", "after", "torn")
PRELOAD = ["ipt.cli.app", "ipt.resolve", "ipt.workflows.ist", "ipt.analysis.scores", "conftest"]
LOG = "renames.txt"


class Kill(NamedTuple):
    """A SIGKILL at one of the renames of a run of both commands."""

    place: int  # counted from 0
    moment: str  # one of MOMENTS


@dataclass
class Trial:
    """What was done to a run, and what is different from an uninterrupted one."""

    kills: list[Kill]
    differences: list[str] = field(default_factory=list)


def commands(world: Path, out: Path) -> list[list[str]]:
    """Return the words of the two commands."""
    from conftest import ist_words, msf_words

    # A state after each step: as many renames as there can be.
    msf = msf_words(world, out, "--tune.checkpoint-seconds", "0", "--checkpoint-seconds", "0")
    parts = ("--on", "unseen", "--against", "mixture", "--on", "seen-other-data")
    return [msf, ist_words(out, *parts, "--checkpoint-seconds", "0")]


def run(world: Path, out: Path, kill: Kill | None = None) -> int:
    """Run both commands in a process of their own; return its exit code, -9 where it was killed.

    The targets of its renames are listed in `renames.txt` beside `out`.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    process = context.Process(target=_work, args=(commands(world, out), out.parent / LOG, kill))
    process.start()
    process.join()
    return process.exitcode


def _work(verbs: Sequence[Sequence[str]], log: Path, kill: Kill | None) -> None:
    """Do the commands, and end the process at the kill."""
    import torch

    from ipt.cli import app as cli

    torch.set_num_threads(1)
    replace = os.replace
    targets: list[str] = []

    def counted(source, target):
        place = len(targets)
        targets.append(str(target))
        if kill is None or place != kill.place:
            return replace(source, target)
        if kill.moment == "torn":
            os.truncate(source, os.path.getsize(source) // 2)
        if kill.moment == "after":
            replace(source, target)
        os.kill(os.getpid(), signal.SIGKILL)

    os.replace = counted
    for words in verbs:
        with open(os.devnull, "w") as sys.stdout, open(os.devnull, "w") as sys.stderr:
            code = cli.main(words)
        if code:
            os._exit(code)
    log.write_text("\n".join(targets))
    os._exit(0)


def uninterrupted(world: Path, folder: Path) -> list[str]:
    """Run both commands into `folder`/runs; return the targets of their renames, in their order."""
    code = run(world, folder / "runs")
    assert code == 0, f"the uninterrupted run ended with {code}"
    return (folder / LOG).read_text().splitlines()


def bank_writes(renames: Sequence[str]) -> list[int]:
    """Return the places of the renames that put a delta into a bank."""
    places = []
    for place, target in enumerate(renames):
        path = Path(target)
        is_delta = path.suffix == ".safetensors" and not path.name.startswith("checkpoint-")
        if path.parent.parent.name == "bank" and is_delta:
            places.append(place)
    return places


def kill_and_compare(world: Path, folder: Path, whole: Path, kills: Sequence[Kill]) -> Trial:
    """Kill a run in a new `folder` at each of the kills in turn, finish it, compare it to `whole`.

    whole: the folder of `uninterrupted`.
    """
    trial = Trial(list(kills))
    folder.mkdir()
    for kill in kills:
        # A resumed run has fewer renames: a kill may come too late.
        code = run(world, folder / "runs", kill)
        if code not in (0, -signal.SIGKILL):
            trial.differences.append(f"exit code {code} at {kill}")
    code = run(world, folder / "runs")
    if code:
        trial.differences.append(f"exit code {code} of the last run")
    trial.differences += differences(whole / "runs", folder / "runs")
    return trial


def kill_trial(seed: int, world: Path, folder: Path, whole: Path) -> Trial:
    """Draw one kill, or sometimes two, and see what is different afterwards."""
    drawn = random.Random(seed)
    count = len((whole / LOG).read_text().splitlines())
    kills = [Kill(drawn.randrange(count), drawn.choice(MOMENTS))]
    if drawn.random() < 1 / 3:
        # Of the resumed run, which has what is left.
        left = max(1, count - kills[0].place)
        kills.append(Kill(drawn.randrange(left), drawn.choice(MOMENTS)))
    return kill_and_compare(world, folder, whole, kills)


def differences(whole: Path, other: Path) -> list[str]:
    """Return a line for each file that only one folder has, or that differs in a single bit."""
    found = []
    ours = _files(whole)
    theirs = _files(other)
    for name in sorted(ours ^ theirs):
        where = "is missing" if name in ours else "is left over"
        found.append(f"{name} {where}")
    for name in sorted(ours & theirs):
        if not _is_same(whole / name, other / name):
            found.append(f"{name} differs")
    return found


def _files(folder: Path) -> set[str]:
    names = set()
    for path in folder.rglob("*"):
        # Locks have no content, and the system's release of one is not a file's.
        if path.is_file() and path.suffix != ".lock" and path.name != ".lock":
            names.add(str(path.relative_to(folder)))
    return names


def _is_same(path: Path, other: Path) -> bool:
    from small_runs import job_lines

    from ipt.storage import read_metadata, read_tensors, tensors_digest

    if path.suffix == ".jsonl":
        # A stage's stream tells the time: the lines of its jobs are compared.
        return job_lines(path) == job_lines(other)
    if path.suffix != ".safetensors":
        return path.read_bytes() == other.read_bytes()
    # Not byte by byte: the order of texts in the metadata is chance's.
    if read_metadata(path) != read_metadata(other):
        return False
    digests = [tensors_digest(read_tensors(each)[0]) for each in (path, other)]
    return digests[0] == digests[1]


def make_world(root: Path) -> Path:
    """Write the toy tasks and the model that was taught them; return their folder."""
    from fitted import save_tasks, save_taught

    shutil.copytree(save_taught(root / "taught"), root / "model")
    save_tasks(root / "tasks")
    return root


def main(trials: int, first_seed: int) -> int:
    """Do so many trials; print a line for each and the count; return 1 if one is different."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        world = make_world(root)
        (root / "whole").mkdir()
        uninterrupted(world, root / "whole")
        bad = 0
        for seed in range(first_seed, first_seed + trials):
            folder = root / f"trial-{seed}"
            trial = kill_trial(seed, world, folder, root / "whole")
            bad += bool(trial.differences)
            record = {"seed": seed, "kills": trial.kills, "differences": trial.differences}
            print(json.dumps(record), flush=True)
            shutil.rmtree(folder)
    print(f"{trials} trials, {trials - bad} identical, {bad} different")
    return int(bad > 0)


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]]
    sys.exit(main(*numbers, *[50, 0][len(numbers) :]))
