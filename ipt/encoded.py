"""A task's few-shot sets as tokens."""

from dataclasses import dataclass

from ipt.backbones.base import Backbone, Encoded
from ipt.data import Example, Task
from ipt.fewshot import few_shot


@dataclass(frozen=True)
class EncodedTask:
    """A task's sets for one data seed, with their tokens.

    max_tokens: longest answer to generate, in tokens: the longest of train and dev and a half more, up to the next power of 2
        (few different lengths, so that tasks share batches).
    """

    task: Task
    data_seed: int
    test_examples: tuple[Example, ...]
    dev_examples: tuple[Example, ...]
    train: tuple[Encoded, ...]
    dev: tuple[Encoded, ...]
    test: tuple[Encoded, ...]
    options: tuple[Encoded, ...]
    max_tokens: int

    @classmethod
    def draw(
        cls, backbone: Backbone, task: Task, data_seed: int, shots: int | None = None, limit: int = 0, held_out: str = "test"
    ) -> "EncodedTask":
        """Draw and tokenise the sets; `limit` above 0 keeps that many test rows; held_out: "dev" puts the dev set in the test's place."""
        sets = few_shot(task, data_seed, shots)
        test = sets.dev if held_out == "dev" else sets.test
        test = test[:limit] if limit else test
        train, dev, held = (
            tuple(backbone.encode([e.input for e in part], [e.output[0] for e in part])) for part in (sets.train, sets.dev, test)
        )
        options = tuple(backbone.encode(task.options, task.options)) if task.category == "cls" and task.options else ()
        longest = max(len(row.label_ids) for row in (*train, *dev, *options))
        return cls(task, data_seed, test, sets.dev, train, dev, held, options, 1 << (longest + longest // 2 - 1).bit_length())
