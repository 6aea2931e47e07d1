"""A task's few-shot sets as tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ipt.backbones.base import MAX_ANSWER, Backbone, Encoded
from ipt.data import Example, Task
from ipt.fewshot import few_shot
from ipt.metrics import normalise, score

# A score of the very same answer, but for rounding.
SAME = 0.999

Part = Literal["dev", "test"]


@dataclass(frozen=True)
class EncodedTask:
    """A task's sets for one data seed, with their tokens."""

    task: Task
    data_seed: int
    test_examples: tuple[Example, ...]  # those whose tokens stand in `test`, in this order
    dev_examples: tuple[Example, ...]
    train: tuple[Encoded, ...]
    dev: tuple[Encoded, ...]
    test: tuple[Encoded, ...]
    options: tuple[Encoded, ...]  # the labels of a classification task, else none
    max_tokens: int  # longest answer to generate, see `answer_limit`

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
        # Settings are chosen on dev sets alone, so that no choice has seen a test row.
        test = sets.dev if held_out == "dev" else sets.test
        if limit:
            test = test[:limit]

        train_rows = _encode(backbone, sets.train)
        dev_rows = _encode(backbone, sets.dev)
        test_rows = _encode(backbone, test)
        options: tuple[Encoded, ...] = ()
        if task.category == "cls" and task.options:
            # As inputs and as answers: only the answers are read.
            encoded = backbone.encode(task.options, task.options)
            options = tuple(encoded)

        # Test answers do not count: how long they are must not be known before they are scored.
        answered = [*train_rows, *dev_rows, *options]
        return cls(
            task=task,
            data_seed=data_seed,
            test_examples=test,
            dev_examples=sets.dev,
            train=train_rows,
            dev=dev_rows,
            test=test_rows,
            options=options,
            max_tokens=answer_limit(answered),
        )

    def rows(self, part: Part) -> tuple[Encoded, ...]:
        """Return the tokens of the dev or of the test set."""
        return self.dev if part == "dev" else self.test

    def examples(self, part: Part) -> tuple[Example, ...]:
        """Return the examples of the dev or of the test set."""
        return self.dev_examples if part == "dev" else self.test_examples


def notes_on_answers(backbone: Backbone, tasks: Sequence[EncodedTask]) -> list[str]:
    """Return what no tuning can change: answers that cannot be written or score nothing at all.

    And options that the tokenizer cannot tell apart.
    """
    notes = []
    unwritten = {}
    for data in tasks:
        found = _unwritten(backbone, data)
        if found:
            unwritten[data.task.name] = found
    if unwritten and backbone.generates:
        name, (answer, read_back) = next(iter(unwritten.items()))
        notes.append(
            f"note: the tokenizer of {backbone.name} cannot write some answers of "
            f"{_some(list(unwritten))}: {answer!r:.60} of {name} is read back as {read_back!r:.60}"
        )
    alike = []
    for data in tasks:
        tokens = {option.label_ids for option in data.options}
        if len(tokens) < len(data.options):
            alike.append(data.task.name)
    if alike:
        notes.append(
            f"note: the tokenizer of {backbone.name} cannot tell some options of {_some(alike)} "
            "apart: the first of them is taken when they are ranked"
        )
    for data in tasks:
        # BLEU counts runs of four words, ROUGE no signs, a correlation needs differences.
        most = _score_of_itself(data)
        if most < SAME:
            notes.append(
                f"note: the right answers of {data.task.name} themselves score {most:.2f} by its "
                f"metric {data.task.metric}: too short for it, without words, or all alike; "
                "choose another metric, or more rows"
            )
    return notes


def _score_of_itself(data: EncodedTask) -> float:
    """Return the score of the test set's own answers."""
    answers = [example.output[0] for example in data.test_examples]
    accepted = [example.output for example in data.test_examples]
    groups = [example.group for example in data.test_examples]
    return score(data.task.metric, answers, accepted, groups if any(groups) else ())


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _unwritten(backbone: Backbone, data: EncodedTask) -> tuple[str, str] | None:
    """Return the first answer that its own tokens do not give back, and what they give."""
    rows = [*data.dev, *data.test]
    examples = [*data.dev_examples, *data.test_examples]
    seen = set()
    for row, example in zip(rows, examples, strict=True):
        answer = example.output[0]
        # A cut answer is said elsewhere.
        if answer in seen or len(row.label_ids) >= MAX_ANSWER:
            continue
        seen.add(answer)
        (read_back,) = backbone.texts([list(row.label_ids)])
        if normalise(read_back) == normalise(answer):
            continue
        # As the metric compares them: case or signs may not count, and some compare no single row.
        metric = data.task.metric
        itself = score(metric, [answer], [[answer]])
        if itself >= SAME > score(metric, [read_back], [[answer]]):
            return answer, read_back
    return None


def answer_limit(rows: Sequence[Encoded]) -> int:
    """Return how many tokens an answer may have: half as many again as the longest of these.

    Rounded up to a power of 2: few different limits, so that tasks share batches.
    """
    lengths = [len(row.label_ids) for row in rows]
    longest = max(lengths)
    limit = longest + longest // 2
    # The least power of 2 that is no smaller.
    return 1 << (limit - 1).bit_length()


def _encode(backbone: Backbone, examples: Sequence[Example]) -> tuple[Encoded, ...]:
    inputs = []
    answers = []
    for example in examples:
        inputs.append(example.input)
        # Others of its answers count as right, but the first is the one that is learned.
        answers.append(example.output[0])
    rows = backbone.encode(inputs, answers)
    return tuple(rows)
