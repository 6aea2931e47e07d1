"""IST's starts against a plain search, and each of its jobs' start and rate: on paper."""

import numpy as np
import pytest
import torch
from fitted import Bowl, number_task
from hypothesis import given, settings
from hypothesis import strategies as st
from small_runs import job_lines
from soft_prompts import choose_starts, tune_vectors

from ipt.checkpoint import Checkpoint
from ipt.config import IstConfig
from ipt.methods.ist import SeenVectors, starts_without_search
from ipt.methods.subspace import Subspace
from ipt.training import sweep as grid
from ipt.training.evaluate import Score

ROUNDS = ((1, 20), (3, 6), (9, 1))  # rows met up to a round's end, candidates left then
FEW = settings(max_examples=40, deadline=None, derandomize=True)


class Table(Bowl):
    """A backbone whose losses are drawn for each pair of a code and a row; it notes the pairs."""

    def __init__(self, seed):
        self.seed, self.met = seed, []

    def loss(self, code, row):
        key = (self.seed, row.input_ids[0], int(round(code * 1000)))
        return np.random.default_rng(key).uniform(1, 2)

    def losses(self, deltas, owner, rows):
        found = []
        for code, row in zip(deltas[owner][:, 0].tolist(), rows, strict=True):
            self.met.append((round(code, 6), row.input_ids[0]))
            found.append(self.loss(code, row))
        return torch.tensor(found, dtype=torch.float64)

    def in_batches(self, rows, work, token_budget=0, answer_tokens=0):
        assert token_budget == 0  # what suits the device
        assert answer_tokens == 0
        super().in_batches(rows, work, token_budget, answer_tokens)


def decode(codes):
    """A delta of one number: the code itself."""
    return codes


def seen_codes(count, owners):
    """Decoded 1, 2, 4, 7, ..., the last half more: no two alike and (of several) none the mean."""
    numbers = [1 + i * (i + 1) / 2 for i in range(count)]
    numbers[-1] += 0.5  # without it the mean of thirteen is the eighth
    names = tuple(owners.get(i, f"other {i}") for i in range(count))
    return SeenVectors(torch.tensor(numbers, dtype=torch.float64)[:, None], names)


def plain_starts(table, data, seen, seed, count):
    """Return a task's starts and the pairs met, one candidate and one row after another."""
    numbers = seen.vectors[:, 0].tolist()
    left = [sum(numbers) / len(numbers)]
    for number, name in zip(numbers, seen.tasks, strict=True):
        if name != data.task.name:
            left.append(number)
    order = np.random.default_rng(seed).permutation(len(data.train))
    sums, met, begin = dict.fromkeys(left, 0.0), [], 0
    for end, kept in ROUNDS:
        if begin and len(left) <= count:
            break
        for code in left:
            for place in order[begin:end]:
                sums[code] += table.loss(code, data.train[place])
                met.append((round(code, 6), data.train[place].input_ids[0]))
        left = sorted(left, key=sums.get)[: max(kept, count)]
        begin = end
    return left[:count], met


@FEW
@given(
    seed=st.integers(0, 99),
    codes=st.integers(1, 27),
    rows=st.integers(1, 12),
    count=st.integers(1, 9),
    own=st.integers(0, 30),
)
def test_starts_are_the_best_of_other_tasks_codes_and_their_mean(seed, codes, rows, count, own):
    seen = seen_codes(codes, {own: "mine"})
    seen.vectors.requires_grad_()
    data = number_task("mine", list(range(rows)), [0])
    count = min(count, codes if own < codes else codes + 1)
    table = Table(seed)
    found = choose_starts(table, decode, [data], seen, seed, count)
    best, met = plain_starts(Table(seed), data, seen, seed, count)
    assert found.shape == (1, count, 1)
    assert not found.requires_grad
    assert found[0, :, 0].tolist() == pytest.approx(best)
    assert sorted(table.met) == sorted(met)


@pytest.mark.parametrize(("codes", "left"), [(40, 20), (15, 6)])
def test_twenty_and_then_six_candidates_stay(codes, left):
    """Counted by the rows that are met: one each at first, then two more and six more."""
    table = Table(0)
    data = number_task("mine", list(range(12)), [0])
    choose_starts(table, decode, [data], seen_codes(codes - 1, {}), 0)
    by_code = {}
    for code, row in table.met:
        by_code.setdefault(code, []).append(row)
    lengths = sorted(len(rows) for rows in by_code.values())
    assert len(by_code) == codes
    assert lengths.count(9) == 6
    assert sum(length > 1 for length in lengths) == min(codes, 20)
    assert sum(length > 3 for length in lengths) == min(left, 6)
    rows = next(rows for rows in by_code.values() if len(rows) == 9)
    assert rows != sorted(rows)  # control: in the order of the seed
    assert len(set(rows)) == 9


@FEW
@given(
    seed=st.integers(0, 99),
    codes=st.integers(2, 27),
    count=st.integers(1, 8),
    owned=st.integers(1, 3),
)
def test_a_tasks_starts_are_the_same_alone_and_beside_others(seed, codes, count, owned):
    """The others have fewer candidates, for some seen codes are theirs, and more, as none is."""
    codes = codes + owned
    count = min(count, codes - owned)
    seen = seen_codes(codes, dict.fromkeys(range(owned), "rich") | {owned: "one"})
    data = [
        number_task("rich", list(range(20, 31)), [0]),
        number_task("none", list(range(40, 43)), [0]),
        number_task("one", list(range(60, 72)), [0]),
    ]
    together = choose_starts(Table(seed), decode, data, seen, seed, count)
    for place, d in enumerate(data):
        alone = choose_starts(Table(seed), decode, [d], seen, seed, count)
        assert torch.equal(together[place], alone[0])


def test_a_task_with_fewer_candidates_shortens_what_all_get():
    seen = seen_codes(4, {0: "rich", 1: "rich", 2: "rich"})
    data = [number_task("none", [1, 2, 3], [0]), number_task("rich", [1, 2, 3], [0])]
    assert choose_starts(Table(0), decode, data, seen, 0, 9).shape == (2, 2, 1)
    alone = choose_starts(Table(0), decode, data[:1], seen, 0, 9)
    assert alone.shape == (1, 5, 1)  # control: all and the mean


@pytest.mark.parametrize("rows", [1, 3])
def test_a_task_with_fewer_rows_than_the_rounds_take_has_starts(rows):
    data, seen = number_task("mine", list(range(rows)), [0]), seen_codes(9, {})
    found = choose_starts(Table(0), decode, [data], seen, 0, 1)
    sums = {}
    for code in (float(seen.mean), *seen.vectors[:, 0].tolist()):
        sums[code] = sum(Table(0).loss(code, row) for row in data.train)
    assert float(found) == pytest.approx(min(sums, key=sums.get))


def test_without_tasks_there_are_no_starts():
    seen = SeenVectors(torch.ones(3, 4, dtype=torch.float64), ("a", "b", "c"))
    found = choose_starts(Table(0), decode, [], seen, 0, 2)
    assert found.shape == (0, 2, 4)
    assert found.dtype == torch.float64


def test_one_start_is_chosen_where_no_number_is_given():
    data = number_task("mine", [1, 2, 3], [0])
    assert choose_starts(Table(0), decode, [data], seen_codes(4, {}), 0).shape == (1, 1, 1)


def test_the_mean_of_the_seen_codes_is_over_tasks():
    seen = SeenVectors(torch.tensor([[1.0, 10.0], [2.0, 40.0], [6.0, 10.0]]), ("a", "b", "c"))
    assert torch.equal(seen.mean, torch.tensor([[3.0, 20.0]]))


RATES = (0.5, 0.125)


def plain_space(**more):
    """A subspace whose codes are the prompts themselves: two numbers."""
    space = Subspace(1 * 2, 2, 0, **more)
    with torch.no_grad():
        space.delta_decoder.first.weight.copy_(torch.eye(2))
        space.delta_decoder.first.bias.zero_()
    return space.double()


def starts_of(tasks, count):
    """Return starts [T, S, 2], no two with a number in common."""
    return torch.arange(tasks * count * 2, dtype=torch.float64).view(tasks, count, 2)


def far(name, seed=100):
    """A task far above every start: one step of Adam adds the learning rate to each number."""
    return number_task(name, [1000], [1000], seed)


def tuned(space, data, config, seeds=3, start=None):
    return tune_vectors(Bowl(), space, data, config, seeds, Checkpoint.none(), start=start)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_each_start_meets_each_rate_and_the_vector_is_the_chosen_jobs(monkeypatch, count):
    """Also where starts and rates have a common divisor; each job is preferred in turn."""
    starts, data, jobs = starts_of(2, count), [far("a"), far("b")], count * len(RATES)
    config = IstConfig(steps=1, eval_every=1, rows_per_step=1, learning_rates=RATES, pruning="none")
    found = [set(), set()]
    for preferred in range(jobs):

        def scores(backbone, prompts, tried, part, rank, preferred=preferred):
            wanted = {preferred, jobs + (preferred + 1) % jobs}
            return [Score(float(place in wanted), None, ()) for place in range(len(tried))]

        monkeypatch.setattr(grid, "score_deltas", scores)
        vectors, choices = tuned(plain_space(), data, config, start=starts)
        assert vectors.shape == (2, 2)
        for t in (0, 1):
            rate = choices[t].learning_rate
            first = (vectors[t] - rate).round(decimals=4)
            loss = float((1000 - vectors[t]).square().mean())
            assert choices[t].outcome.dev_loss == pytest.approx(loss)
            found[t].add((*first.tolist(), rate))
    for t in (0, 1):
        expected = {(*start, rate) for start in starts[t].tolist() for rate in RATES}
        assert found[t] == expected


def test_without_starts_vectors_begin_at_the_mean_code():
    config = IstConfig(steps=1, eval_every=1, rows_per_step=1, learning_rates=(0.5,))
    space = plain_space().float()
    vectors, _ = tuned(space, [far("a"), far("b")], config)
    torch.testing.assert_close(vectors, torch.full((2, 2), 0.5))
    assert not vectors.requires_grad
    started, _ = tuned(space, [far("a")], config, start=torch.ones(1, 1, 2))
    torch.testing.assert_close(started, torch.full((1, 2), 1.5))  # control: another start


def test_the_vector_kept_is_that_of_the_least_dev_loss():
    """The train row pulls up by 0.5 a step; the dev row's number is 3."""
    data = [number_task("a", [1000], [3])]
    more = {"patience": 40, "warmup": 0.0, "learning_rates": (0.5,)}
    config = IstConfig(steps=40, eval_every=1, rows_per_step=1, **more)
    vectors, (choice,) = tuned(plain_space().float(), data, config)
    assert (vectors - 3).abs().max() < 0.5
    assert choice.outcome.best_step < choice.outcome.steps == 40
    assert choice.outcome.dev_loss == pytest.approx(float((vectors - 3).square().mean()))


def test_a_seed_orders_the_rows_of_its_own_task():
    """Two rows pull to opposite sides and a step meets one of them: its order shows in the sign."""
    data = number_task("a", [-1000, 1000], [0])
    config = IstConfig(steps=1, eval_every=1, rows_per_step=1, learning_rates=(0.5,))

    def ends(tasks, seeds):
        vectors, _ = tuned(plain_space().float(), tasks, config, seeds)
        return vectors[:, 0].tolist()

    alone = [ends([data], seed)[0] for seed in range(6)]
    assert len(set(alone)) == 2  # control: the seed decides
    assert ends([data] * 6, list(range(6))) == alone
    assert ends([data] * 2, 4) == [alone[4]] * 2


def test_progress_and_the_checkpoint_are_passed_on(tmp_path):
    config = IstConfig(steps=3, eval_every=1, rows_per_step=1, learning_rates=(0.5,))
    seen, checkpoint = [], Checkpoint(tmp_path, "ist", 0)
    note = lambda *row: seen.append(row)
    tune_vectors(Bowl(), plain_space().float(), [far("a")], config, 3, checkpoint, note)
    assert [row[:2] for row in seen] == [(1, 3), (2, 3), (3, 3)]
    assert len(job_lines(tmp_path / "metrics-ist.jsonl")) == 3


def test_a_subspace_of_another_width_is_refused_by_name():
    space = Subspace(1 * 8, 2, 4, "msf", "other", "toy", 0, tuner="lora")
    named = r"deltas of 8 numbers, soft-prompt of --model bowl has 2; .*: other, lora$"
    with pytest.raises(ValueError, match=named):
        tune_vectors(Bowl(), space, [far("a")], IstConfig(), 0, Checkpoint.none())


def test_noise_is_one_draw_of_the_seed_for_all_tasks():
    subspace = Subspace(6, 2, 4)
    seen = SeenVectors(torch.zeros(3, 2), ("a", "b", "c"))
    torch.manual_seed(1)
    first = starts_without_search(IstConfig(start="noise"), subspace, seen, 4, seed=5)
    torch.manual_seed(2)
    again = starts_without_search(IstConfig(start="noise"), subspace, seen, 4, seed=5)
    other = starts_without_search(IstConfig(start="noise"), subspace, seen, 4, seed=6)
    assert first.shape == (4, 1, 2) and torch.equal(first, again)
    assert torch.equal(first, first[:1].repeat(4, 1, 1)) and not torch.equal(first, other)
    # N(0, 0.02): the draw of this seed, times 0.02.
    drawn = torch.randn(2, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(first[0, 0], 0.02 * drawn)
