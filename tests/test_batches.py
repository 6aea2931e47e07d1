"""Batches of rows: which share one, the budget of padded tokens, a device whose memory runs out."""

import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_families import make

from ipt.backbones.base import Encoded, batches


def row(wide, tall):
    """A row of so many input and answer tokens."""
    return Encoded((5,) * wide, (6,) * tall)


def padded(rows, batch, prompt_length):
    """Return the tokens of a batch, by the widest input and the longest answer in it."""
    wide = max(len(rows[i].input_ids) for i in batch)
    tall = max(len(rows[i].label_ids) for i in batch)
    return len(batch) * (prompt_length + wide + tall)


def test_a_batch_may_use_the_whole_budget_and_not_a_token_more():
    rows = [row(4, 2)] * 6
    assert list(batches(rows, 3, 27)) == [[0, 1, 2], [3, 4, 5]]  # three rows of 3 + 4 + 2
    assert list(batches(rows, 3, 26)) == [[0, 1], [2, 3], [4, 5]]
    assert list(batches(rows, 4, 27)) == [[0, 1], [2, 3], [4, 5]]  # the prompt counts


def test_a_row_over_the_budget_is_a_batch_of_its_own():
    assert list(batches([row(9, 9), row(1, 1), row(1, 1)], 0, 4)) == [[1, 2], [0]]


def test_rows_are_sorted_by_input_and_then_by_answer():
    rows = [row(3, 5), row(2, 9), row(3, 1), row(2, 1)]
    assert list(batches(rows, 0, 1000)) == [[3, 1, 2, 0]]


def test_a_long_answer_counts_in_its_own_batch_only():
    rows = [row(1, 9), row(2, 1), row(2, 1), row(2, 1)]
    assert list(batches(rows, 0, 12)) == [[0], [1, 2, 3]]


def test_no_rows_make_no_batch():
    assert list(batches([], 3, 10)) == []


sizes = st.tuples(st.integers(1, 30), st.integers(1, 9))


@settings(max_examples=60, deadline=None)
@given(st.lists(sizes, max_size=25), st.integers(0, 10), st.integers(1, 300))
def test_every_row_is_in_one_batch_that_is_full_and_within_the_budget(pairs, prompt_length, budget):
    rows = [row(*pair) for pair in pairs]
    found = list(batches(rows, prompt_length, budget))
    assert sorted(index for batch in found for index in batch) == list(range(len(rows)))
    assert all(len(batch) == 1 or padded(rows, batch, prompt_length) <= budget for batch in found)
    for batch, after in zip(found, found[1:], strict=False):  # the next row would not have fitted
        assert padded(rows, [*batch, after[0]], prompt_length) > budget


class Device:
    """Work for `in_batches` with memory for so many rows at once; notes what it did and tried."""

    def __init__(self, most):
        self.most, self.done, self.tried = most, [], []

    def __call__(self, chosen):
        self.tried.append(chosen)
        if len(chosen) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.done.append(chosen)


def test_batches_are_worked_from_the_longest_rows_down():
    backbone, device = make("gpt2"), Device(99)
    backbone.in_batches([row(1, 1), row(5, 1), row(3, 1), row(4, 1)], 2, 16, device)
    assert device.done == [[3, 1], [0, 2]]


def test_the_budget_is_the_one_given_else_the_devices():
    backbone, rows = make("gpt2"), [row(90, 10)] * 21
    for budget, largest in ((0, 20), (200, 2), (10_000, 21)):  # 100 tokens a row; a CPU takes 2048
        device = Device(99)
        backbone.in_batches(rows, 0, budget, device)
        assert max(map(len, device.done)) == largest


def test_where_memory_runs_out_a_batch_is_cut_in_two_and_batches_stay_small():
    backbone, rows = make("gpt2"), [row(4, 1)] * 5 + [row(5, 1)] * 2
    device = Device(2)
    with pytest.warns(UserWarning, match="out of memory: smaller batches") as told:
        backbone.in_batches(rows, 3, 0, device)
    assert device.tried == [
        [0, 1, 2, 3, 4, 5, 6],
        [3, 4, 5, 6],
        [5, 6],
        [3, 4],
        [0, 1, 2],
        [1, 2],
        [0],
    ]
    assert len(told) == 1 and told[0].filename == __file__  # it names who asked
    assert backbone.most_tokens == 1 * (3 + 5)  # half of the last batch that did not fit
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        later = Device(2)
        backbone.in_batches(rows, 3, 1000, later)
    assert [len(batch) for batch in later.tried] == [1] * 7  # 8 or 9 tokens a row


def test_a_row_that_does_not_fit_alone_is_an_error_of_its_length():
    backbone = make("gpt2")
    with (
        pytest.warns(UserWarning),
        pytest.raises(ValueError, match="one row of 15 tokens does not fit the memory of cpu"),
    ):
        backbone.in_batches([row(2, 1), row(12, 3)], 3, 0, Device(0))
