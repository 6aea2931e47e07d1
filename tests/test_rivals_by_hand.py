"""Rivals of a subspace by value: mixtures' numbers, anchors and jobs; adapters and directions, trained and chosen by dev loss."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from conftest import toy_backbone

from ipt import rivals
from ipt.config import IstConfig
from ipt.evaluate import Score, TaskData
from ipt.grid import Choice, stack
from ipt.ist import SeenCodes, choose_starts
from ipt.rivals import adapter, adapter_places, all_weights, directions, lora, mix, tune_models
from ipt.run import Checkpoint
from ipt.train import Outcome, take_rows

SEED = 3
TWO_RATES = IstConfig(steps=4, rows_per_step=4, eval_every=4, learning_rates=(0.1, 0.5), starts=3)
NAMES = tuple(f"seen {i}" for i in range(8))
LORA_RATES, DIRECTION_RATES = (0.01, 0.03, 0.1), (0.003, 0.01, 0.03)
TRAIN = IstConfig(steps=10, rows_per_step=4, eval_every=4, warmup=0.2, clip=0.1)
FACTORS = (0.5, 1, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8)  # of the rate: two steps up, then down to 0


@pytest.fixture
def backbone():
    return toy_backbone(dtype=torch.float32)


@pytest.fixture
def data(backbone, tasks):
    return [TaskData.draw(backbone, task, 100, shots=6, limit=4) for task in tasks[:3]]


def bank_of(count):
    return torch.randn(count, 3, 16, generator=torch.Generator().manual_seed(2))


class Grid:
    """Stands in for `fit_grid`: notes what it is given, sets random numbers, and chooses the jobs of these places."""

    def __init__(self, chosen):
        self.chosen = chosen

    def __call__(self, backbone, source, data, rates, config, seed, kept, progress):
        self.given = (backbone, data, config, seed, kept, progress)
        self.source, self.rates = source, rates
        self.jobs = torch.arange(len(source.values))
        self.begin = source.weights(self.jobs).detach()
        source.values.data = torch.randn(source.values.shape, generator=torch.Generator().manual_seed(1))
        return [Choice(i, rates[i % len(rates)], Outcome(0, 0, 0.0), None) for i in self.chosen]

    def anchors(self):
        """Return each job's anchors [J, d + 1, S]: where it begins, and where one whole step along each number leads."""
        found = [self.begin]
        for k in range(self.source.values.shape[1]):
            self.source.values.data = torch.zeros_like(self.source.values)
            self.source.values.data[:, k] = 1
            found.append(self.source.weights(self.jobs).detach())
        return torch.stack(found, 1)


def mix_with(monkeypatch, backbone, data, dim, config=TWO_RATES, count=8, chosen=(0, 0, 0)):
    """Return the stand-in for the grid and the weights that `mix` makes of what it chose."""
    grid = Grid(chosen)
    monkeypatch.setattr(rivals, "fit_grid", grid)
    return grid, mix(backbone, bank_of(count), NAMES[:count], dim, data, config, SEED, Checkpoint.none())


def best_candidates(backbone, data, most, count=8, seed=SEED):
    """Return the weights [T, most, S] of the candidates with the least loss on the few shots, best first."""
    bank = bank_of(count)
    decode = lambda weights: (weights @ bank.flatten(1)).view(-1, 3, 16)
    return choose_starts(backbone, decode, data, SeenCodes(torch.eye(count), NAMES[:count]), seed, most)


@pytest.mark.parametrize(("starts", "dim"), [(1, 3), (3, 2), (5, 1)])
def test_a_mixture_has_exactly_d_numbers_a_job(backbone, data, monkeypatch, starts, dim):
    grid, _ = mix_with(monkeypatch, backbone, data, dim, replace(TWO_RATES, starts=starts))
    assert grid.source.values.shape == (3 * starts * 2, dim)  # tasks, starts and rates


@pytest.mark.parametrize(("starts", "dim"), [(1, 3), (3, 2), (5, 1)])
def test_each_of_the_best_candidates_is_first_once_and_the_best_others_follow(backbone, data, monkeypatch, starts, dim):
    grid, _ = mix_with(monkeypatch, backbone, data, dim, replace(TWO_RATES, starts=starts))
    best = best_candidates(backbone, data, max(starts, dim + 1))
    expected = []
    for of_task in best:
        for start in range(starts):
            others = [i for i in range(len(of_task)) if i != start]
            order = [start, *others[:dim]]
            expected += [of_task[order], of_task[order]]  # a job for each of the two rates
    assert torch.allclose(grid.anchors(), torch.stack(expected), atol=1e-6)
    assert not torch.equal(best, best_candidates(backbone, data, max(starts, dim + 1), seed=4))  # control: the seed's rows count
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


def test_where_candidates_are_few_all_are_mixed(backbone, data, monkeypatch):
    grid, _ = mix_with(monkeypatch, backbone, data, 5, count=2)  # two prompts and their mean
    assert grid.source.values.shape == (3 * 3 * 2, 2)
    assert torch.allclose(grid.anchors().sum(1), torch.full((18, 2), 1.5))  # each job has all three


def test_the_chosen_jobs_weights_are_returned_and_rebuild_its_prompt(backbone, data, monkeypatch):
    chosen = (3, 8, 17)
    grid, weights = mix_with(monkeypatch, backbone, data, 2, chosen=chosen)
    numbers, anchors, bank = grid.source.values.detach().clone(), grid.anchors(), bank_of(8)
    for found, job in zip(weights, chosen, strict=True):
        first, one, two = anchors[job]
        torch.testing.assert_close(found, first + numbers[job, 0] * (one - first) + numbers[job, 1] * (two - first))
        assert float(found.sum()) == pytest.approx(1, abs=1e-5)
        prompt = sum(float(share) * lead for share, lead in zip(found, bank, strict=True))
        grid.source.values.data = numbers
        torch.testing.assert_close(grid.source(torch.tensor([job]))[0].detach(), prompt, rtol=1e-4, atol=1e-5)
    assert not weights.requires_grad


def test_jobs_asked_in_any_order_have_their_own_weights(backbone, data, monkeypatch):
    grid, _ = mix_with(monkeypatch, backbone, data, 2)
    asked = torch.tensor([16, 2, 2, 9])
    assert torch.equal(grid.source.weights(asked), grid.source.weights(grid.jobs)[asked])


def test_mixtures_are_tuned_with_the_data_and_settings_of_the_call(backbone, data, monkeypatch):
    grid = Grid((0, 0, 0))
    monkeypatch.setattr(rivals, "fit_grid", grid)
    kept, progress = Checkpoint.none(), lambda done, total, loss: None
    mix(backbone, bank_of(8), NAMES, 2, data, TWO_RATES, SEED, kept, progress)
    assert all(a is b for a, b in zip(grid.given, (backbone, data, TWO_RATES, SEED, kept, progress), strict=True))


def trained(backbone):
    """Return what is being trained in a model, in its present state."""
    return [p.detach().clone() for p in backbone.model.parameters() if p.requires_grad]


class Told:
    """Stands in for `row_losses` and `score_prompts`: says the dev losses and test scores it was told, one after another."""

    def __init__(self, monkeypatch, backbone, losses=(), scores=()):
        self.losses, self.scores = list(losses), list(scores)
        self.at_losses, self.at_scores, self.asked = [], [], []
        self.backbone = backbone
        if losses:
            monkeypatch.setattr(rivals, "row_losses", self.row_losses)
        monkeypatch.setattr(rivals, "score_prompts", self.score_prompts)

    def row_losses(self, backbone, prompts, of_row, rows, budget):
        self.at_losses.append(trained(backbone))
        return torch.tensor([self.losses.pop(0)] * len(rows)) + torch.linspace(-0.1, 0.1, len(rows))

    def score_prompts(self, backbone, prompts, data, part="test", rank=True):
        assert prompts.shape == (1, 0, 16) and part == "test"
        self.at_scores.append(trained(backbone))
        self.asked += data
        return [Score(self.scores.pop(0) if self.scores else 0.0, None, ())]


def tries(backbone, *rates, dim=2):
    return [(partial(all_weights, backbone, dim, 7), rate) for rate in rates]


def test_the_best_try_is_chosen_by_dev_loss_and_not_by_test_score(backbone, data, monkeypatch):
    """Two dev losses a try: neither the last loss, nor the test score, nor the order says which one is taken."""
    losses = [3, 2.5, 1, 4, 2, 2]  # the second try: at its best it is better than all, at its end worse
    losses += [2, 2, 3, 3, 0.5, 1.5]  # the third
    losses += [0.2, 9, 0.4, 0.4, 0.3, 0.3]  # the first
    scores = [0.9, 0.2, 0.5] + [0.4, 0.8, 0.1] + [0.7, 1.0, 0.3]
    told = Told(monkeypatch, backbone, losses, scores)
    config, notes = replace(TRAIN, steps=2, eval_every=1), []
    found, numbers = tune_models(backbone, data, tries(backbone, 0.01, 0.02, 0.03), config, SEED, lambda *note: notes.append(note))
    assert found == pytest.approx((0.2 + 0.1 + 0.7) / 3) and numbers == 2
    assert told.asked == [d for d in data for _ in range(3)]  # each try is scored on its own task
    names = [f"{d.task.name}|100|3|0|1" for d in data]
    assert [name for name, _ in notes] == [name for name in names for _ in range(6)]
    assert [loss for _, loss in notes] == pytest.approx(losses)  # the mean over dev rows


def test_of_equal_dev_losses_the_first_try_is_taken_whatever_it_scores(backbone, data, monkeypatch):
    Told(monkeypatch, backbone, [1.0, 1.0, 1.0, 2.0, 1.0, 1.0], [0.6, 0.9, 0.5, 0.3, 0.8, 0.1])
    config = replace(TRAIN, steps=1)
    score, _ = tune_models(backbone, data[:2], tries(backbone, 0.01, 0.02, 0.03), config, SEED, lambda *note: None)
    assert score == pytest.approx((0.6 + 0.8) / 2)


def test_a_try_is_scored_where_its_dev_loss_was_least(backbone, data, monkeypatch):
    """Ten steps, a dev loss at each fourth and at the last; of two equal ones the first is kept."""
    for losses, kept in (([3, 1, 2], 1), ([3, 2, 1], 2), ([1, 1, 2], 0)):
        told = Told(monkeypatch, backbone, losses)
        tune_models(backbone, data[:1], tries(backbone, 0.05), TRAIN, SEED, lambda *note: None)
        assert len(told.at_losses) == 3 and torch.equal(told.at_scores[0][0], told.at_losses[kept][0])
        assert not torch.equal(told.at_losses[0][0], told.at_losses[1][0])  # control
        assert not torch.equal(told.at_losses[1][0], told.at_losses[2][0])


PLACE = "decoder.block.1.layer.1.EncDecAttention.v"


def plain_adam(backbone, d, job, rate, clip):
    """Return, by a plain loop: an adapter's weights after each step, the slopes' norms, the dev losses after steps 4, 8 and 10."""
    path, norms, losses = [], [], []
    nothing = torch.zeros(4, 0, 16)
    torch.manual_seed(SEED)
    with adapter(backbone, PLACE) as weights:
        mean, square = ([torch.zeros_like(w) for w in weights] for _ in range(2))
        for step in range(10):
            rows = [row for _, row in take_rows(job, step)]
            slopes = torch.autograd.grad(backbone.losses(nothing, rows).sum() / 4, weights)
            norms.append(float(sum((slope**2).sum() for slope in slopes)) ** 0.5)
            for i, slope in enumerate(slopes):
                slope = slope * min(1, clip / norms[-1])
                mean[i] = 0.9 * mean[i] + 0.1 * slope
                square[i] = 0.999 * square[i] + 0.001 * slope**2
                size = (square[i] / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8
                weights[i].data -= rate * FACTORS[step] * mean[i] / (1 - 0.9 ** (step + 1)) / size
            path.append(trained(backbone))
            if step + 1 in (4, 8, 10):
                with torch.no_grad():
                    losses.append(sum(float(backbone.losses(nothing[:1], [row])) for row in d.dev) / len(d.dev))
    return path, norms, losses


def test_training_is_adam_with_clipped_slopes_and_a_falling_rate(backbone, data, monkeypatch):
    d, (job,) = data[1], stack(data[1:2], (1.0,), TRAIN, SEED)
    told, notes = Told(monkeypatch, backbone), []
    tune_models(backbone, [d], [(partial(adapter, backbone, PLACE), 0.05)], TRAIN, SEED, lambda name, loss: notes.append(loss))
    path, norms, losses = plain_adam(backbone, d, job, 0.05, TRAIN.clip)
    assert min(norms) < TRAIN.clip < max(norms)  # control: the clip bites, now and then
    assert notes == pytest.approx(losses, rel=1e-5)
    best = (4, 8, 10)[losses.index(min(losses))]
    assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-5) for a, b in zip(told.at_scores[0], path[best - 1], strict=True))


def test_an_adapter_adds_a_column_times_a_row_to_its_own_module(backbone, data):
    nothing = torch.zeros(4, 0, 16)
    before = backbone.nll(nothing, data[0].test)
    module = backbone.model.get_submodule(PLACE)
    with adapter(backbone, PLACE) as (row, column):
        assert row.shape == (1, 16) and column.shape == (16, 1)
        assert not any(m.training for m in backbone.model.modules())
        assert torch.equal(backbone.nll(nothing, data[0].test), before)  # it begins as the model is
        row.data, column.data = torch.linspace(-1, 1, 16)[None], torch.linspace(2, -1, 16)[:, None]
        found, step = backbone.nll(nothing, data[0].test), (column @ row).detach()
    module.weight.data += step
    assert torch.allclose(backbone.nll(nothing, data[0].test), found, rtol=1e-5)
    assert not torch.allclose(found, before, rtol=1e-3)  # control


def test_adapters_are_tried_on_the_first_the_middle_and_the_last_projection(backbone):
    """PEFT adapts T5's q and v: four in the encoder, then two for each of the decoder's two attentions."""
    attentions = [(f"encoder.block.{i}.layer.0.SelfAttention",) for i in range(2)]
    attentions += [(f"decoder.block.{i}.layer.0.SelfAttention", f"decoder.block.{i}.layer.1.EncDecAttention") for i in range(2)]
    found = [f"{name}.{part}" for names in attentions for name in names for part in "qv"]
    assert adapter_places(backbone) == [found[0], found[6], found[11]]


def test_each_place_is_tried_with_each_rate_from_the_same_first_weights(backbone, data, monkeypatch):
    """The first step of Adam moves a number by the rate itself, here only the column, as the row has no slope yet."""
    places, first = adapter_places(backbone), []
    for place in places:
        torch.manual_seed(SEED)
        with adapter(backbone, place) as (row, _):
            first.append(row.detach().clone())
    told = Told(monkeypatch, backbone, [1.0] * 18)
    _, numbers = lora(backbone, data[:2], replace(TRAIN, steps=1), SEED, lambda *note: None)
    expected = [(row, rate) for row in first for rate in LORA_RATES] * 2  # for each task
    for (row, column), (start, rate) in zip(told.at_scores, expected, strict=True):
        assert torch.equal(row, start)
        assert float(column.abs().max()) == pytest.approx(rate, rel=1e-3)
    assert numbers == 16 + 16
    assert not torch.equal(first[0], first[1]) or places[0] != places[1]


def test_directions_are_tried_with_each_rate(backbone, data, monkeypatch):
    told = Told(monkeypatch, backbone, [1.0] * 6)
    _, numbers = directions(backbone, data[:2], 5, replace(TRAIN, steps=1), SEED, lambda *note: None)
    assert numbers == 5
    for (found,), rate in zip(told.at_scores, DIRECTION_RATES * 2, strict=True):
        assert found.shape == (5,) and found.abs().tolist() == pytest.approx([rate] * 5, rel=1e-3)


def moved_by_hand(backbone, numbers, seed):
    """Return every weight moved along its own noise, of its root mean square, each shared weight once."""
    generator, found = torch.Generator().manual_seed(seed), {}
    for name, p in backbone.model.named_parameters():
        noise = torch.randn(len(numbers), *p.shape, generator=generator)
        size = (p.detach().double() ** 2).mean().sqrt()
        step = sum(number * direction.double() for number, direction in zip(numbers, noise, strict=True))
        found[name] = p.detach().double() + size * step
    return found


def value_of(backbone, name):
    path, _, last = name.rpartition(".")
    return getattr(backbone.model.get_submodule(path), last).detach()


def test_a_direction_is_noise_of_each_weights_root_mean_square(backbone):
    expected, other = (moved_by_hand(backbone, (0.5, -2.0), seed) for seed in (7, 8))
    with all_weights(backbone, 2, 7) as (numbers,):
        assert numbers.tolist() == [0, 0]
        numbers.data = torch.tensor([0.5, -2.0])
        found = {name: value_of(backbone, name) for name in expected}
        shared = [value_of(backbone, name) for name in ("shared.weight", "encoder.embed_tokens.weight", "lm_head.weight")]
    assert all(torch.allclose(found[name].double(), expected[name], rtol=1e-4, atol=1e-5) for name in expected)
    assert not any(torch.allclose(found[name].double(), other[name], rtol=1e-2) for name in expected)  # control
    assert torch.equal(shared[0], shared[1]) and torch.equal(shared[0], shared[2])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_moved_weights_keep_their_type(dtype):
    backbone = toy_backbone(dtype=dtype)
    with all_weights(backbone, 2, 7) as (numbers,):
        assert numbers.dtype == torch.float32
        assert value_of(backbone, "shared.weight").dtype == dtype
        backbone.losses(torch.zeros(1, 0, 16), backbone.encode(["red"], ["no"])).sum().backward()
        assert float(numbers.grad.abs().min()) > 0
