"""Mixture of seen prompts by value: their numbers, anchors, jobs and rates, and what is returned."""

from dataclasses import replace

import pytest
import torch
from conftest import toy_backbone
from soft_prompts import choose_starts, losses, mix

from ipt.checkpoint import Checkpoint
from ipt.config import IstConfig
from ipt.encoded import EncodedTask
from ipt.methods import mixture
from ipt.methods.ist import SeenVectors
from ipt.training.loop import Outcome
from ipt.training.sweep import Selected

SEED = 3
TWO_RATES = IstConfig(steps=4, rows_per_step=4, eval_every=4, learning_rates=(0.1, 0.5), starts=3)
NAMES = tuple(f"seen {i}" for i in range(8))


@pytest.fixture
def backbone():
    return toy_backbone(dtype=torch.float32)


@pytest.fixture
def data(backbone, tasks):
    return [EncodedTask.draw(backbone, task, 100, shots=6, limit=4) for task in tasks[:3]]


def bank_of(count):
    return torch.randn(count, 3, 16, generator=torch.Generator().manual_seed(2))


class Grid:
    """Stands in for the loop and the choice among its jobs.

    It notes what it is given, sets random numbers, chooses these jobs.
    """

    def __init__(self, chosen):
        self.chosen = chosen

    def put(self, monkeypatch):
        monkeypatch.setattr(mixture, "fit", self.fit)
        monkeypatch.setattr(mixture, "select_best", self.select_best)

    def fit(self, model, source, jobs, config, execution):
        self.trained = (model, source, jobs, config)
        self.execution = execution
        self.source = source
        self.jobs = torch.arange(len(source.values))
        self.begin = source.weights(self.jobs).detach()
        generator = torch.Generator().manual_seed(1)
        source.values.data = torch.randn(source.values.shape, generator=generator)
        self.outcomes = [Outcome(1, 1, 0.5)] * len(jobs)
        return self.outcomes

    def select_best(self, model, source, sweep, outcomes, by_loss):
        trained_model, trained_source, jobs, config = self.trained
        assert model is trained_model and source is trained_source and outcomes is self.outcomes
        assert jobs == sweep.jobs(config) and len(jobs) == len(source.values)
        assert by_loss == config.prunes
        kept, progress = self.execution.checkpoint, self.execution.progress
        self.given = (model.backbone, sweep.tasks, config, sweep.seeds, kept, progress)
        rates = self.rates = sweep.learning_rates
        return [Selected(i, rates[i % len(rates)], Outcome(0, 0, 0.0), None) for i in self.chosen]

    def anchors(self):
        """Return each job's anchors [J, d + 1, S]: its start, and where each number of 1 leads."""
        found = [self.begin]
        for k in range(self.source.values.shape[1]):
            self.source.values.data = torch.zeros_like(self.source.values)
            self.source.values.data[:, k] = 1
            found.append(self.source.weights(self.jobs).detach())
        return torch.stack(found, 1)


def mix_with(monkeypatch, backbone, data, dim, config=TWO_RATES, count=8, chosen=(0, 0, 0)):
    """Return the stand-in for the loop and the weights that `mix` makes of what it chose."""
    grid = Grid(chosen)
    grid.put(monkeypatch)
    none = Checkpoint.none()
    return grid, mix(backbone, bank_of(count), NAMES[:count], dim, data, config, SEED, none)


def best_candidates(backbone, data, most, count=8, seed=SEED):
    """Return the weights [T, most, S] of the candidates with the least train loss, best first."""
    bank = bank_of(count)
    decode = lambda weights: weights @ bank.flatten(1)
    seen = SeenVectors(torch.eye(count), NAMES[:count])
    return choose_starts(backbone, decode, data, seen, seed, most)


@pytest.mark.parametrize(("starts", "dim"), [(1, 3), (3, 2), (5, 1)])
def test_a_mixture_has_exactly_d_numbers_a_job(backbone, data, monkeypatch, starts, dim):
    grid, _ = mix_with(monkeypatch, backbone, data, dim, replace(TWO_RATES, starts=starts))
    assert grid.source.values.shape == (3 * starts * 2, dim)  # tasks, starts and rates


@pytest.mark.parametrize(("starts", "dim"), [(1, 3), (3, 2), (5, 1)])
def test_each_of_the_best_is_first_once_and_the_best_others_follow(
    backbone, data, monkeypatch, starts, dim
):  # fmt: skip
    grid, _ = mix_with(monkeypatch, backbone, data, dim, replace(TWO_RATES, starts=starts))
    best = best_candidates(backbone, data, max(starts, dim + 1))
    expected = []
    for of_task in best:
        for start in range(starts):
            others = [i for i in range(len(of_task)) if i != start]
            order = [start, *others[:dim]]
            expected += [of_task[order], of_task[order]]  # a job for each of the two rates
    assert torch.allclose(grid.anchors(), torch.stack(expected), atol=1e-6)
    other = best_candidates(backbone, data, max(starts, dim + 1), seed=4)
    assert not torch.equal(best, other)  # control: the seed's rows count
    assert not torch.equal(best[0], best[1])  # control: and so does the task


def test_the_rates_take_turns_at_each_start(backbone, data, monkeypatch):
    grid, _ = mix_with(monkeypatch, backbone, data, 2)
    assert tuple(grid.rates) == (0.1, 0.5, 0.1, 0.5, 0.1, 0.5)
    begin = grid.begin.view(3, 3, 2, 8)  # tasks, starts, rates
    assert torch.equal(begin[:, :, 0], begin[:, :, 1]) and not torch.equal(begin[:, 0], begin[:, 1])


def test_one_start_is_the_best_candidate(backbone, data, monkeypatch):
    grid, _ = mix_with(monkeypatch, backbone, data, 2, replace(TWO_RATES, start="mean"))
    best = best_candidates(backbone, data, 3)
    assert torch.equal(grid.begin.view(3, 2, 8), best[:, :1].expand(-1, 2, -1))
    assert tuple(grid.rates) == (0.1, 0.5)


@pytest.mark.parametrize("starts", [3, 5])
def test_where_candidates_are_few_all_are_mixed(backbone, data, monkeypatch, starts):
    """Two prompts and their mean: three candidates, whatever is asked for."""
    config = replace(TWO_RATES, starts=starts)
    grid, _ = mix_with(monkeypatch, backbone, data, 5, config, count=2)
    assert grid.source.values.shape == (3 * 3 * 2, 2) and len(grid.rates) == 3 * 2
    assert torch.allclose(grid.anchors().sum(1), torch.full((18, 2), 1.5))  # each job has all three


def test_the_chosen_jobs_weights_are_returned_and_rebuild_its_prompt(backbone, data, monkeypatch):
    chosen = (3, 8, 17)
    grid, weights = mix_with(monkeypatch, backbone, data, 2, chosen=chosen)
    numbers, anchors, bank = grid.source.values.detach().clone(), grid.anchors(), bank_of(8)
    for found, job in zip(weights, chosen, strict=True):
        first, one, two = anchors[job]
        expected = first + numbers[job, 0] * (one - first) + numbers[job, 1] * (two - first)
        torch.testing.assert_close(found, expected)
        assert float(found.sum()) == pytest.approx(1, abs=1e-5)
        prompt = sum(float(share) * lead for share, lead in zip(found, bank, strict=True))
        grid.source.values.data = numbers
        own = grid.source(torch.tensor([job]))[0].detach()
        torch.testing.assert_close(own.view(3, 16), prompt, rtol=1e-4, atol=1e-5)
    assert not weights.requires_grad


def test_jobs_asked_in_any_order_have_their_own_weights(backbone, data, monkeypatch):
    grid, _ = mix_with(monkeypatch, backbone, data, 2)
    asked = torch.tensor([16, 2, 2, 9])
    assert torch.equal(grid.source.weights(asked), grid.source.weights(grid.jobs)[asked])


def test_mixtures_are_tuned_with_the_data_and_settings_of_the_call(backbone, data, monkeypatch):
    grid = Grid((0, 0, 0))
    grid.put(monkeypatch)
    kept, progress = Checkpoint.none(), lambda done, total, loss: None
    mix(backbone, bank_of(8), NAMES, 2, data, TWO_RATES, SEED, kept, progress)
    expected = (backbone, data, TWO_RATES, SEED, kept, progress)
    assert all(a is b for a, b in zip(grid.given, expected, strict=True))


def test_one_row_is_enough_to_find_the_best_prompts(backbone, tasks, monkeypatch):
    """By hand: the loss of each prompt, and of their mean, on the task's only row."""
    one = [EncodedTask.draw(backbone, tasks[1], 100, shots=1, limit=4)]
    grid, _ = mix_with(monkeypatch, backbone, one, 1, replace(TWO_RATES, starts=1), chosen=(0,))
    bank = bank_of(8)
    candidates = torch.cat([bank.mean(0, keepdim=True), bank])
    nats = [float(losses(backbone, lead[None], one[0].train)) for lead in candidates]
    best, second = sorted(range(9), key=lambda c: nats[c])[:2]
    shares = torch.cat([torch.full((1, 8), 1 / 8), torch.eye(8)])
    assert torch.allclose(grid.anchors()[0], shares[[best, second]])
