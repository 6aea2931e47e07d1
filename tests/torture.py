"""Bad input, damaged files, full disks and kills, and what becomes of each (`make torture`).

Every attempt is a command in a process of its own, with bounds on time and memory. Each is a line
of OUT/torture.jsonl as soon as it has ended, so that a stopped campaign goes on. `--table` writes
results/torture.json and the table of docs/promised.md.
"""

import argparse
import fcntl
import json
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}

from torture_inputs import RIGHT, Attempt, attempts, tune_words
from torture_kills import kill_trial, make_world, uninterrupted

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "promised.md"
RESULT = ROOT / "results" / "torture.json"
SECONDS = 60  # of a command's own time; twice as much on the clock
BYTES = 24 * 2**30  # of address space, most of which the libraries map and do not use
DISK_SIZES = (0, 100, 1_000, 4_000, 20_000, 100_000)  # most bytes of a file
BAD = ("silently different", "trace", "hang", "no line", "taken")
INPUTS = ("flags", "names", "task files", "templates", "settings", "models", "lines")
PARTS = (*INPUTS, "damaged files", "full disks", "kills")
# What the parser says of words that are wrong in the campaign itself.
MISSED = "specified multiple times|needs the extra|requires an argument"
MARK_START, MARK_END = "<!-- campaign -->\n", "<!-- end -->"


class Started(NamedTuple):
    """A process, and the reading end of a pipe with what it says."""

    process: int
    errors: int


def start(
    words: Sequence[str],
    folder: Path,
    standard_input: bytes = b"",
    most_bytes: int | None = None,
) -> Started:
    """Fork a process that runs a command inside the folder.

    most_bytes: of a file, as a full disk; None for no bound.
    """
    (folder / "in").write_bytes(standard_input)
    # A pipe, as a full disk must not hide what is said; with room for all of it.
    errors, end = os.pipe()
    fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, 2**20)
    child = os.fork()
    if child:
        os.close(end)
        return Started(child, errors)
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 5))
        resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
        os.dup2(os.open(folder / "in", os.O_RDONLY), 0)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(end, 2)
        if most_bytes is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
        os.chdir(folder)
        from ipt.cli.app import main

        # Streams of the forking process would write into its own files.
        sys.stdin = open(0, encoding="utf8", errors="strict")  # noqa: SIM115
        sys.stdout = open(1, "w", encoding="utf8")  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf8", errors="backslashreplace")  # noqa: SIM115
        code = main(list(words))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    except BaseException:
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(1)


def wait(started: Started) -> tuple[int | None, str]:
    """Return the exit code, negative for a signal, and what the process said.

    The code is None for a process that did not end in time.
    """
    code = exit_code(started.process)
    with open(started.errors, encoding="utf8", errors="replace") as errors:
        return code, errors.read()


def exit_code(process: int) -> int | None:
    """Return the exit code of a process, None where it did not end in time."""
    began = time.monotonic()
    while True:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            return None if code in (-signal.SIGXCPU, -signal.SIGKILL) else code
        if time.monotonic() - began > 2 * SECONDS:
            os.killpg(process, signal.SIGKILL)
            os.waitpid(process, 0)
            return None
        time.sleep(0.01)


def ending(code: int | None, text: str) -> tuple[str, str]:
    """Say what a command ended in, and its line: refused, accepted, or one of `BAD`."""
    said = [line for line in text.splitlines() if line.startswith("ipt: ")]
    line = said[-1] if said else text[-300:]
    if code is None:
        return "hang", line
    if "Traceback (most recent call last)" in text or code in (1, 70) or code < 0:
        return "trace", line
    if code == 0:
        return "accepted", ""
    assert not re.search(MISSED, line), f"an attempt that tries nothing: {line}"
    return ("refused" if len(said) == 1 else "no line"), line


def judge(attempt: Attempt, folder: Path, control: Any) -> dict[str, str]:
    """Do an attempt inside an empty folder; return what it ended in.

    control: the scores that undamaged runs have.
    """
    try:
        words = attempt.prepare(folder)
        outcome, line = ending(*wait(start(words, folder, attempt.standard_input)))
    except ValueError as error:
        # What no command line can hold, such as a zero byte, never reaches the command.
        outcome, line = "refused", str(error)
    if outcome == "accepted" and attempt.expected == "refused":
        outcome = "taken"
    if outcome == "accepted" and attempt.expected == RIGHT:
        outcome = "right" if scores_in(folder / "runs") == control else "silently different"
    return {"part": attempt.part, "name": attempt.name, "outcome": outcome, "line": line[:200]}


def scores_in(out: Path) -> Any:
    """Return the scores of every run of a folder, by its name."""
    found = {}
    for path in sorted(out.glob("*/result.json")):
        record = json.loads(path.read_text(encoding="utf8"))
        found[path.parent.name] = {name: record[name] for name in ("scores", "reference", "floor")}
    return found


def full_disk(world: Path, folder: Path, most_bytes: int, control: Any) -> dict[str, str]:
    """Run `ipt tune` where no file may be longer, then again without the bound."""
    words = [*tune_words(world, folder / "runs"), "--file", str(folder / "summary.json")]
    outcome, line = ending(*wait(start(words, folder, most_bytes=most_bytes)))
    if outcome in ("refused", "accepted"):
        again, line_again = ending(*wait(start(words, folder)))
        if again != "accepted":
            outcome, line = again, line_again
        elif json.loads((folder / "summary.json").read_text())["digest"] != control:
            outcome = "silently different"
        else:
            outcome = "right"
    return {"part": "full disks", "name": f"{most_bytes} bytes", "outcome": outcome, "line": line}


def killed(world: Path, whole: Path, folder: Path, seed: int) -> dict[str, str]:
    """Kill both commands at a write that the seed draws, finish them, and compare every bit."""
    trial = kill_trial(seed, world, folder / "killed", whole)
    outcome = "silently different" if trial.differences else "right"
    line = "; ".join(trial.differences)
    return {"part": "kills", "name": f"seed {seed}", "outcome": outcome, "line": line[:200]}


class Campaign:
    """The attempts that have ended, a line each in a file."""

    def __init__(self, out: Path) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.path = out / "torture.jsonl"
        self.done: dict[tuple[str, str], dict[str, str]] = {}
        if self.path.exists():
            for line in self.path.read_text(encoding="utf8").splitlines():
                record = json.loads(line)
                self.done[record["part"], record["name"]] = record

    def add(self, record: dict[str, str]) -> None:
        self.done[record["part"], record["name"]] = record
        with self.path.open("a", encoding="utf8") as lines:
            lines.write(json.dumps(record) + "\n")
        if record["outcome"] in BAD:
            print(f"{record['part']}: {record['name']}: {record['outcome']}: {record['line']}")


def import_libraries() -> None:
    """Import what the commands need, once for all forks."""
    import datasets  # noqa: F401
    import jinja2  # noqa: F401
    import transformers.models.t5.modeling_t5  # noqa: F401

    import ipt.cli.app
    import ipt.resolve
    import ipt.workflows.ist  # noqa: F401

    datasets.disable_progress_bars()


def run(out: Path, kills: int, only: str) -> None:
    """Do what was not done yet."""
    campaign = Campaign(out)
    import_libraries()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        world = make_world(root / "world")
        whole = root / "whole"
        whole.mkdir()
        uninterrupted(world, whole)
        done = root / "done"
        done.mkdir()
        from conftest import ist_words, msf_words

        for words in (msf_words(world, done), ist_words(done)):
            code, said = wait(start(words, root))
            assert code == 0, said
        control = scores_in(done)
        for attempt in attempts(world, done):
            if only in attempt.part and (attempt.part, attempt.name) not in campaign.done:
                campaign.add(_in_a_folder(root, lambda f, a=attempt: judge(a, f, control)))

        words = [*tune_words(world, root / "tuned"), "--file", str(root / "summary.json")]
        code, said = wait(start(words, root))
        assert code == 0, said
        digest = json.loads((root / "summary.json").read_text())["digest"]
        for size in DISK_SIZES:
            if only in "full disks" and ("full disks", f"{size} bytes") not in campaign.done:
                campaign.add(_in_a_folder(root, lambda f, s=size: full_disk(world, f, s, digest)))
        for seed in range(kills):
            if only in "kills" and ("kills", f"seed {seed}") not in campaign.done:
                campaign.add(_in_a_folder(root, lambda f, s=seed: killed(world, whole, f, s)))


def _in_a_folder(root: Path, work: Any) -> dict[str, str]:
    folder = root / "attempt"
    folder.mkdir()
    try:
        return work(folder)
    finally:
        shutil.rmtree(folder)


def summary(out: Path) -> dict[str, Any]:
    """Return how many attempts of each part ended in what, and each that ended badly."""
    parts: dict[str, Counter[str]] = {}
    bad = []
    for record in Campaign(out).done.values():
        parts.setdefault(record["part"], Counter())[record["outcome"]] += 1
        if record["outcome"] in BAD:
            bad.append(record)
    return {"command": "make torture", "parts": parts, "bad": bad}


def table(result: dict[str, Any]) -> str:
    """Return the table of docs/promised.md."""
    heads = ["refused", "accepted", "right", *BAD]
    lines = [f"| part | attempts | {' | '.join(heads)} |", "| --- |" + " ---: |" * (1 + len(heads))]
    total: Counter[str] = Counter()
    for part in PARTS:
        counts = Counter(result["parts"].get(part, {}))
        total.update(counts)
        lines.append(_row(part, counts, heads))
    lines.append(_row("all", total, heads))
    return "\n".join(lines) + "\n"


def _row(name: str, counts: Counter[str], heads: Sequence[str]) -> str:
    numbers = [str(counts[head]) for head in heads]
    return f"| {name} | {sum(counts.values())} | {' | '.join(numbers)} |"


def page(text: str, result: dict[str, Any]) -> str:
    """Return the page's text with this result's table between its marks."""
    before, _, rest = text.partition(MARK_START)
    _, _, after = rest.partition(MARK_END)
    return f"{before}{MARK_START}{table(result)}{MARK_END}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Try bad input, damaged files, disks and kills.")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "torture")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--part", default="", help="only parts with this in their name")
    parser.add_argument("--table", action="store_true", help="run nothing, write the table")
    options = parser.parse_args()
    if options.table:
        result = summary(options.out)
        text = json.dumps(result, indent=1, ensure_ascii=False, sort_keys=True)
        RESULT.write_text(f"{text}\n", encoding="utf8")
        PAGE.write_text(page(PAGE.read_text(encoding="utf8"), result), encoding="utf8")
        return
    run(options.out, options.kills, options.part)


if __name__ == "__main__":
    main()
