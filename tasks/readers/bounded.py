"""The sandbox of a task file's templates: no code is reached, and a row's work has a bound.

Each deed is paid for out of what a row is granted: what is made by its size, a turn of a loop and a
call by a constant, and what a number can make large before it is made. So whatever a template does
takes time and memory in proportion to its row.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from itertools import islice
from typing import Any, NoReturn

from jinja2 import StrictUndefined, Template, TemplateRuntimeError, nodes
from jinja2.runtime import Context
from jinja2.sandbox import SandboxedEnvironment
from jinja2.visitor import NodeTransformer

# Characters and items. The longest template of a real task takes less than a tenth of it.
GRANT = 100_000  # of a row, and
GRANT_PER_SIZE = 200  # for each character of it, and
GRANT_PER_SOURCE = 10  # for each character of the template
STEP = 20  # price of a turn of a loop and of a call
# Functions, methods and filters whose result grows with a number, or with two texts at once.
GROWING = {
    "batch",
    "center",
    "expandtabs",
    "indent",
    "join",
    "ljust",
    "range",
    "rjust",
    "slice",
    "to_bytes",
    "tojson",
    "translate",
    "wordwrap",
    "zfill",
}
FORMATS = {"format", "format_map"}
# A width of five digits or more, or one that an argument gives.
WIDE_FORMAT = re.compile(r"\d{5}|%[^a-zA-Z%]*\*|\{[^{}]+\{")
# Filters of its own, put in by `_Bounding`.
MADE = "ipt_made"
JOINED = "ipt_joined"
TURNS = "ipt_turns"


class Null:
    """A null of a row: false, equal to none, and never the word None.

    name: how a template names it, for the error where it is shown.
    in_lists: whether a list or an object that holds it may be shown, to be read back.
    """

    def __init__(self, name: str, in_lists: bool = True) -> None:
        self.name = name
        self.in_lists = in_lists

    def __bool__(self) -> bool:
        return False

    def __eq__(self, other: object) -> bool:
        return other is None or isinstance(other, Null)

    def __hash__(self) -> int:
        return hash(None)

    def __repr__(self) -> str:
        # Inside a list that is shown. Read back as a list of answers, it is none of them.
        if not self.in_lists:
            self.refuse()
        return "None"

    def __str__(self) -> str:
        self.refuse()

    def __format__(self, spec: str) -> str:
        self.refuse()

    def __add__(self, other: object) -> NoReturn:
        self.refuse()

    __radd__ = __add__

    def refuse(self) -> NoReturn:
        """Raise TypeError: where it stands, a value is needed."""
        raise TypeError(
            f"{self.name} is empty or null in this row; write ({self.name} or '') to leave it out"
        )


class BoundedEnvironment(SandboxedEnvironment):
    """An environment for templates that come from anywhere."""

    # These can make texts, lists and numbers of any size; the others cannot.
    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def __init__(self) -> None:
        super().__init__(undefined=StrictUndefined, finalize=self._shown)
        self._left = 0
        self._step = STEP
        for name in ("int", "float"):
            self.filters[name] = _number_filter(name, self.filters[name])
        for name, function in list(self.filters.items()):
            self.filters[name] = self._paid(name, function)
        self.filters |= {MADE: self._made, JOINED: self._joined, TURNS: self._turns}
        self.tests["none"] = _is_none
        self.policies["json.dumps_kwargs"] = {"sort_keys": True, "default": _plain}
        # It writes texts by chance, as many as a number says.
        del self.globals["lipsum"]

    def compiled(self, source: str) -> Template:
        """Return the template with its loops and what it makes put under the bound."""
        self._left = GRANT + GRANT_PER_SIZE * len(source)
        tree = self.parse(source)
        _Bounding().visit(tree)
        tree.set_environment(self)
        code = self.compile(tree)
        return Template.from_code(self, code, self.make_globals(None))

    def fill(
        self,
        template: Template,
        source: str,
        row: Mapping[str, Any],
        in_lists: bool,
    ) -> str:
        """Return a template of this environment filled with a row.

        in_lists: as in `Null`.

        Whatever error a template can make is raised as it is.
        """
        values = {}
        size = 0
        for name, value in row.items():
            values[name] = _prepared(name, value, in_lists)
            size += size_of(value)
        self._left = GRANT + GRANT_PER_SIZE * size + GRANT_PER_SOURCE * len(source)
        # A turn may write the template's own text once more.
        self._step = STEP + len(source) // STEP
        return template.render(values)

    def call(self, context: Context, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call a function or method of a template, which is paid for."""
        # A method's text or list is as much an operand as its arguments; the sandbox wraps format.
        method = getattr(function, "__wrapped__", function)
        operands = [getattr(method, "__self__", None), *args, *kwargs.values()]
        self._pay(self._step)
        self._pay_for(getattr(function, "__name__", ""), operands)
        return self._made(super().call(context, function, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Add, multiply, raise or format, which is paid for."""
        is_number = isinstance(left, int) and isinstance(right, int)
        if operator == "%" and isinstance(left, str):
            self._pay_for("format", [left, right])
        elif operator == "**" and is_number:
            self._pay(left.bit_length() * max(right, 1))
        elif operator == "*" and is_number:
            self._pay(left.bit_length() + right.bit_length())
        elif operator == "*" and not isinstance(left, float) and not isinstance(right, float):
            self._pay(self._growth([left, right]))
        else:
            self._pay(self._size(left) + self._size(right))
        return super().call_binop(context, operator, left, right)

    def _paid(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a filter that is paid for; it takes what the filter takes."""

        @wraps(function)
        def paid(*args: Any, **kwargs: Any) -> Any:
            self._pay_for(name, [*args, *kwargs.values()])
            return self._made(function(*args, **kwargs))

        return paid

    def _pay_for(self, name: str, operands: list[Any]) -> None:
        """Pay for a call by the name of what is called."""
        if name in FORMATS and WIDE_FORMAT.search(str(operands[0])):
            raise TemplateRuntimeError("a format with a number of 5 digits, or a width given by *")
        if name == "replace":
            work = self._replaced(operands)
        elif name in GROWING:
            work = self._growth(operands)
        else:
            work = sum(map(self._size, operands))
        self._pay(work)

    def _pay(self, work: int) -> None:
        self._left -= work
        if self._left < 0:
            raise TemplateRuntimeError(
                "too much work for a row of this size: use smaller numbers and fewer loops"
            )

    def _size(self, value: Any) -> int:
        # What is larger than what is left need not be counted to its end.
        return size_of(value, self._left)

    def _growth(self, operands: Iterable[Any]) -> int:
        """Return the most that operands can make together: texts by each other, by all numbers."""
        sizes = 1
        numbers = 1
        for operand in operands:
            if isinstance(operand, int):
                numbers += abs(operand)
            else:
                sizes *= self._size(operand)
        return sizes * numbers

    def _replaced(self, operands: Iterable[Any]) -> int:
        """Return the most that replacing one text by another in a third can make."""
        texts = [operand for operand in operands if isinstance(operand, str)]
        if len(texts) < 3:
            return sum(map(len, texts))
        text, old, new = texts[:3]
        places = len(text) // max(len(old), 1) + 1
        return len(text) + places * len(new)

    def _made(self, value: Any) -> Any:
        """Return a value that is paid for by its size."""
        self._pay(self._size(value))
        return value

    def _joined(self, items: Iterable[Any]) -> str:
        """Return what the operator ~ makes: one text of all items."""
        texts = [str(self._shown(item)) for item in items]
        return "".join(texts)

    def _turns(self, items: Iterable[Any]) -> list[Any]:
        """Return what a loop goes over, its turns paid for."""
        most = self._left // self._step + 1
        turns = list(islice(items, most))
        self._pay(len(turns) * self._step)
        return turns

    def _shown(self, value: Any) -> Any:
        """Return a value that a template writes; raise TypeError for one that is none."""
        if value is None:
            raise TypeError("it would show a null; write (... or '') to leave it out")
        return self._made(value)


class _Bounding(NodeTransformer):
    """Puts the filters above around what a template makes and goes over without a call."""

    def visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> nodes.Node:
        """Return the node that takes a node's place, its parts first."""
        self.generic_visit(node)
        if isinstance(node, nodes.For):
            node.iter = _filtered(node.iter, TURNS)
        elif isinstance(node, nodes.AssignBlock):
            node.filter = _filtered(node.filter, MADE, node.lineno)
        elif isinstance(node, nodes.Concat):
            items = nodes.Tuple(node.nodes, "load", lineno=node.lineno)
            return _filtered(items, JOINED)
        elif isinstance(node, nodes.List | nodes.Dict):
            return _filtered(node, MADE)
        elif isinstance(node, nodes.Tuple) and node.ctx == "load":
            # Not the names of `for a, b in ...`, which are a tuple, too.
            return _filtered(node, MADE)
        return node


def _filtered(node: nodes.Node | None, name: str, line: int = 1) -> nodes.Filter:
    """Return the node behind a filter; None: the text of a block that ends there."""
    if node is not None:
        line = node.lineno
    return nodes.Filter(node, name, [], [], None, None, lineno=line)


def size_of(value: Any, most: float = math.inf) -> int:
    """Return how many characters and items a value holds, those of what it holds included.

    most: where counting ends, since a list may hold itself, or one list many times.
    """
    size = 0
    rest = [value]
    while rest and size <= most:
        item = rest.pop()
        size += 1
        if isinstance(item, str | bytes | range):
            size += len(item)
        elif isinstance(item, dict):
            rest += item.keys()
            rest += item.values()
        elif isinstance(item, list | tuple | set):
            rest += item
    return size


def _number_filter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter that makes numbers, without its default of 0 unless it is asked for."""

    @wraps(function)
    def number(value: Any, *args: Any, **kwargs: Any) -> Any:
        if args or "default" in kwargs:
            return function(value, *args, **kwargs)
        # A label that is missing, or no number, would be that of choice 0.
        if isinstance(value, Null):
            value.refuse()
        made = function(value, math.nan, **kwargs)
        if isinstance(made, float) and math.isnan(made):
            raise ValueError(f"{value!r:.40} is no number; write {name}(0) where 0 is meant")
        return made

    return number


def _is_none(value: Any) -> bool:
    return value is None or isinstance(value, Null)


def _plain(value: Any) -> Any:
    """Return what JSON writes for a value of ours."""
    if isinstance(value, Null):
        return None
    raise TypeError(f"{type(value).__name__} is no value of JSON")


def _prepared(name: str, value: Any, in_lists: bool) -> Any:
    """Return a row's value with its nulls replaced by `Null`, in lists and objects too."""
    # Tables have numbers that are none where a number is missing.
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return Null(name, in_lists)
    if isinstance(value, list):
        return [_prepared(f"{name}[{i}]", item, in_lists) for i, item in enumerate(value)]
    if isinstance(value, dict):
        return {key: _prepared(f"{name}.{key}", item, in_lists) for key, item in value.items()}
    return value
