"""What a family of generated tasks declares: one `Recipe` per task, drawn row by row from a seed.

A recipe is the source of two things: the finite rows that are shipped
(`ipt.tasks.generators.build`) and the endless stream that pre-trains the embedded backbone (`ipt
pretrain`). Needs the packages of the extra `suite`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TypeVar

T = TypeVar("T")
Answers = str | tuple[str, ...] | None  # one that is accepted, several, or none


@dataclass(frozen=True)
class Row:
    """One generated example."""

    input: str
    """The bare material, without any word of what to do with it."""
    answers: tuple[str, ...]
    """Every accepted answer; the first is the one trained on. A `cls` row has exactly one."""
    entity: str = ""
    """What train, dev and test must not share (a country, a lemma, a pair); "": the input."""


@dataclass(frozen=True)
class Recipe:
    """One generated task."""

    name: str
    category: str
    subcategory: str
    metric: str
    definitions: tuple[str, ...]
    """The instruction in words; the first is the task's `definition`, the others say the same.

    Pre-training shows all of them.
    """
    draw: Callable[[Random], Row | None]
    """Returns a fresh row from the generator it is given, None where the draw gives no fair one."""
    inputs: str
    """Name of the distribution of the inputs: tasks that share it cannot be told apart by them."""
    source: str
    """Where words and facts come from."""
    options: tuple[str, ...] | None = None
    """Labels of a cls task."""
    knowledge: bool = False
    """True if the answers are facts that examples of other rows do not give."""
    novel: bool = False
    """True if the embedded backbone is never pre-trained on this task in any form."""


def over(
    material: Callable[[Random], T | None],
    show: Callable[[T], str],
    answer: Callable[[T], Answers],
    entity: Callable[[T], str] = lambda _: "",
) -> Callable[[Random], Row | None]:
    """Return a draw of rows: material, the input that shows it, and the answer to it.

    Tasks made with the same material and the same `show` have the same distribution of inputs.

    material: draws what a row is about; None where the draw is not fair.
    show: writes the input.
    answer: writes the answer; None where there is no fair one.
    entity: what train, dev and test must not share; "" is the input itself.
    """

    def draw(rng: Random) -> Row | None:
        # Whoever draws tries again, so a frame may refuse what it cannot ask fairly.
        thing = material(rng)
        if thing is None:
            return None
        answers = answer(thing)
        if not answers:
            return None
        # Most tasks accept one answer.
        if isinstance(answers, str):
            answers = (answers,)
        return Row(show(thing), tuple(answers), entity(thing))

    return draw
