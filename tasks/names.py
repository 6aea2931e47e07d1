"""Names that a user types: a pattern is matched, an unknown name is answered with close ones."""

from collections import Counter
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from fnmatch import filter as matching

LIST_COMMAND = "ipt tasks list"
MOST_LISTED = 20  # valid names that an error of one line lists


def check_name(
    name: str,
    valid: Iterable[str],
    what: str,
    command: str = LIST_COMMAND,
) -> str:
    """Return a name that is valid; raise ValueError with close ones where it is not.

    valid: every accepted name; the error lists them where they are few.
    what: the kind of name, for the error.
    command: what lists the valid names, for the error where they are many.
    """
    choices = list(valid)
    if name in choices:
        return name

    # Most of the signs alike: a letter too many or two swapped, but not just any name.
    message = f"unknown {what} {name!r}"
    close = get_close_matches(name, choices, n=3, cutoff=0.6)
    if close:
        message += f"; did you mean {' or '.join(close)}?"

    # A suite has too many tasks for one line of an error, its splits fit.
    if len(choices) <= MOST_LISTED:
        message += f"; valid are: {', '.join(choices)}"
    else:
        message += f" ({len(choices)} are listed by: {command})"
    raise ValueError(message)


def match_tasks(
    pattern: str,
    tasks: Sequence[str],
    splits: Sequence[str],
    what: str,
    command: str = LIST_COMMAND,
) -> list[str]:
    """Return the tasks that a pattern with * and ? matches, in their order.

    tasks: names of all tasks.
    splits: names of the task splits: none is matched, but an error may propose one.
    what, command: as in `check_name`.

    Raises ValueError where nothing matches and the pattern is no split either.
    """
    matches = matching(tasks, pattern)
    # A name without * and ? is a pattern that matches itself.
    if not matches:
        check_name(
            pattern,
            valid=(*splits, *tasks),
            what=what,
            command=command,
        )
    return matches


def repeated_names(names: Iterable[str]) -> list[str]:
    """Return the names that occur more than once, each once, in the order of their first place."""
    counts = Counter(names)
    return [name for name, count in counts.items() if count > 1]
