"""A task's few-shot sets as tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from ipt.backbones.base import MAX_ANSWER, Backbone, Encoded
from ipt.backbones.text_rows import TextRows
from ipt.data import Example, Task
from ipt.fewshot import FewShot, few_shot
from ipt.metrics import normalise, score

# A score of the very same answer, but for rounding.
SAME = 0.999

Part = Literal["dev", "test"]


class EncodesRows(Protocol):
    """What a head says of a task's rows (`ipt.heads`)."""

    def encode(
        self,
        backbone: Backbone,
        task: Task,
        examples: Sequence[Example],
    ) -> list[Encoded]:
        """Return the examples' tokens, with what the head needs to know of each."""

    def encode_options(self, backbone: Backbone, task: Task) -> list[Encoded]:
        """Return the answers that are ranked."""

    def classes(self, task: Task) -> int:
        """Return how many classes the numbers of the task's head are for."""


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
    classes: int = 0  # that its head's numbers are for

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
        """Draw the sets, and tokenize them as a language model reads them.

        As `drawn_sets` and `of_sets`.
        """
        sets = drawn_sets(task, data_seed, shots, limit, held_out)
        return cls.of_sets(backbone, TextRows(), task, sets, data_seed)

    @classmethod
    def of_sets(
        cls,
        backbone: Backbone,
        head: EncodesRows,
        task: Task,
        sets: FewShot,
        data_seed: int,
    ) -> "EncodedTask":
        """Tokenize a task's sets as the head reads them."""
        train_rows = head.encode(backbone, task, sets.train)
        dev_rows = head.encode(backbone, task, sets.dev)
        test_rows = head.encode(backbone, task, sets.test)
        options = head.encode_options(backbone, task)

        # Test answers do not count: how long they are must not be known before they are scored.
        answered = [*train_rows, *dev_rows, *options]
        return cls(
            task=task,
            data_seed=data_seed,
            test_examples=sets.test,
            dev_examples=sets.dev,
            train=tuple(train_rows),
            dev=tuple(dev_rows),
            test=tuple(test_rows),
            options=tuple(options),
            max_tokens=answer_limit(answered),
            classes=head.classes(task),
        )

    def rows(self, part: Part) -> tuple[Encoded, ...]:
        """Return the tokens of the dev or of the test set."""
        return self.dev if part == "dev" else self.test

    def examples(self, part: Part) -> tuple[Example, ...]:
        """Return the examples of the dev or of the test set."""
        return self.dev_examples if part == "dev" else self.test_examples


def drawn_sets(
    task: Task,
    data_seed: int,
    shots: int | None = None,
    limit: int = 0,
    held_out: str = "test",
) -> FewShot:
    """Return a task's sets for a data seed.

    shots: K; None takes the task's own.
    limit: above 0, so many test rows are kept.
    held_out: "dev" puts the dev set in the test's place.
    """
    sets = few_shot(task, data_seed, shots)
    # Settings are chosen on dev sets alone, so that no choice has seen a test row.
    test = sets.dev if held_out == "dev" else sets.test
    if limit:
        test = test[:limit]
    return FewShot(sets.train, sets.dev, test)


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
    lengths = [row.answer_tokens for row in rows]
    longest = max(lengths)
    limit = longest + longest // 2
    # The least power of 2 that is no smaller.
    return 1 << (limit - 1).bit_length()
