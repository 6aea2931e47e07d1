"""Templates (Jinja) that turn a row into text, filled where they cannot reach any code."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Template

    from ipt.tasks.readers.bounded import BoundedEnvironment

MOST_NAMED = 20  # columns that an error lists
MOST_SHOWN = 200  # characters of a template, or of what is wrong with it, in an error


def sandbox(filters: Mapping[str, Callable[..., Any]]) -> Any:
    """Return an environment for templates: no attribute reaches code, a missing name is an error.

    filters: functions that its templates may use, by name.
    """
    from jinja2 import StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    # For templates of our own tables. Those of a user's files have bounds beside (`fill`).
    environment = SandboxedEnvironment(undefined=StrictUndefined)
    environment.filters.update(filters)
    return environment


def fill(rule: str, row: Mapping[str, Any], source: str, in_lists: bool = False) -> Any:
    """Return a column where the rule is its name, else the rule filled as a template.

    source: file and row, the start of every error.
    in_lists: whether a null in a list or an object may be shown with it, as None.

    Raises ValueError where there is no such column, or the template cannot be filled.
    """
    # A column comes first, whatever its name looks like; its value keeps its type.
    if rule in row:
        return row[rule]
    # Without a brace it is no template, but the name of a column that is mistyped.
    if "{" not in rule:
        raise ValueError(f"{source}: no column {rule!r:.{MOST_SHOWN}}; there are {columns(row)}")

    # Task files come from anywhere: they are data, and must neither run something nor go on for
    # ever. What a template can raise is whatever Python can.
    try:
        return _environment().fill(_template(rule), rule, row, in_lists)
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"{source}: {rule!r:.{MOST_SHOWN}} cannot be filled ({reason:.{MOST_SHOWN}}); "
            f"columns are {columns(row)}"
        ) from error


def columns(row: Mapping[str, Any]) -> str:
    """Return the names of a row's columns, the first of them where they are many."""
    names = [f"{name:.60}" for name in row]
    if len(names) > MOST_NAMED:
        names = [*names[:MOST_NAMED], "..."]
    return ", ".join(names)


@cache
def _environment() -> "BoundedEnvironment":
    # Late: with Jinja, which most commands do without.
    from ipt.tasks.readers.bounded import BoundedEnvironment

    return BoundedEnvironment()


@cache
def _template(rule: str) -> "Template":
    # Compiled once for all rows; an error of its syntax is raised for the first row.
    return _environment().compiled(rule)
