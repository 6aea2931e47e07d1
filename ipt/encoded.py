"""A task's few-shot sets as tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ipt.backbones.base import Backbone, Encoded
from ipt.data import Example, Task
from ipt.fewshot import few_shot

Part = Literal["dev", "test"]


@dataclass(frozen=True)
class EncodedTask:
    """A task's sets for one data seed, with their tokens."""

    task: Task
    data_seed: int
    test_examples: tuple[Example, ...]
    dev_examples: tuple[Example, ...]
    train: tuple[Encoded, ...]
    dev: tuple[Encoded, ...]
    test: tuple[Encoded, ...]
    options: tuple[Encoded, ...]
    """The labels of a classification task, else none."""
    max_tokens: int
    """Longest answer to generate, see `answer_limit`."""

    @classmethod
    def draw(
        cls,
        backbone: Backbone,
        task: Task,
        data_seed: int,
        shots: int | None = None,
        limit: int = 0,
        held_out: str = "test",
    ) -> "EncodedTask":
        """Draw and tokenize the sets.

        shots: K; None takes the task's own.
        limit: above 0, so many test rows are kept.
        held_out: "dev" puts the dev set in the test's place.
        """
        sets = few_shot(task, data_seed, shots)
        test = sets.dev if held_out == "dev" else sets.test
        if limit:
            test = test[:limit]
        train_rows = _encode(backbone, sets.train)
        dev_rows = _encode(backbone, sets.dev)
        options: tuple[Encoded, ...] = ()
        if task.category == "cls" and task.options:
            options = tuple(backbone.encode(task.options, task.options))
        return cls(
            task=task,
            data_seed=data_seed,
            test_examples=test,
            dev_examples=sets.dev,
            train=train_rows,
            dev=dev_rows,
            test=_encode(backbone, test),
            options=options,
            max_tokens=answer_limit([*train_rows, *dev_rows, *options]),
        )

    def rows(self, part: Part) -> tuple[Encoded, ...]:
        """Return the tokens of the dev or of the test set."""
        return self.dev if part == "dev" else self.test

    def examples(self, part: Part) -> tuple[Example, ...]:
        """Return the examples of the dev or of the test set."""
        return self.dev_examples if part == "dev" else self.test_examples


def answer_limit(rows: Sequence[Encoded]) -> int:
    """Return how many tokens an answer may have: half as many again as the longest of these rows.

    Rounded up to a power of 2: few different limits, so that tasks share batches.
    """
    longest = max(len(row.label_ids) for row in rows)
    return 1 << (longest + longest // 2 - 1).bit_length()


def _encode(backbone: Backbone, examples: Sequence[Example]) -> tuple[Encoded, ...]:
    inputs = [example.input for example in examples]
    answers = [example.output[0] for example in examples]
    return tuple(backbone.encode(inputs, answers))
