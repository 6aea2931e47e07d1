"""A task's rows as a language model reads them: text in, text out."""

from collections.abc import Sequence

from ipt.backbones.base import Backbone, Encoded
from ipt.data import Example, Task


class TextRows:
    """The rows of a language model: texts in, texts out."""

    def encode(
        self,
        backbone: Backbone,
        task: Task,
        examples: Sequence[Example],
    ) -> list[Encoded]:
        """Return the examples' tokens."""
        inputs = []
        answers = []
        for example in examples:
            inputs.append(example.input)
            # Others of its answers count as right, but the first is the one that is learned.
            answers.append(example.output[0])
        return backbone.encode(inputs, answers)

    def encode_options(self, backbone: Backbone, task: Task) -> list[Encoded]:
        """Return the labels of a classification task, else nothing."""
        if task.category != "cls" or not task.options:
            return []
        # As inputs and as answers: only the answers are read.
        return backbone.encode(task.options, task.options)

    def classes(self, task: Task) -> int:
        """Return 0: it has no numbers of its own."""
        return 0
