"""Templates of task files: any error is one line, and none takes more work than its row is worth."""

import time

import pytest

from ipt.tasks.readers.bounded import Null, size_of
from ipt.tasks.readers.contents import Cell
from ipt.tasks.readers.templates import fill

ROW = {
    "text": "q 0",
    "n": 1,
    "context": None,
    "gap": float("nan"),
    "aliases": ["a", None, "b"],
    "inner": {"x": {"y": None}},
    "long": "word " * 2000,
    "label": Cell("1"),
    "other": Cell("10"),
    "zero": Cell("0"),
    "name": Cell("x"),
}
SECONDS = 10  # far more than any takes, far less than without a bound


def doubled(start, step):
    """A template whose value doubles sixty times."""
    return f"{{% set x = {start} %}}" + step * 60 + "{{x}}"


def refused(rule):
    with pytest.raises(ValueError) as told:
        fill(rule, ROW, "file: row 1")
    message = str(told.value)
    assert message.startswith("file: row 1: ") and "\n" not in message and len(message) < 800
    return message


UNBOUNDED = [
    "{% for i in range(10**9) %}x{% endfor %}",
    "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "{% for i in range(900) %}{% for j in range(900) %}{% for k in range(900) %}{% endfor %}"
    "{% endfor %}{% endfor %}",
    "{{ lipsum(n=1000000) }}",
    "{{ 'a' * 10**10 }}",
    "{{ 10**10 * 'a' }}",
    "{{ [1] * 10**10 }}",
    "{{ 10 ** 10 ** 10 ** 10 ** 10 }}",
    "{{ 2 ** (9 ** 12) }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '%*d' % (10**9, 1) }}",
    "{{ '%1000000000d' | format(1) }}",
    "{{ '{:1000000000}'.format(1) }}",
    "{{ '{:{w}}'.format(1, w=10**9) }}",
    "{{ 'x'.center(10**10) }}",
    "{{ 'x' | center(10**10) }}",
    "{{ text.zfill(10**10) }}",
    "{{ text.ljust(10**10) }}",
    "{{ '\t'.expandtabs(10**10) }}",
    "{{ n.to_bytes(10**10, 'big') }}",
    "{{ text | indent(10**10, true) }}",
    "{{ [1] | batch(10**10, 'x') | list }}",
    "{{ [aliases] | tojson(indent=10**9) }}",
    "{{ long.replace('', long) }}",
    "{{ long | replace('', long) }}",
    "{{ long.join(long) }}",
    "{{ long | join(long) }}",
    "{{ long | map('replace', 'w', long) | join }}",
    "{{ long | wordwrap(1, wrapstring=long) }}",
    doubled("'abc'", "{% set x = x ~ x %}"),
    doubled("'abc'", "{% set x = x + x %}"),
    doubled("[1]", "{% set x = [x, x] %}"),
    doubled("[1]", "{% set x = x + x %}"),
    doubled("3", "{% set x = x * x %}"),
    doubled("'abc'", "{% set x %}{{x}}{{x}}{% endset %}"),
    "{% macro m(x) %}{{x}}{{x}}{% endmacro %}{{ " + "m(" * 40 + "'a'" + ")" * 40 + " }}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% for i in [1, 2, 3] recursive %}{{ loop([1, 2, 3]) }}{% endfor %}",
    "{% set x = [] %}{% set y = x.append(x) %}{{ x }}",
    "{% filter upper %}{% for i in range(900) %}{{ long }}{% endfor %}{% endfilter %}",
]


@pytest.mark.parametrize("rule", UNBOUNDED)
def test_no_template_goes_on_for_ever(rule):
    start = time.monotonic()
    assert "cannot be filled" in refused(rule)
    assert time.monotonic() - start < SECONDS


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ text + n }}", "can only concatenate str"),
        ("{{ text.zfill('a') }}", "cannot be interpreted as an integer"),
        ("{% include 'x' %}", "no loader"),
        ("{% import 'os' as o %}", "no loader"),
        ("{% extends 'x' %}", "no loader"),
        ("{{ " + "(" * 500 + "1" + ")" * 500 + " }}", "recursion"),
        ("{{ text", "unexpected end of template"),
        ("{{ absent }}", "'absent' is undefined"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{{ 'a' | attr('__class__') }}", "unsafe"),
        ("{{ '{0.__class__}'.format(text) }}", "unsafe"),
        ("{{ context }} {{ text }}", "context is empty or null in this row; write (context or '')"),
        ("{{ context + text }}", "context is empty or null"),
        ("{{ text + context }}", "context"),
        ("{{ context ~ text }}", "context is empty or null"),
        ("{{ context | upper }}", "context is empty or null"),
        ("{{ [text, context] | join }}", "context is empty or null"),
        ("{{ '%s' | format(context) }}", "context is empty or null"),
        ("{{ '{}'.format(context) }}", "context is empty or null"),
        ("{{ gap }}", "gap is empty or null"),
        ("{{ inner.x.y }}", "inner.x.y is empty or null"),
        ("{{ aliases[1] }}", "aliases[1] is empty or null"),
        ("{{ none }}", "it would show a null"),
        ("{{ text ~ none }}", "it would show a null"),
    ],
)
def test_any_error_names_file_row_and_template(rule, says):
    message = refused(rule)
    assert says in message and repr(rule)[:150] in message and "columns are text, n" in message


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("{{ context or '' }}{{ text }}", "q 0"),
        ("{% if context %}{{ context }} {% endif %}{{ text }}", "q 0"),
        ("{% if context is none %}none{% endif %}", "none"),
        ("{% if context == None %}none{% endif %}", "none"),
        ("{% if none in aliases %}none{% endif %}", "none"),
        ("{{ context | default('x', true) }}", "x"),
        ("{{ aliases }}", "['a', None, 'b']"),
        ("{{ aliases | tojson }}", '["a", null, "b"]'),
        ("{{ aliases | reject('none') | join(', ') }}", "a, b"),
        ("{{ aliases | select | map('upper') | join }}", "AB"),
        ("{% for a, b in [(1, 2), (3, 4)] %}{{a}}{{b}}{{loop.last}} {% endfor %}", "12False 34True "),
        ("{% for c in text %}{{ loop.index }}{{ loop.length }}{{ c }}{% endfor %}", "13q23 330"),
        ("{{ ['low', 'high'][n] }}", "high"),
        ("{{ {'a': n}.a + 2 ** 3 * 4 % 5 }}", str(1 + 2**3 * 4 % 5)),
        ("{{ '{} is {}'.format(text, 123456789) }}", "q 0 is 123456789"),
        ("{{ '%s: %05.1f' | format(text, 2.5) }}", "q 0: 002.5"),
        ("{{ 123456789 | int }} {{ n | default(10**9) }} {{ 2.5 * 10**9 }}", "123456789 1 2500000000.0"),
        ("{{ range(1990, 2024) | join(' ') | length }}", str(34 * 5 - 1)),
        ("{{ long.replace('word', 'another one').split() | length }}", "4000"),
        ("{{ long | truncate(255) | length }}", "252"),
        ("{% for w in long.split() %}{{ w[0] }}{% endfor %}", "w" * 2000),
        ("{% set ns = namespace(n=0) %}{% for w in long.split() %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}", "2000"),
        ("{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m(text) }}", "<q 0>"),
        ("{% set x %}{{ text }}!{% endset %}{{ x }}", "q 0!"),
        ("{% raw %}{{ text }}{% endraw %}", "{{ text }}"),
    ],
)  # fmt: skip
def test_ordinary_templates_are_filled_as_jinja_does(rule, text):
    """The control of all that is refused above."""
    assert fill(rule, ROW, "file: row 1", in_lists=True) == text


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        ("{{ aliases }}", "aliases[1]"),
        ("Choices: {{ aliases }}", "aliases[1]"),
        ("{{ '%s' % aliases }}", "aliases[1]"),
        ("{{ aliases | string }}", "aliases[1]"),
        ("{{ inner }}", "inner.x.y"),
    ],
)
def test_a_null_in_a_list_that_is_shown_is_told(rule, name):
    assert f"{name} is empty or null in this row" in refused(rule)
    assert "None" in fill(rule, ROW, "file: row 1", in_lists=True)  # control


@pytest.mark.parametrize(
    "rule",
    [
        "{% if label == 1 %}y{% endif %}",
        "{% if label != 1 %}y{% endif %}",
        "{% if label in [0, 1] %}y{% endif %}",
        "{% if zero %}y{% endif %}",
        "{% if label < other %}y{% endif %}",
        "{{ [label, other] | sort }}",
        "{{ label + other }}",
        "{{ label * 2 }}",
        "{{ 2 * label }}",
    ],
)
def test_a_cell_is_not_taken_for_a_number_without_a_word(rule):
    assert "cells of a CSV are texts; write NAME|int" in refused(rule)


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("{% if label == '1' %}y{% endif %}", "y"),
        ("{% if label|int == 1 %}y{% endif %}", "y"),
        ("{% if name %}y{% endif %}", "y"),
        ("{% if label %}y{% endif %}", "y"),
        ("{{ label ~ other }}", "110"),
        ("{{ label + ' ' + other }}", "1 10"),
        ("{{ name + other }}", "x10"),
        ("{{ label|int + other|int }}", "11"),
        ("{{ ['low', 'high'][label|int] }}", "high"),
        ("{{ {'1': 'one'}[label] }}", "one"),
    ],
)
def test_a_cell_is_a_text(rule, text):
    assert fill(rule, ROW, "file: row 1") == text


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("{{ context | int }}", "context is empty or null"),
        ("{{ gap | float }}", "gap is empty or null"),
        ("{{ text | int }}", "'q 0' is no number; write int(0) where 0 is meant"),
        ("{{ name | float }}", "'x' is no number; write float(0) where 0 is meant"),
        ("{{ 'nan' | float }}", "'nan' is no number"),
        ("{{ [1] | int }}", "[1] is no number"),
    ],
)
def test_what_is_no_number_is_not_taken_for_zero(rule, says):
    assert says in refused(rule)


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("{{ context | int(0) }} {{ text | int(default=7) }} {{ name | float(0.5) }}", "0 7 0.5"),
        ("{{ label | int }} {{ '1.0' | int }} {{ ' 2 ' | float }} {{ 2.9 | int }}", "1 1 2.0 2"),
        ("{{ '0x1f' | int(0, 16) }} {{ '11' | int(base=2) }} {{ true | int }}", "31 3 1"),
    ],
)
def test_numbers_are_made_as_jinja_does(rule, text):
    assert fill(rule, ROW, "file: row 1") == text


def test_a_null_is_false_and_equal_to_none_alone():
    null = Null("x")
    assert not null and null == None and null == Null("y") and null != ""  # noqa: E711
    assert hash(null) == hash(None) and repr([null]) == "[None]"


def test_sizes_count_what_is_held():
    assert size_of("abc") == 4 and size_of(["ab", "c"]) == 1 + 3 + 2
    assert size_of({"a": [1, 2]}) == 1 + 2 + 3 and size_of(range(5)) == 6
    endless = []
    endless.append(endless)
    assert size_of(endless, most=100) > 100


def test_an_error_is_short_whatever_the_row_and_the_rule():
    row = {f"column {i} {'x' * 500}": 1 for i in range(500)}
    for rule in ("absent" * 1000, "{{ absent }}" + "x" * 10_000):
        with pytest.raises(ValueError) as told:
            fill(rule, row, "file: row 1")
        assert len(str(told.value)) < 2500
