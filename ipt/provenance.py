"""What identifies a run, and settings as a command line."""

from collections.abc import Mapping
from typing import Any


def to_argv(settings: Mapping[str, Any]) -> list[str]:
    """Return settings as flags, in their order.

    settings: values by flag without its dashes, such as `tune.steps`; underscores are dashes. A
    list is a flag given once for each item, a truth value a flag alone; None is left out.
    """
    argv = []
    for name, value in settings.items():
        flag = name.replace("_", "-")
        # A flag that is not said keeps its default.
        if value is None:
            continue
        if isinstance(value, bool):
            # The parser takes no value for these.
            argv.append(f"--{flag}" if value else f"--no-{flag}")
            continue

        items = value if isinstance(value, (list, tuple)) else [value]
        for item in items:
            argv += [f"--{flag}", str(item)]
    return argv
