"""Templates (Jinja) that turn a row into text, filled where they cannot reach any code."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Template


def sandbox(filters: Mapping[str, Callable[..., Any]]) -> Any:
    """Return an environment for templates: no attribute reaches code, a missing name is an error.

    filters: functions that its templates may use, by name.
    """
    from jinja2 import StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    # Task files come from anywhere: they are data, and must not be able to run something.
    environment = SandboxedEnvironment(undefined=StrictUndefined)
    environment.filters.update(filters)
    return environment


def fill(rule: str, row: Mapping[str, Any], source: str) -> Any:
    """Return a column where the rule is its name, else the rule filled as a template.

    source: file and row, the start of every error.

    Raises ValueError where there is no such column, or the template cannot be filled.
    """
    from jinja2 import TemplateError

    # A column comes first, whatever its name looks like; its value keeps its type.
    if rule in row:
        return row[rule]
    # Without a brace it is no template, but the name of a column that is mistyped.
    if "{" not in rule:
        raise ValueError(f"{source}: no column {rule!r}; there are {', '.join(row)}")
    try:
        return _template(rule).render(row)
    except TemplateError as error:
        columns = ", ".join(row)
        raise ValueError(
            f"{source}: {rule!r} cannot be filled ({error}); columns are {columns}"
        ) from error


@cache
def _template(rule: str) -> "Template":
    # Compiled once for all rows; an error of its syntax is raised for the first row.
    return sandbox({}).from_string(rule)
