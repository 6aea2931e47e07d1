"""Adapters and random directions by value: what they add, how they train, the choice by dev loss."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from conftest import toy_backbone
from soft_prompts import losses, model_of, nll

from ipt.benchmarks import baselines
from ipt.benchmarks.baselines import (
    Trial,
    lora_adapter,
    lora_targets,
    random_directions,
    tune_directions,
    tune_lora,
    tune_models,
)
from ipt.config import IstConfig
from ipt.encoded import EncodedTask
from ipt.training.evaluate import Score
from ipt.training.loop import take_rows
from ipt.training.model import Model
from ipt.training.sweep import Sweep
from ipt.tuners.bare import Bare

SEED = 3
LORA_RATES, DIRECTION_RATES = (0.01, 0.03, 0.1), (0.003, 0.01, 0.03)
TRAIN = IstConfig(steps=10, rows_per_step=4, eval_every=4, warmup=0.2, clip=0.1)
FACTORS = (
    0.5,
    1,
    1,
    7 / 8,
    6 / 8,
    5 / 8,
    4 / 8,
    3 / 8,
    2 / 8,
    1 / 8,
)  # of the rate: two steps up, then down to 0


@pytest.fixture
def backbone():
    return toy_backbone(dtype=torch.float32)


@pytest.fixture
def data(backbone, tasks):
    return [EncodedTask.draw(backbone, task, 100, shots=6, limit=4) for task in tasks[:3]]


def trained(backbone):
    """Return what is being trained in a model, in its present state."""
    return [p.detach().clone() for p in backbone.model.parameters() if p.requires_grad]


class Told:
    """Stands in for `row_losses` and `score_deltas`: says what it was told, one after another."""

    def __init__(self, monkeypatch, backbone, losses=(), scores=()):
        self.losses, self.scores = list(losses), list(scores)
        self.at_losses, self.at_scores, self.asked = [], [], []
        self.backbone = backbone
        if losses:
            monkeypatch.setattr(baselines, "row_losses", self.row_losses)
        monkeypatch.setattr(baselines, "score_deltas", self.score_deltas)

    def row_losses(self, model, deltas, of_row, rows, budget):
        self.check(model, deltas)
        self.at_losses.append(trained(self.backbone))
        return torch.tensor([self.losses.pop(0)] * len(rows)) + torch.linspace(-0.1, 0.1, len(rows))

    def score_deltas(self, model, deltas, data, part="test", rank=True):
        self.check(model, deltas)
        assert part == "test"
        self.at_scores.append(trained(self.backbone))
        self.asked += data
        return [Score(self.scores.pop(0) if self.scores else 0.0, None, ())]

    def check(self, model, deltas):
        """Check that nothing is put before a row."""
        assert model == Model(self.backbone, Bare()) and deltas.shape == (1, 0)


def tries(backbone, *rates, dim=2):
    return [Trial(partial(random_directions, backbone, dim, 7), rate) for rate in rates]


def test_the_best_try_is_chosen_by_dev_loss_and_not_by_test_score(backbone, data, monkeypatch):
    """Two dev losses a try: no last loss, no test score and no order says which one is taken."""
    losses = [
        3,
        2.5,
        1,
        4,
        2,
        2,
    ]  # the second try: at its best it is better than all, at its end worse
    losses += [2, 2, 3, 3, 0.5, 1.5]  # the third
    losses += [0.2, 9, 0.4, 0.4, 0.3, 0.3]  # the first
    scores = [0.9, 0.2, 0.5] + [0.4, 0.8, 0.1] + [0.7, 1.0, 0.3]
    told = Told(monkeypatch, backbone, losses, scores)
    config, notes = replace(TRAIN, steps=2, eval_every=1), []
    found, numbers = tune_models(
        model_of(backbone, 3),
        data,
        tries(backbone, 0.01, 0.02, 0.03),
        config,
        SEED,
        lambda job, loss: notes.append((job.name, loss)),
    )
    assert found == pytest.approx((0.2 + 0.1 + 0.7) / 3) and numbers == 2
    assert told.asked == [d for d in data for _ in range(3)]  # each try is scored on its own task
    names = [f"{d.task.name}|100|3|0|1" for d in data]
    assert [name for name, _ in notes] == [name for name in names for _ in range(6)]
    assert [loss for _, loss in notes] == pytest.approx(losses)  # the mean over dev rows


def test_of_equal_dev_losses_the_first_try_is_taken_whatever_it_scores(backbone, data, monkeypatch):
    Told(monkeypatch, backbone, [1.0, 1.0, 1.0, 2.0, 1.0, 1.0], [0.6, 0.9, 0.5, 0.3, 0.8, 0.1])
    config = replace(TRAIN, steps=1)
    three = tries(backbone, 0.01, 0.02, 0.03)
    model = model_of(backbone, 3)
    score, _ = tune_models(model, data[:2], three, config, SEED, lambda job, loss: None)
    assert score == pytest.approx((0.6 + 0.8) / 2)


def test_a_try_is_scored_where_its_dev_loss_was_least(backbone, data, monkeypatch):
    """Ten steps, a dev loss at each fourth and at the last; of two equal ones the first is kept."""
    for at_evals, kept in (([3, 1, 2], 1), ([3, 2, 1], 2), ([1, 1, 2], 0)):
        told = Told(monkeypatch, backbone, at_evals)
        model, one = model_of(backbone, 3), tries(backbone, 0.05)
        tune_models(model, data[:1], one, TRAIN, SEED, lambda job, loss: None)
        assert len(told.at_losses) == 3
        assert torch.equal(told.at_scores[0][0], told.at_losses[kept][0])
        assert not torch.equal(told.at_losses[0][0], told.at_losses[1][0])  # control
        assert not torch.equal(told.at_losses[1][0], told.at_losses[2][0])


PLACE = "decoder.block.1.layer.1.EncDecAttention.v"


def plain_adam(backbone, d, job, rate, clip):
    """Return, by a plain loop: an adapter's weights after each step, slopes' norms, dev losses."""
    path, norms, at_evals = [], [], []
    nothing = torch.zeros(4, 0, 16)
    torch.manual_seed(SEED)
    with lora_adapter(backbone, PLACE) as weights:
        mean, square = ([torch.zeros_like(w) for w in weights] for _ in range(2))
        for step in range(10):
            rows = [row for _, row in take_rows(job, step)]
            slopes = torch.autograd.grad(losses(backbone, nothing, rows).sum() / 4, weights)
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
                    found = [float(losses(backbone, nothing[:1], [row])) for row in d.dev]
                at_evals.append(sum(found) / len(found))
    return path, norms, at_evals


def test_training_is_adam_with_clipped_slopes_and_a_falling_rate(backbone, data, monkeypatch):
    d, (job,) = data[1], Sweep(data[1:2], (1.0,), SEED).jobs(TRAIN)
    told, notes = Told(monkeypatch, backbone), []
    tune_models(
        model_of(backbone, 3),
        [d],
        [Trial(partial(lora_adapter, backbone, PLACE), 0.05)],
        TRAIN,
        SEED,
        lambda job, loss: notes.append(loss),
    )
    path, norms, expected = plain_adam(backbone, d, job, 0.05, TRAIN.clip)
    assert min(norms) < TRAIN.clip < max(norms)  # control: the clip bites, now and then
    assert notes == pytest.approx(expected, rel=1e-5)
    best = (4, 8, 10)[expected.index(min(expected))]
    for found, weight in zip(told.at_scores[0], path[best - 1], strict=True):
        assert torch.allclose(found, weight, rtol=1e-3, atol=1e-5)


def test_an_adapter_adds_a_column_times_a_row_to_its_own_module(backbone, data):
    nothing = torch.zeros(4, 0, 16)
    before = nll(backbone, nothing, data[0].test)
    module = backbone.model.get_submodule(PLACE)
    with lora_adapter(backbone, PLACE) as (row, column):
        assert row.shape == (1, 16) and column.shape == (16, 1)
        assert not any(m.training for m in backbone.model.modules())
        # It begins as the model is.
        assert torch.equal(nll(backbone, nothing, data[0].test), before)
        row.data, column.data = torch.linspace(-1, 1, 16)[None], torch.linspace(2, -1, 16)[:, None]
        found, step = nll(backbone, nothing, data[0].test), (column @ row).detach()
    module.weight.data += step
    assert torch.allclose(nll(backbone, nothing, data[0].test), found, rtol=1e-5)
    assert not torch.allclose(found, before, rtol=1e-3)  # control


def test_adapters_are_tried_on_the_first_the_middle_and_the_last_projection(backbone):
    """PEFT adapts T5's q and v: four in the encoder, two for each of the decoder's attentions."""
    attentions = [f"encoder.block.{i}.layer.0.SelfAttention" for i in range(2)]
    for i in range(2):
        attentions.append(f"decoder.block.{i}.layer.0.SelfAttention")
        attentions.append(f"decoder.block.{i}.layer.1.EncDecAttention")
    found = [f"{name}.{part}" for name in attentions for part in "qv"]
    assert lora_targets(backbone) == [found[0], found[6], found[11]]


def test_each_place_is_tried_with_each_rate_from_the_same_weights(backbone, data, monkeypatch):
    """Adam's first step moves a number by the rate, here the column: the row has no slope yet."""
    places, first = lora_targets(backbone), []
    for place in places:
        torch.manual_seed(SEED)
        with lora_adapter(backbone, place) as (row, _):
            first.append(row.detach().clone())
    told = Told(monkeypatch, backbone, [1.0] * 18)
    model, once = model_of(backbone, 3), replace(TRAIN, steps=1)
    _, numbers = tune_lora(model, data[:2], once, SEED, lambda job, loss: None)
    expected = [(row, rate) for row in first for rate in LORA_RATES] * 2  # for each task
    for (row, column), (start, rate) in zip(told.at_scores, expected, strict=True):
        assert torch.equal(row, start)
        assert float(column.abs().max()) == pytest.approx(rate, rel=1e-3)
    assert numbers == 16 + 16
    assert not torch.equal(first[0], first[1]) or places[0] != places[1]


def test_directions_are_tried_with_each_rate(backbone, data, monkeypatch):
    told = Told(monkeypatch, backbone, [1.0] * 6)
    once = replace(TRAIN, steps=1)
    model = model_of(backbone, 3)
    _, numbers = tune_directions(model, data[:2], 5, once, SEED, lambda job, loss: None)
    assert numbers == 5
    for (found,), rate in zip(told.at_scores, DIRECTION_RATES * 2, strict=True):
        assert found.shape == (5,) and found.abs().tolist() == pytest.approx([rate] * 5, rel=1e-3)


def moved_by_hand(backbone, numbers, seed):
    """Return every weight moved along noise of its root mean square, each shared weight once."""
    generator, found = torch.Generator().manual_seed(seed), {}
    for name, p in backbone.model.named_parameters():
        noise = torch.randn(len(numbers), *p.shape, generator=generator)
        size = (p.detach().double() ** 2).mean().sqrt()
        step = sum(n * direction.double() for n, direction in zip(numbers, noise, strict=True))
        found[name] = p.detach().double() + size * step
    return found


def value_of(backbone, name):
    path, _, last = name.rpartition(".")
    return getattr(backbone.model.get_submodule(path), last).detach()


def test_a_direction_is_noise_of_each_weights_root_mean_square(backbone):
    expected, other = (moved_by_hand(backbone, (0.5, -2.0), seed) for seed in (7, 8))
    with random_directions(backbone, 2, 7) as (numbers,):
        assert numbers.tolist() == [0, 0]
        numbers.data = torch.tensor([0.5, -2.0])
        found = {name: value_of(backbone, name) for name in expected}
        names = ("shared.weight", "encoder.embed_tokens.weight", "lm_head.weight")
        shared = [value_of(backbone, name) for name in names]
    for name, value in found.items():
        assert torch.allclose(value.double(), expected[name], rtol=1e-4, atol=1e-5)
        assert not torch.allclose(value.double(), other[name], rtol=1e-2)  # control: another seed
    assert torch.equal(shared[0], shared[1]) and torch.equal(shared[0], shared[2])


def test_directions_are_drawn_with_the_seed_of_the_call(backbone, data, monkeypatch):
    before, seen = backbone.weight.detach().clone(), []

    def score_deltas(*given, **more):
        seen.append((trained(backbone)[0], value_of(backbone, "shared.weight").clone()))
        return [Score(0.0, None, ())]

    monkeypatch.setattr(baselines, "score_deltas", score_deltas)
    monkeypatch.setattr(baselines, "DIRECTION_RATES", (0.03,))
    model, once = model_of(backbone, 3), replace(TRAIN, steps=1)
    tune_directions(model, data[:1], 2, once, SEED, lambda job, loss: None)
    ((numbers, moved),) = seen
    assert torch.equal(backbone.weight, before) and not torch.equal(moved, before)
    expected, other = (
        moved_by_hand(backbone, numbers, seed)["shared.weight"] for seed in (SEED, 4)
    )
    assert torch.allclose(moved.double(), expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(moved.double(), other, rtol=1e-2)  # control


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_moved_weights_keep_their_type(dtype):
    backbone = toy_backbone(dtype=dtype)
    with random_directions(backbone, 2, 7) as (numbers,):
        assert numbers.dtype == torch.float32
        assert value_of(backbone, "shared.weight").dtype == dtype
        rows = backbone.encode(["red"], ["no"])
        losses(backbone, torch.zeros(1, 0, 16), rows).sum().backward()
        assert float(numbers.grad.abs().min()) > 0
