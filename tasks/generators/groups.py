"""Several tasks over one distribution of inputs: a `Group` holds the material, its tasks differ in what is asked."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Generic, TypeVar

from ipt.tasks.generators.recipe import Recipe, over

T = TypeVar("T")


@dataclass(frozen=True)
class Group(Generic[T]):
    """What tasks with the same inputs have in common.

    show: writes the input; entity: what train and test must not share ("" means the input itself).
    """

    inputs: str
    subcategory: str
    source: str
    material: Callable[[Random], T | None]
    show: Callable[[T], str]
    entity: Callable[[T], str] = lambda _: ""
    knowledge: bool = False

    def free(self, name: str, answer: Callable[[T], str | tuple[str, ...] | None], *definitions: str, novel: bool = False) -> Recipe:
        """Make a task whose answer is written out and compared exactly."""
        draw = over(self.material, self.show, answer, self.entity)
        return Recipe(
            name, "non-cls", self.subcategory, "exact-match", definitions, draw, self.inputs, self.source,
            knowledge=self.knowledge, novel=novel,
        )  # fmt: skip

    def labelled(
        self, name: str, options: tuple[str, ...], answer: Callable[[T], str | None], *definitions: str,
        novel: bool = False,
    ) -> Recipe:  # fmt: skip
        """Make a classification task; the answer is one of `options`."""
        draw = over(self.material, self.show, answer, self.entity)
        return Recipe(
            name, "cls", self.subcategory, "accuracy", definitions, draw, self.inputs, self.source, options,
            self.knowledge, novel,
        )  # fmt: skip
