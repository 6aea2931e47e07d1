"""Mixture of seen prompts, LoRA adapters, directions of all weights: what they compute, and that the model is as it was."""

from dataclasses import replace
from unittest.mock import patch

import pytest
import torch
from conftest import toy_backbone
from fitted import word_task
from soft_prompts import choose_starts, dev_losses, mix, mixed, model_of, stack_jobs
from test_families import make

from ipt.benchmarks import baselines
from ipt.benchmarks.baselines import (
    lora_adapter,
    lora_targets,
    random_directions,
    tune_directions,
    tune_lora,
)
from ipt.checkpoint import Checkpoint
from ipt.config import IstConfig
from ipt.encoded import EncodedTask
from ipt.methods.ist import SeenVectors
from ipt.training import evaluate, sweep
from ipt.training.loop import fit
from ipt.training.source import Mixture, Source

CONFIG = IstConfig(steps=12, rows_per_step=4, eval_every=4, learning_rates=(0.1, 0.5))
SHORT = replace(CONFIG, steps=6, eval_every=2)


@pytest.fixture
def backbone():
    return toy_backbone(dtype=torch.float32)


@pytest.fixture
def data(backbone, tasks):
    return [EncodedTask.draw(backbone, task, 100, shots=6, limit=4) for task in tasks[:2]]


class Fixed(Source):
    """Prompts [U, n, h] as they are."""

    def __init__(self, prompts):
        super().__init__()
        self.prompts = prompts.flatten(1)

    def forward(self, indices):
        return self.prompts[indices]


def bank_of(count):
    return torch.randn(count, 3, 16, generator=torch.Generator().manual_seed(2)), tuple(
        f"seen {i}" for i in range(count)
    )


def test_a_mixture_is_affine_in_its_prompts():
    bank, one = torch.randn(4, 15), torch.eye(4)
    source = Mixture(one[torch.tensor([[2, 0, 1], [3, 1, 0]])], bank)  # two jobs, d = 2
    assert torch.equal(
        source(torch.tensor([0, 1])), bank[[2, 3]]
    )  # each begins at its first prompt
    source.values.data = torch.tensor([[1.0, 0.0], [0.25, 2.0]])
    torch.testing.assert_close(source(torch.tensor([0]))[0], bank[0])
    torch.testing.assert_close(
        source(torch.tensor([1]))[0], -1.25 * bank[3] + 0.25 * bank[1] + 2.0 * bank[0]
    )
    torch.testing.assert_close(source.weights(torch.tensor([0, 1])).sum(1), torch.ones(2))


def test_mixtures_are_tuned_from_the_best_prompts(backbone, data):
    bank, names = bank_of(8)
    config = replace(CONFIG, starts=2)
    weights = mix(backbone, bank, names, 3, data, config, 3, Checkpoint.none())
    seen = SeenVectors(bank.flatten(1), names)
    starts = choose_starts(backbone, lambda deltas: deltas, data, seen, 3)
    jobs = stack_jobs(data, (0.0,), config, 3)
    found = mixed(weights, bank)
    before, after = (
        dev_losses(backbone, Fixed(p), jobs, 0) for p in (starts.view(-1, 3, 16), found)
    )
    assert (after < before).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(2))
    # four prompts each; the mean of all is one of the candidates and gives each prompt the same share
    assert all(len(set((w * 1e4).round().tolist())) <= 5 for w in weights)


def test_a_tasks_own_prompt_is_not_mixed_into_it(backbone, data):
    bank, names = bank_of(8)
    few = replace(CONFIG, starts=1, steps=4)
    best = int(
        mix(backbone, bank, names, 1, data, few, 3, Checkpoint.none())[0].argmax()
    )  # of foreign prompts
    own = tuple(data[0].task.name if i == best else name for i, name in enumerate(names))
    foreign, own_one = (
        mix(backbone, bank, n, 1, data, few, 3, Checkpoint.none())[:, best] for n in (names, own)
    )
    assert (
        foreign[0] > 0.5 and own_one[0] == 0 and own_one[1] == foreign[1]
    )  # for the other task it stays


def test_a_mixture_has_as_many_starts_as_ist(backbone, data):
    bank, names = bank_of(8)
    for start, count in (("seen", 3), ("mean", 1)):
        with (
            patch("ipt.methods.mixture.fit", wraps=fit) as fitted,
            patch("ipt.methods.mixture.select_best", wraps=sweep.select_best) as selected,
        ):
            config = replace(CONFIG, starts=3, start=start, steps=4)
            mix(backbone, bank, names, 2, data, config, 3, Checkpoint.none())
        tries = count * len(CONFIG.learning_rates)
        assert len(fitted.call_args.args[2]) == len(data) * tries
        assert len(selected.call_args.args[2].learning_rates) == tries


@pytest.fixture
def known(taught):
    """Two tasks that the taught model knows: their scores differ by what is adapted."""
    return [
        EncodedTask.draw(taught, word_task(kind), 100, shots=6, limit=20)
        for kind in ("first", "late")
    ]


class Spied:
    """Notes every dev loss and every test score, in the order of the tries."""

    def __init__(self, monkeypatch):
        self.losses, self.scores = [], []
        monkeypatch.setattr(baselines, "score_deltas", self.score_deltas)

    def record(self, job, loss):
        self.losses.append((job.name, loss))

    def score_deltas(self, *given, **more):
        found = evaluate.score_deltas(*given, **more)
        self.scores.append(found[0].generated)
        return found

    def best_scores(self, data, tries):
        """Return each task's score in the try with its least dev loss; each try has three dev losses."""
        found = []
        for t, d in enumerate(data):
            least = []
            for k in range(t * tries, (t + 1) * tries):
                own = self.losses[3 * k : 3 * k + 3]
                assert all(name.startswith(f"{d.task.name}|") for name, _ in own)
                least.append((min(loss for _, loss in own), self.scores[k]))
            found.append(min(least)[1])
        return found


def test_lora_returns_the_score_of_the_best_try_and_leaves_the_model_as_it_was(
    taught, known, monkeypatch
):
    monkeypatch.setattr(baselines, "LORA_RATES", (0.1,))
    modules, weights = (
        [type(m) for m in taught.model.modules()],
        [p.detach().clone() for p in taught.model.parameters()],
    )
    spied = Spied(monkeypatch)
    score, numbers = tune_lora(model_of(taught, 3), known, SHORT, 3, spied.record)
    assert (
        score == pytest.approx(sum(spied.best_scores(known, 3)) / 2) and numbers == 16 + 16
    )  # one row and one column
    assert len(set(spied.scores)) > 3 and 0 < score < 1  # control: tries and tasks differ
    assert [type(m) for m in taught.model.modules()] == modules
    assert all(torch.equal(a, b) for a, b in zip(weights, taught.model.parameters(), strict=True))


def test_directions_return_the_score_of_the_best_try_and_leave_the_model_as_it_was(
    taught, known, monkeypatch
):
    monkeypatch.setattr(baselines, "DIRECTION_RATES", (0.03, 0.003))
    names, before = list(taught.model.state_dict()), list(taught.model.parameters())
    values = [p.detach().clone() for p in before]
    spied = Spied(monkeypatch)
    model = model_of(taught, 3)
    score, numbers = tune_directions(model, known, 5, SHORT, 3, spied.record)
    assert score == pytest.approx(sum(spied.best_scores(known, 2)) / 2) and numbers == 5
    assert len(set(spied.scores)) > 2 and 0 < score < 1  # control
    assert (
        list(taught.model.state_dict()) == names and list(taught.model.parameters()) == before
    )  # shared weights are shared again
    assert all(torch.equal(a, b) for a, b in zip(values, before, strict=True))


def test_the_numbers_are_steps_along_the_directions(backbone):
    own = {name: p.detach().clone() for name, p in backbone.model.named_parameters()}
    with random_directions(backbone, 2, 7) as (numbers,):
        numbers.data = torch.tensor([0.5, 0.0])
        one = {name: getattr(*_place(backbone.model, name)).detach() - p for name, p in own.items()}
        numbers.data = torch.tensor([0.0, 1.0])
        other = {
            name: getattr(*_place(backbone.model, name)).detach() - p for name, p in own.items()
        }
    wide = [name for name, p in own.items() if p.numel() > 200]
    for name in wide:
        size = own[name].square().mean().sqrt()
        assert float(one[name].square().mean().sqrt()) == pytest.approx(0.5 * float(size), rel=0.2)
        assert (
            abs(
                torch.nn.functional.cosine_similarity(one[name].flatten(), other[name].flatten(), 0)
            )
            < 0.3
        )
    assert len(wide) > 3


def _place(model, name):
    *path, last = name.split(".")
    return model.get_submodule(".".join(path)), last


def test_a_model_is_left_as_it_was_after_an_error(backbone):
    names = list(backbone.model.state_dict())
    place = lora_targets(backbone)[0]
    for attach in (
        lambda: random_directions(backbone, 2, 7),
        lambda: lora_adapter(backbone, place),
    ):
        with pytest.raises(KeyError), attach():
            assert list(backbone.model.state_dict()) != names  # control: it was another
            raise KeyError
        assert list(backbone.model.state_dict()) == names


def test_a_model_is_left_as_it_was_where_only_some_weights_were_reached(monkeypatch):
    """A module of two weights, of which the first is done when the error comes."""
    backbone = make("gpt2", torch.float32)
    before = {name: p.detach().clone() for name, p in backbone.model.state_dict().items()}
    register = baselines.register_parametrization

    def failing(module, name, moved):
        if name == "bias":
            raise torch.OutOfMemoryError("no place")
        register(module, name, moved)

    monkeypatch.setattr(baselines, "register_parametrization", failing)
    with pytest.raises(torch.OutOfMemoryError, match="no place"), random_directions(backbone, 2, 7):
        pass
    after = backbone.model.state_dict()
    assert set(after) == set(before) and all(
        torch.equal(after[name], before[name]) for name in before
    )
