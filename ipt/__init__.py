"""IPT: a research toolkit for the intrinsic subspace of tuned models (arXiv 2110.07867).

A frozen pre-trained model does a task when few added numbers steer it: the task's delta. IPT asks
whether the deltas of many tasks lie near one surface of d dimensions. MSF finds that subspace from
tuned deltas of the seen tasks; IST then tunes only d numbers, a task's intrinsic vector, for tasks
that MSF has not seen.

    import ipt

    experiment = ipt.open_experiment(tasks="random-20", limit=5, tune={"steps": 60})
    deltas = ipt.tune(experiment)  # [20, P], a soft prompt for each seen task
    subspace = ipt.find_subspace(experiment, dim=5, steps=100)
    vectors = ipt.tune_vectors(experiment, subspace, steps=40)  # [20, 5], of unseen tasks
    scores = ipt.score(experiment, subspace.decode(vectors))
    print({name: score.generated for name, score in scores.items()})

The same is done on the command line by `ipt msf`, `ipt ist` and `ipt runs`; see `ipt --help`.
Importing the package is quick: each name below is imported when it is first used.
"""

from importlib import import_module
from importlib.metadata import version
from typing import Any

# What is installed, of which the package `ipt` is the import.
DISTRIBUTION = "intrinsic-prompt-tuning"
# Public names and where they are defined.
_MODULES = {
    "CONDITIONS": "ipt.results",
    "Run": "ipt.run",
    "RunResult": "ipt.results",
    "Subspace": "ipt.methods.subspace",
    "Walk": "ipt.workflows.walk",
    "answer": "ipt.api",
    "decode": "ipt.api",
    "dev_loss": "ipt.api",
    "find_subspace": "ipt.api",
    "load_run": "ipt.run",
    "open_experiment": "ipt.api",
    "open_walk": "ipt.api",
    "reopen_experiment": "ipt.api",
    "score": "ipt.api",
    "test_rows": "ipt.fewshot",
    "tune": "ipt.api",
    "tune_vectors": "ipt.api",
}

# What `from ipt import *` and help(ipt) take.
__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    """Import a public name at its first use (PEP 562): most of them need torch, seconds to load."""
    # Read from the installed distribution, so that the number stands in one place.
    if name == "__version__":
        return version(DISTRIBUTION)
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
