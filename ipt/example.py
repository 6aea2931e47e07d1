"""One row of a task, and how it is read from the schema's JSON object and written to it.

What a row must have depends on its task's category:

cls, non-cls: input, output
tags: tokens, tags (one a token); perhaps what they are about: query, or predicate (a number)
span: context, query (or question), answers with their offsets; none where it cannot be answered
choice: input (or query, context), choices, output

A text-to-text model reads `input` and `output` of any of them.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

# The paper's splits tell classification from everything else; the other three have heads of
# their own.
CATEGORIES = ("cls", "non-cls", "tags", "span", "choice")
OUTSIDE = "O"  # the tag of a word that is in no entity
ENTITY_F1 = "entity-F1"  # the metric that needs IOB2
POSITIVE = ("true", "yes", "1")  # labels that F1a is the F1 of, case ignored

SHOWN_OPTIONS = 200  # characters of the list of options, in an error
IOB2_TAG = re.compile(r"O|[BI]-\S+")
IOB2_REMEDY = "in IOB2 an entity begins with B-; tag_scheme: IOB1 in a task file converts tags"


@dataclass(frozen=True)
class Example:
    """One row of a task: bare input, accepted outputs (the first is trained on), and its entity.

    tokens: the words of a tagged row; its output is one text, their tags joined by spaces.
    query: what is asked of the other text: the question of a span; the words that tags are about;
        the first of two texts.
    context: what spans are cut from; the second of two texts.
    spans: [start, end) in characters of `context`, one an accepted answer; none and the output ""
        where the question cannot be answered.
    choices: the row's own options; output[0] is one of them.
    group: rows that count together in a metric have the same.
    """

    input: str
    output: tuple[str, ...]
    entity: str = ""
    tokens: tuple[str, ...] = ()
    query: str = ""
    context: str = ""
    spans: tuple[tuple[int, int], ...] = ()
    choices: tuple[str, ...] = ()
    group: str = ""

    @property
    def key(self) -> str:
        """What train, dev and test must not share: the entity, else the text without case."""
        # Several questions about one text, or predicates of one sentence, are never parted.
        text = self.input
        if self.tokens:
            text = " ".join(self.tokens)
        elif self.is_span:
            text = self.context
        # Spaces are joined too: a row copied with another line break is the same row.
        return self.entity or " ".join(text.casefold().split())

    @property
    def is_span(self) -> bool:
        """Whether the answer is a part of the context, or none where it has none."""
        return bool(self.spans) or not self.output[0]

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags of a tagged row, one a token."""
        return tuple(self.output[0].split()) if self.tokens else ()

    @property
    def line(self) -> str:
        """The row as the task's digest reads it."""
        parts = [self.input, self.entity, *self.output]
        # A field that is not there adds nothing: digests of older tasks stay as they are.
        for name in ("tokens", "query", "context", "spans", "choices", "group"):
            value = getattr(self, name)
            if value:
                parts.append(f"{name}={value!r}")
        return "\t".join(parts)


class HalfSign(NamedTuple):
    """Half of a sign in a text (a lone surrogate): no file holds it, and no tokenizer reads it."""

    sign: str
    place: int  # from one


class _Answers(NamedTuple):
    """Accepted answers of a span row."""

    texts: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]


def half_sign(text: str) -> HalfSign | None:
    """Return the first half of a sign in a text, None where it has none."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return HalfSign(text[error.start], error.start + 1)
    return None


def check_writable(text: Any, where: str) -> None:
    """Raise ValueError where a text has half of a sign: neither a file nor a tokenizer takes it.

    text: what is no text is another check's.
    where: what the text is, the start of the error.
    """
    if not isinstance(text, str):
        return
    half = half_sign(text)
    if half is not None:
        sign = ascii(half.sign).strip("'")
        raise ValueError(
            f"{where} has a lone surrogate ({sign}, sign {half.place}), which is half of a "
            "sign and no text; write the whole sign or remove it"
        )


def read_examples(
    rows: Sequence[Any],
    category: str,
    metric: str,
    options: Sequence[str] | None,
    where: str,
) -> tuple[Example, ...]:
    """Read the rows of one set.

    options: the labels or tags that are allowed; None: any.
    where: what the rows are, the start of every error.

    Raises ValueError that names a row by its number, from 1.
    """
    known = frozenset(options) if options else None
    examples = []
    for number, row in enumerate(rows, start=1):
        source = f"{where} {number}"
        example = read_example(row, category, source)
        if metric == ENTITY_F1 and category == "tags":
            _check_iob2(example.tags, source)
        # Only the first answer is trained on; the others are accepted as they are.
        answers = example.tags if category == "tags" else example.output[:1]
        noun = "tag" if category == "tags" else "label"
        # A span's answer is its text's.
        if category == "span":
            answers = ()
        for answer in answers:
            if known and answer not in known:
                shown = f"{list(options or ())!s:.{SHOWN_OPTIONS}}"
                raise ValueError(
                    f"{source}: {noun} {answer!r:.60} is not among the options {shown}"
                )
        examples.append(example)
    return tuple(examples)


def read_example(row: Any, category: str, where: str) -> Example:
    """Read one row; raise ValueError, which begins with `where`, for one that has not its form."""
    if category == "tags":
        return _read_tags(row, where)
    if category == "span":
        return _read_span(row, where)
    return _read_text(row, category == "choice", where)


def tags_of(examples: Sequence[Example]) -> tuple[str, ...]:
    """Return every tag of these rows once: O first, the others sorted."""
    tags: set[str] = set()
    for example in examples:
        tags.update(example.tags)
    return tuple(sorted(tags, key=lambda tag: (tag != OUTSIDE, tag)))


def write_examples(examples: Sequence[Example]) -> list[dict[str, Any]]:
    """Return the schema's JSON objects of these rows."""
    rows = []
    for example in examples:
        row: dict[str, Any] = {}
        if example.tokens:
            row["tokens"] = list(example.tokens)
            row["tags"] = list(example.tags)
        elif example.is_span:
            row["answers"] = _write_answers(example)
        else:
            row["input"] = example.input
            row["output"] = list(example.output)
        row["entity"] = example.entity
        # Only what is there, as in the digest.
        for name in ("query", "context", "group"):
            if getattr(example, name):
                row[name] = getattr(example, name)
        if example.choices:
            row["choices"] = list(example.choices)
        rows.append(row)
    return rows


def _write_answers(example: Example) -> list[dict[str, Any]]:
    answers = []
    for (start, _), text in zip(example.spans, example.output, strict=False):
        answers.append({"text": text, "answer_start": start})
    return answers


def _read_text(row: Any, has_choices: bool, where: str) -> Example:
    """Read a row of texts; raise ValueError where it has no input or no output."""
    row = row if isinstance(row, dict) else {}
    query = _optional(row, "query", where)
    context = _optional(row, "context", where)
    text = row.get("input")
    # Two texts need no third.
    if text is None and (query or context):
        text = _joined(query, context)
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"{where}: 'input' must be a text that is not empty")

    # One answer may be given as a plain text.
    output = row.get("output")
    if isinstance(output, str):
        output = [output]
    output = _texts(output)
    if not output:
        raise ValueError(f"{where}: 'output' must be a list of texts that are not empty")
    entity = _name(row, "entity", where)
    check_writable(text, f"{where}: 'input'")
    check_writable(entity, f"{where}: 'entity'")
    for answer in output:
        check_writable(answer, f"{where}: 'output'")

    choices: tuple[str, ...] = ()
    if has_choices:
        choices = _read_choices(row, output[0], where)
    return Example(
        input=text,
        output=tuple(output),
        entity=entity,
        query=query,
        context=context,
        choices=choices,
        group=_name(row, "group", where),
    )


def _read_choices(row: Mapping[str, Any], answer: str, where: str) -> tuple[str, ...]:
    """Return a row's choices; raise ValueError where they are none, or lack the answer."""
    choices = _texts(row.get("choices"))
    if len(choices) < 2:
        raise ValueError(
            f"{where}: 'choices' must be a list of two texts or more that are not empty"
        )
    for choice in choices:
        check_writable(choice, f"{where}: 'choices'")
    if len(set(choices)) < len(choices):
        raise ValueError(f"{where}: a choice is listed twice: {choices!s:.{SHOWN_OPTIONS}}")
    if answer not in choices:
        raise ValueError(
            f"{where}: output {answer!r:.60} is not among the choices "
            f"{choices!s:.{SHOWN_OPTIONS}}"
        )
    return tuple(choices)


def _read_tags(row: Any, where: str) -> Example:
    """Read a tagged row; raise ValueError where words and tags do not fit each other."""
    row = row if isinstance(row, dict) else {}
    tokens = _texts(row.get("tokens"))
    tags = _texts(row.get("tags"))
    if not tokens:
        raise ValueError(f"{where}: 'tokens' must be a list of words that are not empty")
    if not tags:
        raise ValueError(f"{where}: 'tags' must be a list of tags, one a token")
    if len(tokens) != len(tags):
        raise ValueError(
            f"{where}: {len(tokens)} tokens and {len(tags)} tags; expected one tag a token"
        )
    check_writable(" ".join(tokens), f"{where}: 'tokens'")
    check_writable(" ".join(tags), f"{where}: 'tags'")
    for tag in dict.fromkeys(tags):
        # Tags are one text, joined by spaces.
        if len(tag.split()) != 1 or tag != tag.strip():
            raise ValueError(f"{where}: tag {tag!r:.60} has a space; write a tag without spaces")

    query = _optional(row, "query", where)
    predicate = row.get("predicate")
    if predicate is not None:
        is_place = isinstance(predicate, int) and not isinstance(predicate, bool)
        if not is_place or not 0 <= predicate < len(tokens):
            raise ValueError(
                f"{where}: 'predicate' must be the number of a token, from 0 to "
                f"{len(tokens) - 1}, found {predicate!r:.40}"
            )
        query = query or tokens[predicate]
    entity = _name(row, "entity", where)
    check_writable(entity, f"{where}: 'entity'")
    return Example(
        input=_joined(query, " ".join(tokens)),
        output=(" ".join(tags),),
        entity=entity,
        tokens=tuple(tokens),
        query=query,
        group=_name(row, "group", where),
    )


def _check_iob2(tags: Sequence[str], where: str) -> None:
    """Raise ValueError where tags are no IOB2: B- begins an entity, I- goes on with it."""
    before = OUTSIDE
    for number, tag in enumerate(tags, start=1):
        if not IOB2_TAG.fullmatch(tag):
            raise ValueError(
                f"{where}: tag {number} is {tag!r:.60}; {ENTITY_F1} needs IOB2: O, B-KIND, I-KIND "
                "(tag-accuracy takes any tags)"
            )
        # Only B-X and I-X have an entity of kind X before I-X.
        if tag.startswith("I-") and before[1:] != tag[1:]:
            raise ValueError(
                f"{where}: tag {number} is {tag!r:.60} after {before!r:.60}; {IOB2_REMEDY}"
            )
        before = tag


def _read_span(row: Any, where: str) -> Example:
    """Read a question about a text; raise ValueError where an answer is not at its offset."""
    row = row if isinstance(row, dict) else {}
    context = row.get("context")
    if not isinstance(context, str) or not context.strip():
        raise ValueError(f"{where}: 'context' must be a text that is not empty")
    check_writable(context, f"{where}: 'context'")
    name = "query" if row.get("query") is not None else "question"
    query = _optional(row, name, where)
    if not query.strip():
        raise ValueError(f"{where}: 'query' (or 'question') must be a text that is not empty")

    answers = _read_answers(row.get("answers"), context, where)
    impossible = row.get("is_impossible")
    if impossible is not None and not isinstance(impossible, bool):
        raise ValueError(
            f"{where}: 'is_impossible' must be true or false, found {impossible!r:.60}"
        )
    if impossible is not None and impossible == bool(answers.spans):
        said = "true" if impossible else "false"
        raise ValueError(
            f"{where}: 'is_impossible' is {said} and there are {len(answers.spans)} answers; "
            "a question that cannot be answered has none"
        )
    entity = _name(row, "entity", where)
    check_writable(entity, f"{where}: 'entity'")
    return Example(
        input=_joined(query, context),
        output=answers.texts,
        entity=entity,
        query=query,
        context=context,
        spans=answers.spans,
        group=_name(row, "group", where),
    )


def _read_answers(value: Any, context: str, where: str) -> _Answers:
    """Return answers and their spans: the empty answer where there are none.

    value: [{"text", "answer_start"}], or {"text": [...], "answer_start": [...]}.
    """
    pairs = _answer_pairs(value, where)
    texts = []
    spans = []
    for text, start in pairs:
        is_place = isinstance(start, int) and not isinstance(start, bool) and start >= 0
        if not isinstance(text, str) or not text.strip() or not is_place:
            raise ValueError(
                f"{where}: an answer is a text and its 'answer_start', counted in characters "
                f"from 0, found {text!r:.60} and {start!r:.20}"
            )
        end = start + len(text)
        there = context[start:end]
        if there != text:
            raise ValueError(
                f"{where}: the context has {there!r:.60} at {start}, and not the answer "
                f"{text!r:.60}; {_offset_remedy(context, text)}"
            )
        # Several people gave the same answer.
        if (start, end) not in spans:
            texts.append(text)
            spans.append((start, end))
    return _Answers(tuple(texts) or ("",), tuple(spans))


def _offset_remedy(context: str, text: str) -> str:
    place = context.find(text)
    if place < 0:
        return "it is nowhere in the context"
    return f"it is at {place} (offsets count characters, not bytes)"


def _answer_pairs(value: Any, where: str) -> list[tuple[Any, Any]]:
    if value is None:
        return []
    if isinstance(value, dict):
        texts = value.get("text")
        starts = value.get("answer_start")
        if isinstance(texts, list) and isinstance(starts, list) and len(texts) == len(starts):
            return list(zip(texts, starts, strict=True))
    elif isinstance(value, list) and all(isinstance(answer, dict) for answer in value):
        return [(answer.get("text"), answer.get("answer_start")) for answer in value]
    raise ValueError(
        f"{where}: 'answers' must be a list of objects with 'text' and 'answer_start' (or one "
        "object with two lists of these names)"
    )


def _joined(query: str, text: str) -> str:
    """Return two texts as a text-to-text model reads them."""
    return f"{query}\n{text}" if query else text


def _optional(row: Mapping[str, Any], name: str, where: str) -> str:
    """Return a text that may be missing: "" then."""
    value = row.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"{where}: '{name}' must be a text, found {value!r:.60}")
    check_writable(value, f"{where}: '{name}'")
    return value


def _name(row: Mapping[str, Any], field: str, where: str) -> str:
    """Return a row's entity or group, "" for none; raise ValueError for what names none."""
    value = row.get(field)
    if value is None:
        return ""
    # A number may name an entity, 0 as well as 7.
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{where}: '{field}' must be a text or a number, found {value!r:.60}")
    return str(value)


def _texts(value: Any) -> list[str]:
    """Return a list of texts that are not empty; an empty list for anything else."""
    if not isinstance(value, list | tuple):
        return []
    if not all(isinstance(text, str) and text.strip() for text in value):
        return []
    return list(value)
