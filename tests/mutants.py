"""Plant small faults in the modules that make numbers, one at a time, and see which ones the tests find (`make mutants`).

The faults are mutmut's own (its operators on libcst's tree): a number plus one, `<` for `<=`, `+` for `-`, an argument left out,
a value replaced by None, a branch forced. Texts are left alone, and so is what a `raise` says. A child process runs the tests of a
module with the fault in memory only: no file is changed, and torch is imported once for all of them. mutmut's own runner
leaves out decorated functions, which here are all under torch.no_grad, and tests a copy of the files.

Each fault is a line of OUT/mutants.jsonl as soon as it is tried, so a killed run goes on; a fault that the tests did not find is
tried again when a test file has changed. `--table` writes results/mutants.json and docs/mutants.md.
"""

import argparse
import contextlib
import difflib
import hashlib
import importlib.util
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType

os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider
from mutant_table import TESTS, page
from mutmut.mutation.mutators import mutation_operators, operator_string
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

ROOT = Path(__file__).parents[1]
REASONS = ROOT / "tests" / "equivalent.toml"
SKIPPED = "not sigkill and not launch and not heavy and not another_process"  # they start processes, which have no fault


@dataclass(frozen=True)
class Mutant:
    """A module with one fault."""

    module: str  # path from the root
    line: int
    change: str  # the lines taken out and put in
    key: (
        str  # of the change and the lines around it: what changes elsewhere in the module leaves it
    )
    source: str


class Faults(cst.CSTVisitor):
    """Collects every fault of a module as (line, node, node with the fault)."""

    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self) -> None:
        self.found: list[tuple[int, cst.CSTNode, cst.CSTNode]] = []

    def on_visit(self, node: cst.CSTNode) -> bool:
        if isinstance(
            node, cst.Raise | cst.Decorator | cst.Annotation | cst.Import | cst.ImportFrom
        ):
            return False
        if (
            isinstance(node, cst.Lambda)
            and isinstance(node.body, cst.Name)
            and node.body.value == "None"
        ):
            return False  # a progress bar that is not there
        for kind, operator in mutation_operators:
            if isinstance(node, kind) and operator is not operator_string:
                line = self.get_metadata(PositionProvider, node).start.line
                self.found += [(line, node, changed) for changed in operator(node)]
        return True


def plant(module: str, count: int, seed: int) -> list[Mutant]:
    """Return a module's faults in a random order of this seed, `count` at most (0: all)."""
    source = (ROOT / module).read_text(encoding="utf8")
    wrapper = MetadataWrapper(cst.parse_module(source))
    faults = Faults()
    wrapper.visit(faults)
    order = random.Random(f"{module}{seed}").sample(faults.found, len(faults.found))
    mutants: dict[str, Mutant] = {}
    for line, node, changed in order:
        if count and len(mutants) == count:
            break
        text = wrapper.module.deep_replace(node, changed).code  # type: ignore[union-attr]
        with contextlib.suppress(SyntaxError):
            compile(text, module, "exec")
            if without_guards(text) != without_guards(source):
                around = module + difference(source, text, 3)
                key = hashlib.sha256(around.encode()).hexdigest()[:16]
                mutants.setdefault(key, Mutant(module, line, difference(source, text), key, text))
    return list(mutants.values())


def without_guards(source: str) -> str:
    """Return a source without `device=`, which shows where there are several, and `strict=`, which shows after another fault."""
    return re.sub(r",\s*\)", ")", re.sub(r",?\s*(device|strict)=[\w.]+", "", source))


def difference(before: str, after: str, around: int = 0) -> str:
    """Return the changed lines, - before and + after, and so many lines around them."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=around, lineterm="")
    return "\n".join(line for line in lines if line[:3] not in ("---", "+++", "@@ "))


class Faulty(SourceFileLoader):
    """Loads a module with other source than its file has."""

    def __init__(self, name: str, path: str, source: str) -> None:
        super().__init__(name, path)
        self.source = source

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.source, self.path, "exec")


class Finder:
    """Finds one module, the faulty one."""

    def __init__(self, mutant: Mutant) -> None:
        dotted = mutant.module.removesuffix(".py").replace("/", ".")
        # `tasks` and `analysis` lie beside the package and are imported as parts of it.
        self.name = dotted if dotted.startswith("ipt.") else f"ipt.{dotted}"
        self.loader = Faulty(self.name, str(ROOT / mutant.module), mutant.source)

    def find_spec(self, fullname: str, path: object, target: object = None) -> object:
        if fullname != self.name:
            return None
        return importlib.util.spec_from_file_location(
            fullname, self.loader.path, loader=self.loader
        )


def files_of(module: str) -> list[Path]:
    files = [ROOT / "tests" / f"test_{name}.py" for name in TESTS[module]]
    return [path for path in files if path.exists()]


def start_child(mutant: Mutant, log: Path, seconds: int) -> int:
    """Fork a process that runs the module's tests with the fault; it exits with pytest's code."""
    child = os.fork()
    if child:
        return child
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(descriptor, stream)
        import pytest

        sys.meta_path.insert(0, Finder(mutant))  # type: ignore[arg-type]
        files = [str(path) for path in files_of(mutant.module)]
        code = pytest.main(
            [*files, "-o", "addopts=", "-x", "-q", "-k", SKIPPED, "--no-header", "--tb=line"]
        )
        sys.stdout.flush()
        os._exit(int(code))
    finally:
        os._exit(99)


def outcome_of(status: int) -> str:
    """Say what a child's end means: tests that pass did not find the fault."""
    if os.WIFSIGNALED(status):
        return "timeout" if os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL) else "found"
    return "survived" if os.WEXITSTATUS(status) == 0 else "found"


def import_libraries() -> None:
    """Import what the tests need beside the package itself, once for all children."""
    for name in (
        "pytest", "hypothesis", "torch", "numpy", "scipy.stats", "sklearn.decomposition", "sklearn.metrics", "transformers",
        "transformers.models.t5.modeling_t5", "transformers.models.mt5.modeling_mt5", "peft", "datasets", "matplotlib.pyplot",
        "huggingface_hub", "cyclopts", "rich.table",
    ):  # fmt: skip
        importlib.import_module(name)


def digest_of_tests() -> str:
    content = b"".join(
        path.read_bytes()
        for path in sorted((ROOT / "tests").glob("*.py"))
        if path != Path(__file__)
    )
    return hashlib.sha256(content).hexdigest()[:16]


def read_lines(path: Path) -> dict[str, dict[str, object]]:
    """Return the last line of each fault that was tried."""
    lines = path.read_text(encoding="utf8").splitlines() if path.exists() else []
    return {record["key"]: record for record in map(json.loads, lines)}


def baseline(module: str, out: Path) -> int:
    """Return the seconds of CPU that a fault's tests may take; raise ValueError where they fail without a fault."""
    began = time.monotonic()
    log = out / "baseline.txt"
    source = (ROOT / module).read_text(encoding="utf8")
    _, status = os.waitpid(start_child(Mutant(module, 0, "", "", source), log, 1200), 0)
    if status:
        raise ValueError(f"the tests of {module} fail without a fault: see {log}")
    return 20 + 4 * int(time.monotonic() - began)


def attempt(
    mutants: list[Mutant], seconds: int, out: Path, jobs: int
) -> Iterator[tuple[Mutant, str, float]]:
    """Run the children, so many at once, and yield each fault with its outcome and the time it took."""
    waiting, running = list(mutants), {}
    while waiting or running:
        while waiting and len(running) < jobs:
            mutant = waiting.pop(0)
            running[start_child(mutant, out / f"{mutant.key}.txt", seconds)] = (
                mutant,
                time.monotonic(),
            )
        for child, (_, began) in list(running.items()):
            if time.monotonic() - began > 10 * seconds:  # it waits for something that never comes
                os.kill(child, signal.SIGKILL)
        child, status = os.waitpid(-1, os.WNOHANG)
        if not child:
            time.sleep(0.02)
            continue
        mutant, began = running.pop(child)
        outcome = outcome_of(status)
        if outcome != "survived":
            (out / f"{mutant.key}.txt").unlink(missing_ok=True)
        yield mutant, outcome, time.monotonic() - began


def run(modules: list[str], count: int, seed: int, out: Path, jobs: int) -> None:
    """Try the faults of these modules that were not tried yet, or that older tests did not find."""
    out.mkdir(parents=True, exist_ok=True)
    path, tests = out / "mutants.jsonl", digest_of_tests()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with (
        Progress(*columns, disable=not sys.stderr.isatty()) as bar,
        path.open("a", encoding="utf8") as lines,
    ):
        for module in modules:
            planted, tried = plant(module, count, seed), read_lines(path)
            todo = []
            for mutant in planted:
                record = tried.get(mutant.key)
                if not record or (record["outcome"] == "survived" and record["tests"] != tests):
                    todo.append(mutant)
            task = bar.add_task(module, total=len(todo))
            outcomes = {
                key: tried[key]["outcome"] for key in (m.key for m in planted) if key in tried
            }
            for mutant, outcome, seconds in (
                attempt(todo, baseline(module, out), out, jobs) if todo else ()
            ):
                outcomes[mutant.key] = outcome
                record = {
                    "key": mutant.key, "module": module, "line": mutant.line, "change": mutant.change, "outcome": outcome,
                    "tests": tests, "seconds": round(seconds, 1),
                }  # fmt: skip
                lines.write(json.dumps(record, ensure_ascii=False) + "\n")
                lines.flush()
                bar.advance(task)
                if outcome == "survived":
                    bar.console.print(
                        f"{module}:{mutant.line}  {mutant.key}\n{mutant.change}",
                        markup=False,
                        soft_wrap=True,
                    )
            found = sum(outcome != "survived" for outcome in outcomes.values())
            bar.console.print(f"{module}: {found} of {len(planted)} found", markup=False)


def summary(count: int, seed: int, out: Path) -> dict[str, object]:
    """Return what the table shows: faults planted and found by module, and each that was not found."""
    tried = read_lines(out / "mutants.jsonl")
    reasons = tomllib.loads(REASONS.read_text(encoding="utf8")) if REASONS.exists() else {}
    modules, survivors = {}, []
    for module in TESTS:
        records = [
            tried[mutant.key] for mutant in plant(module, count, seed) if mutant.key in tried
        ]
        missed = [record for record in records if record["outcome"] == "survived"]
        equivalent = [record for record in missed if record["key"] in reasons]
        modules[module] = {
            "planted": len(records),
            "found": len(records) - len(missed),
            "equivalent": len(equivalent),
        }
        for record in missed:
            reason = reasons.get(record["key"], "")
            survivors.append(
                {name: record[name] for name in ("key", "module", "line", "change")}
                | {"reason": reason}
            )
    revision = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True
    ).stdout.strip()
    record = {"sample": count, "seed": seed, "revision": revision}
    return record | {"modules": modules, "survivors": survivors}


def main() -> None:
    parser = argparse.ArgumentParser(description="Plant faults and see which ones the tests find.")
    parser.add_argument("modules", nargs="*", help="such as ipt/training/loop.py; all if not given")
    parser.add_argument("--sample", type=int, default=60, help="faults of a module, 0: all")
    parser.add_argument("--seed", type=int, default=0, help="which faults")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "mutants")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--table", action="store_true", help="run nothing, write the table")
    options = parser.parse_args()
    unknown = sorted(set(options.modules) - set(TESTS))
    if unknown:
        parser.error(f"no tests are named for {', '.join(unknown)}; known: {', '.join(TESTS)}")
    if options.table:
        result = summary(options.sample, options.seed, options.out)
        (ROOT / "results" / "mutants.json").write_text(
            json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf8"
        )
        (ROOT / "docs" / "mutants.md").write_text(page(result), encoding="utf8")
        return
    import_libraries()
    run(options.modules or list(TESTS), options.sample, options.seed, options.out, options.jobs)


if __name__ == "__main__":
    main()
