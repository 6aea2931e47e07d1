"""Second-order fitting against a plain search of one job, row by row, where logits are known."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from fitted import Bowl
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from soft_prompts import fit_vectors, linearize

from ipt.backbones.base import Encoded, batches
from ipt.checkpoint import Checkpoint
from ipt.config import LevenbergMarquardtConfig
from ipt.training.levenberg_marquardt import Search
from ipt.training.loop import Job
from ipt.training.source import Decoded

OFTEN_NEAR = [HealthCheck.filter_too_much]
FEW = settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=OFTEN_NEAR)
MAP = np.random.default_rng(0).normal(size=(6, 2))
CONFIG = LevenbergMarquardtConfig(iterations=2, tolerance=0.0)


def decode(codes):
    """Two vectors of three numbers each, curved in the code."""
    moved = codes @ torch.from_numpy(MAP).to(codes).T
    return 2 * torch.tanh(moved)


class Logits(Bowl):
    """Token t's logits are vector t (of two, in turn) of the prompt times the row's number.

    Every call must keep within the budget of padded tokens. It is its own backbone and tuner.
    """

    token_budget = 90
    backbone = tuner = None

    def __init__(self):
        self.budget = self.largest = 0
        self.backbone = self.tuner = self

    @contextmanager
    def applied(self, backbone, deltas, owner):
        assert backbone is self
        self.prompts = deltas[owner].unflatten(1, (2, 3))
        yield
        self.prompts = None

    def answer_logits(self, rows):
        tall = max(len(row.label_ids) for row in rows)
        self.largest = max(self.largest, len(rows) * (2 + 1 + tall))
        assert self.largest <= self.budget
        numbers = torch.tensor([row.input_ids[0] / 4 for row in rows])
        logits = self.prompts[:, [t % 2 for t in range(tall)]] * numbers[:, None, None]
        labels = [[*row.label_ids, *[-100] * (tall - len(row.label_ids))] for row in rows]
        return logits, torch.tensor(labels)

    def losses(self, deltas, owner, rows):
        found = []
        for delta, row in zip(deltas[owner], rows, strict=True):
            found.append(loss_of(row, delta.double().numpy().reshape(2, 3)))
        return torch.tensor(found, dtype=torch.float64)

    def in_batches(self, rows, work, token_budget=0, answer_tokens=0):
        used = token_budget or self.token_budget
        for chosen in batches(rows, 2, used):  # a prompt of two vectors
            self.budget = getattr(self, "most", 10**6)
            work(chosen)


def log_p(prompt, row, t):
    """Return the log probabilities of the three tokens at place t of a row's answer."""
    logits = prompt[t % 2] * row.input_ids[0] / 4
    return logits - np.log(np.exp(logits).sum())


def loss_of(row, prompt):
    total = 0.0
    for t, label in enumerate(row.label_ids):
        total -= log_p(prompt, row, t)[label]
    return total / len(row.label_ids)


def prompt_at(z):
    return 2 * np.tanh(MAP @ z).reshape(2, 3)


def mean_loss(rows, z):
    return np.mean([loss_of(row, prompt_at(z)) for row in rows])


def plain_model(rows, z, shift):
    """Return gradient and Gauss-Newton matrix of the mean loss, slopes as differences."""
    gradient, curvature = np.zeros(2), np.zeros((2, 2))
    for row in rows:
        for t, label in enumerate(row.label_ids):
            slopes = []
            for axis in np.eye(2):
                ahead = prompt_at(z + shift * axis)[t % 2] * row.input_ids[0] / 4
                slopes.append((ahead - prompt_at(z)[t % 2] * row.input_ids[0] / 4) / shift)
            slopes = np.array(slopes)
            p = np.exp(log_p(prompt_at(z), row, t))
            weight = 1 / (len(rows) * len(row.label_ids))
            gradient += weight * slopes @ (p - np.eye(3)[label])
            curvature += weight * slopes @ (np.diag(p) - np.outer(p, p)) @ slopes.T
    return gradient, curvature


def plain_search(train, dev, z, config):
    """Return best code, steps, best step, its dev loss, last damping, and how near a choice was."""
    best, best_loss, best_step, failures, damping = z, mean_loss(dev, z), 0, 0, 1.0
    nearest = np.inf
    for steps in range(1, config.iterations + 1):
        gradient, curvature = plain_model(train, z, config.shift)
        before = mean_loss(train, z) + config.prior / 2 * z @ z
        tried = []
        for factor in (0.1, 1, 10, 100):
            matrix = curvature + (config.prior + damping * factor) * np.eye(2)
            there = z - np.linalg.solve(matrix, gradient + config.prior * z)
            objective = mean_loss(train, there) + config.prior / 2 * there @ there
            tried.append((objective, factor, there))
        objective, factor, there = min(tried, key=lambda one: one[0])
        gain, least = before - objective, config.tolerance * before
        apart = np.diff(sorted(one[0] for one in tried))
        nearest = min(nearest, abs(gain), abs(gain - least), *apart)
        damping *= factor if gain > 0 else factor * 100
        if gain > 0:
            z = there
            nearest = min(nearest, abs(mean_loss(dev, z) - best_loss))
        failures += 1
        if mean_loss(dev, z) < best_loss:
            best, best_loss, best_step, failures = z, mean_loss(dev, z), steps, 0
        if 0 < gain <= least or failures >= config.patience:
            break
    return best, steps, best_step, best_loss, damping, nearest


def rows_of(rng, count):
    """Rows of one number from 1 to 8 and one to four answer tokens."""
    rows = []
    for _ in range(count):
        answer = rng.integers(0, 3, size=rng.integers(1, 5))
        rows.append(Encoded((int(rng.integers(1, 9)),), tuple(int(token) for token in answer)))
    return rows


def job_of(index, train, dev):
    """A job whose train rows are in two groups."""
    half, own = len(train) // 2, tuple((index, row) for row in train)
    dev = tuple((index, row) for row in dev)
    return Job(f"job {index}", (own[:half], own[half:]), dev, 0.0, 0, 0)


def fitted(sets, start, config, checkpoint=None, **more):
    """Return what is kept of stacked jobs with these (train, dev) rows, and their outcomes."""
    codes = Decoded(torch.from_numpy(np.array(start)), decode)
    jobs = [job_of(i, train, dev) for i, (train, dev) in enumerate(sets)]
    outcomes = fit_vectors(Logits(), codes, jobs, config, checkpoint or Checkpoint.none(), **more)
    return codes.values.detach().numpy(), outcomes


SETTINGS = st.builds(
    LevenbergMarquardtConfig,
    prior=st.sampled_from([0.0, 0.01, 0.5]),
    tolerance=st.sampled_from([0.001, 0.1]),
    patience=st.integers(1, 3),
    iterations=st.integers(1, 6),
    shift=st.sampled_from([0.01, 0.1, 0.5]),
)


@FEW
@given(seed=st.integers(0, 999), config=SETTINGS)
def test_a_stacked_search_is_a_plain_one_for_each_job(seed, config):
    """Objective, prior, damping, tolerance, patience, best step; no choice is left to rounding."""
    rng = np.random.default_rng(seed)
    sets = [(rows_of(rng, int(count)), rows_of(rng, 3)) for count in rng.integers(2, 6, size=2)]
    start = rng.normal(size=(2, 2))
    expected = [plain_search(*rows, z, config) for rows, z in zip(sets, start, strict=True)]
    assume(min(nearest for *_, nearest in expected) > 1e-6)
    found, outcomes = fitted(sets, start, config)
    for plain, kept, outcome in zip(expected, found, outcomes, strict=True):
        best, steps, best_step, loss, *_ = plain
        assert (outcome.steps, outcome.best_step) == (steps, best_step)
        assert outcome.dev_loss == pytest.approx(loss)
        assert kept == pytest.approx(best, abs=1e-5)


def case(seed=0):
    """One job whose dev rows are its train rows."""
    rows = rows_of(np.random.default_rng(seed), 4)
    return [(rows, rows)], np.array([[0.3, -0.2]])


def test_the_prior_draws_towards_zero():
    sets, start = case()
    free, _ = fitted(sets, start, LevenbergMarquardtConfig(prior=0.0, tolerance=0.0))
    drawn, _ = fitted(sets, start, LevenbergMarquardtConfig(prior=1.0, tolerance=0.0))
    assert np.linalg.norm(drawn) < 0.5 * np.linalg.norm(free)


def test_a_small_gain_ends_a_job_and_a_larger_one_does_not():
    sets, start = case()
    (rows, _), (z,) = sets[0], start
    first = plain_search(rows, rows, z, LevenbergMarquardtConfig(iterations=1, tolerance=0.0))[0]
    prior = LevenbergMarquardtConfig().prior / 2
    before = mean_loss(rows, z) + prior * z @ z
    after = mean_loss(rows, first) + prior * first @ first
    share = (before - after) / before
    for factor, steps in ((1.01, 1), (0.99, 2)):
        config = LevenbergMarquardtConfig(iterations=2, tolerance=factor * share)
        assert fitted(sets, start, config)[1][0].steps == steps


def test_a_job_that_nothing_moves_ends_by_its_patience():
    """The number 0 makes every token as likely, whatever the code: no step is better or worse."""
    rows = [Encoded((0,), (1, 2))]
    config = LevenbergMarquardtConfig(iterations=9, prior=0.0, patience=4)
    found, (outcome,) = fitted([(rows, rows)], [[0.5, 0.5]], config)
    assert (outcome.steps, outcome.best_step) == (4, 0)
    assert outcome.dev_loss == pytest.approx(np.log(3))
    assert found.tolist() == [[0.5, 0.5]]


def opposed():
    """A job whose dev rows want what its train rows do not."""
    train, dev = [Encoded((4,), (0, 1))] * 2, [Encoded((4,), (1, 0))]
    return [(train, dev)], np.array([[0.0, 0.0]])


@pytest.mark.parametrize("patience", [1, 3])
def test_a_start_better_than_every_step_is_kept(patience):
    sets, start = opposed()
    config = LevenbergMarquardtConfig(iterations=9, tolerance=0.0, patience=patience)
    found, (outcome,) = fitted(sets, start, config)
    assert found.tolist() == start.tolist()
    assert (outcome.steps, outcome.best_step) == (patience, 0)
    assert outcome.dev_loss == pytest.approx(np.log(3))
    last = plain_search(*sets[0][:1], sets[0][0], start[0], config)[0]
    assert np.abs(last).max() > 0.1  # control: the train rows do move the code


def test_where_no_step_is_better_the_code_stays_and_the_damping_grows(tmp_path):
    """On |z| a difference that jumps over 0 points away from it: the least step harms least.

    So each time the damping becomes the largest tried, a hundred times itself, and that times 100.
    """

    def folded(codes):
        vectors = codes.abs()[:, :1, None].expand(-1, 2, 3) * torch.tensor([1.0, 0.0, 0.0])
        return vectors.flatten(1)

    row = Encoded((4,), (1,))  # wants the first number, |z|, small
    codes = Decoded(torch.tensor([[-0.06]], dtype=torch.float64), folded)
    config = LevenbergMarquardtConfig(iterations=3, prior=0.0, shift=0.2, patience=9)
    checkpoint = Checkpoint(tmp_path, "newton", 0)
    met, jobs = [], [job_of(0, [row, row], [row])]
    note = lambda done, total, loss: met.append(loss)
    (outcome,) = fit_vectors(Logits(), codes, jobs, config, checkpoint, note)
    assert (outcome.steps, outcome.best_step) == (3, 0)
    assert met == [met[0]] * 3  # the train loss of a code that stays
    again = Search(Decoded(torch.zeros(1, 1, dtype=torch.float64), folded))
    assert Checkpoint(tmp_path, "newton", 0).restore(again.tensors())
    assert again.damping.tolist() == [10_000.0**3]
    assert again.tensors()["now"].tolist() == [[-0.06]]


def test_the_damping_that_helped_most_is_kept_for_the_next_step(tmp_path):
    for seed in range(4):
        sets, start = case(seed)
        folder = tmp_path / str(seed)
        folder.mkdir()
        fitted(sets, start, CONFIG, Checkpoint(folder, "newton", 0))
        again = Search(Decoded(torch.zeros(1, 2, dtype=torch.float64), decode))
        assert Checkpoint(folder, "newton", 0).restore(again.tensors())
        expected = plain_search(*sets[0], start[0], CONFIG)[4]
        assert float(again.damping) == pytest.approx(expected)
        assert expected != pytest.approx(1.0)  # control: it is not the first one's


@pytest.mark.parametrize(("budget", "most"), [(0, 90), (60, 60)])
def test_every_row_counts_once_for_each_shifted_code_in_the_budget(budget, most):
    """A batch of B rows is B (d + 1) rows of padded tokens; the model's own budget is 90."""
    rng = np.random.default_rng(0)
    rows, backbone = rows_of(rng, 30), Logits()
    backbone.most = most
    codes = Decoded(torch.zeros(1, 2, dtype=torch.float64), decode)
    config = LevenbergMarquardtConfig(token_budget=budget)
    jobs = [job_of(0, rows, rows)]
    losses, gradient, curvature = linearize(backbone, codes, codes.values.detach(), jobs, config)
    assert backbone.largest > 0.75 * most  # control: with one more each, batches would be smaller
    slope, matrix = plain_model(rows, np.zeros(2), config.shift)
    assert float(losses) == pytest.approx(mean_loss(rows, np.zeros(2)))
    assert gradient[0].numpy() == pytest.approx(slope)
    assert curvature[0].numpy() == pytest.approx(matrix)


def test_slopes_of_a_half_precision_model_are_taken_in_single():
    class Half(Logits):
        def answer_logits(self, rows):
            logits, labels = super().answer_logits(rows)
            return logits.half(), labels

    rows = rows_of(np.random.default_rng(0), 5)
    codes = Decoded(torch.zeros(1, 2), decode)
    jobs = [job_of(0, rows, rows)]
    losses, gradient, _ = linearize(Half(), codes, codes.values.detach(), jobs, CONFIG)
    slope, _ = plain_model(rows, np.zeros(2), CONFIG.shift)
    assert losses.dtype == gradient.dtype == torch.float64
    assert float(losses) == pytest.approx(mean_loss(rows, np.zeros(2)), abs=1e-6)
    assert gradient[0].numpy() == pytest.approx(slope, abs=1e-2)
