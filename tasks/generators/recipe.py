"""What a family of generated tasks declares: one `Recipe` per task, drawn row by row from a seeded generator.

A recipe is the source of two things: the finite rows that are shipped (`ipt.tasks.generators.build`) and the endless stream that
pre-trains the embedded backbone (`ipt pretrain`). Needs the packages of the extra `suite`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Row:
    """One generated example.

    input: the bare material, without any word of what to do with it.
    answers: every accepted answer; the first is the one trained on. A `cls` row has exactly one.
    entity: what must not be shared between train, dev and test (a country, a lemma, a pair); "" means the input.
    """

    input: str
    answers: tuple[str, ...]
    entity: str = ""


@dataclass(frozen=True)
class Recipe:
    """One generated task.

    definitions: the instruction in words; the first is the task's `definition`, the others say the same differently
        (pre-training shows all of them).
    draw: returns one fresh row from the generator it is given, or None where the draw does not make a fair row.
    inputs: name of the distribution the inputs come from; tasks with the same name cannot be told apart by their inputs.
    knowledge: True if the answers are facts that examples of other rows do not give.
    novel: True if the embedded backbone is never pre-trained on this task in any form.
    """

    name: str
    category: str
    subcategory: str
    metric: str
    definitions: tuple[str, ...]
    draw: Callable[[Random], Row | None]
    inputs: str
    source: str
    options: tuple[str, ...] | None = None
    knowledge: bool = False
    novel: bool = False


def over(
    material: Callable[[Random], T | None],
    show: Callable[[T], str],
    answer: Callable[[T], str | tuple[str, ...] | None],
    entity: Callable[[T], str] = lambda _: "",
) -> Callable[[Random], Row | None]:
    """Return a draw: tasks made with the same material and the same `show` have the same distribution of inputs.

    A draw is None where the material or the answer is.
    """

    def draw(rng: Random) -> Row | None:
        thing = material(rng)
        found = None if thing is None else answer(thing)
        if thing is None or not found:
            return None
        return Row(show(thing), (found,) if isinstance(found, str) else tuple(found), entity(thing))

    return draw
