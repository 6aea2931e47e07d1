"""Rules for the rows of a generated task: labels, texts, and inputs that tell no instruction."""

import re
import unicodedata
from collections.abc import Sequence

from ipt.data import DIFF_DATA_SEED, SAME_DATA_SEED, Example, Task
from ipt.fewshot import few_shot
from ipt.tasks.generators.recipe import Row

LONGEST_INPUT = 160  # characters
LONGEST_ANSWER = 100  # characters
FEWEST_PHRASINGS = 3  # wordings of a definition
MOST_OPTIONS = 8
# White space other than one space between words, and two signs that take no room.
ODD_SPACES = re.compile(r"[^\S ]|^ | $|  |[\u200b\ufeff]")
WORD = re.compile(r"[^\W\d_]+")  # letters alone: a blocked word may stand beside a number


def broken_rules(task: Task, phrasings: Sequence[str]) -> list[str]:
    """Return what is wrong with the rows of a built task, a sentence per kind of problem.

    phrasings: every wording of the task's definition.
    """
    # One sentence for all rows with a fault, or one per row where each has its own text to show.
    problems = _label_problems(task)
    for example in task.examples:
        problems += _text_problems(example)
    problems += _telling_inputs(task, phrasings)

    # The sets share no entity, so a second row of one could never be used.
    entities = {example.key for example in task.examples}
    if len(entities) < len(task.examples):
        problems.append("two rows have the same entity")
    count = len(set(phrasings))
    if count < FEWEST_PHRASINGS:
        problems.append(
            f"needs at least {FEWEST_PHRASINGS} phrasings of its definition, found {count}"
        )
    # The rows must serve the two data seeds of the paper's settings.
    for data_seed in (SAME_DATA_SEED, DIFF_DATA_SEED):
        try:
            few_shot(task, data_seed)
        except ValueError as error:
            problems.append(str(error))
    return problems


def four_grams(text: str) -> set[tuple[str, ...]]:
    """Return the runs of four words, case and punctuation ignored."""
    words = re.findall(r"\w+", text.casefold())
    return set(zip(words, words[1:], words[2:], words[3:], strict=False))


def is_blocked(row: Row) -> bool:
    """Return whether a row holds a word that no task may show."""
    # Late: it reads a package of the extra.
    from ipt.tasks.generators.words import blocked

    # Input and answers alike are shown to readers.
    text = " ".join((row.input, *row.answers))
    words = WORD.findall(text.casefold())
    return not blocked().isdisjoint(words)


def _telling_inputs(task: Task, phrasings: Sequence[str]) -> list[str]:
    """Return a problem where inputs share four words with a definition."""
    # A prompt is to hold what the task is. An input that says it would make the prompt superfluous.
    forbidden = four_grams(task.definition)
    for phrasing in phrasings:
        forbidden |= four_grams(phrasing)
    telling = [example for example in task.examples if four_grams(example.input) & forbidden]
    if not telling:
        return []
    first = telling[0].input
    return [f"{len(telling)} inputs share four words with a definition: {first!r}"]


def _label_problems(task: Task) -> list[str]:
    """Return what is wrong with a task's options and the labels of its rows."""
    options = task.options or ()
    if task.category != "cls":
        return ["a non-cls task has no options"] if options else []

    problems = []
    is_different = len(set(options)) == len(options)
    if not is_different or not 2 <= len(options) <= MOST_OPTIONS:
        problems.append(f"needs 2 to {MOST_OPTIONS} different options, found {list(options)}")
    wrong = []
    for example in task.examples:
        # A second accepted label would make the score of a guess higher than one in so many labels.
        if len(example.output) != 1 or example.output[0] not in options:
            wrong.append(example)
    if wrong:
        problems.append(f"{len(wrong)} rows without exactly one label: {wrong[0]}")
    return problems


def _text_problems(example: Example) -> list[str]:
    """Return what is wrong with the texts of one example."""
    texts = (example.input, *example.output)
    problems = []
    for text in texts:
        if not text or ODD_SPACES.search(text):
            problems.append(f"has odd spaces: {text!r}")
    # Two ways to write one letter would be two answers, of which one is never right.
    for text in texts:
        if not unicodedata.is_normalized("NFC", text):
            problems.append(f"is not NFC: {text!r}")

    answer = example.output[0]
    if len(example.input) > LONGEST_INPUT or len(answer) > LONGEST_ANSWER:
        problems.append(f"too long: {example.input!r} -> {answer!r}")
    return problems
