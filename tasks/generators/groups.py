"""Several tasks over one distribution of inputs: the group holds the material they share."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Generic, TypeVar

from ipt.tasks.generators.recipe import Answers, Recipe, over

T = TypeVar("T")


@dataclass(frozen=True)
class Group(Generic[T]):
    """What tasks with the same inputs have in common."""

    inputs: str
    """Name of the distribution of the inputs."""
    subcategory: str
    source: str
    """Where words and facts come from."""
    material: Callable[[Random], T | None]
    """Draws what a row is about; None where the draw is not fair."""
    show: Callable[[T], str]
    """Writes the input."""
    entity: Callable[[T], str] = lambda _: ""
    """What train, dev and test must not share; "" is the input itself."""
    knowledge: bool = False
    """True if the answers are facts that examples of other rows do not give."""

    def free(
        self,
        name: str,
        answer: Callable[[T], Answers],
        *definitions: str,
        novel: bool = False,
    ) -> Recipe:
        """Make a task whose answer is written out and compared exactly.

        definitions: wordings of the instruction, the first is the task's definition.
        """
        return Recipe(
            name=name,
            category="non-cls",
            subcategory=self.subcategory,
            metric="exact-match",
            definitions=definitions,
            draw=over(self.material, self.show, answer, entity=self.entity),
            inputs=self.inputs,
            source=self.source,
            knowledge=self.knowledge,
            novel=novel,
        )

    def labelled(
        self,
        name: str,
        options: tuple[str, ...],
        answer: Callable[[T], str | None],
        *definitions: str,
        novel: bool = False,
    ) -> Recipe:
        """Make a classification task; the answer is one of `options`.

        definitions: wordings of the instruction, the first is the task's definition.
        """
        return Recipe(
            name=name,
            category="cls",
            subcategory=self.subcategory,
            metric="accuracy",
            definitions=definitions,
            draw=over(self.material, self.show, answer, entity=self.entity),
            inputs=self.inputs,
            source=self.source,
            options=options,
            knowledge=self.knowledge,
            novel=novel,
        )
