"""IPT: a research toolkit for the intrinsic subspace of prompt tuning (arXiv 2110.07867).

A frozen pre-trained model does a task when few added numbers steer it: the task's delta. IPT asks
whether the deltas of many tasks lie near one surface of d dimensions. MSF finds that subspace from
tuned deltas of the seen tasks; IST then tunes only d numbers, a task's intrinsic vector, for tasks
that MSF has not seen.

    import ipt

    run = ipt.load_run("msf-1")  # runs/msf-1, made by `ipt msf --run msf-1`
    result = ipt.RunResult.from_json(run.result)
    for condition in ipt.CONDITIONS:
        scores = result.scores.get(condition.name, {})
        print(f"{condition.title}: scores of {len(scores)} tasks")
    subspace = ipt.Subspace.load(run.folder / "subspace")
    print(subspace.dim, "numbers for a task, found on", len(subspace.tasks), "tasks")

The same is done on the command line by `ipt msf`, `ipt ist` and `ipt runs`; see `ipt --help`.
Importing the package is quick: each name below is imported when it is first used.
"""

from importlib import import_module
from typing import Any

# Public names and where they are defined.
_MODULES = {
    "CONDITIONS": "ipt.results",
    "Run": "ipt.run",
    "RunResult": "ipt.results",
    "Subspace": "ipt.methods.subspace",
    "Task": "ipt.data",
    "load_run": "ipt.run",
}

# What `from ipt import *` and help(ipt) take.
__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    """Import a public name at its first use (PEP 562): most of them need torch, seconds to load."""
    # `from ipt import storage` comes here too: Python then imports the module itself.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(_MODULES[name])
    value = getattr(module, name)
    # The next use finds it without this function.
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the names that are here and those that are imported at their first use."""
    return sorted({*globals(), *__all__})
