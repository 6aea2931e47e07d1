"""Mixtures of seen prompts and LoRA adapters: what they compute, and that the model is as it was."""

import pytest
import torch
from conftest import toy_backbone
from torch import nn

from ipt import rivals
from ipt.config import IstConfig
from ipt.evaluate import TaskData
from ipt.grid import stack
from ipt.ist import SeenCodes, choose_starts
from ipt.rivals import Mixtures, lora, mix
from ipt.run import Checkpoint
from ipt.train import dev_losses

CONFIG = IstConfig(steps=12, rows_per_step=4, eval_every=4, learning_rates=(0.1, 0.5))


@pytest.fixture
def backbone():
    return toy_backbone(dtype=torch.float32)


@pytest.fixture
def data(backbone, tasks):
    return [TaskData.draw(backbone, task, 100, shots=6, limit=4) for task in tasks[:2]]


class Fixed(Mixtures):
    """Prompts as they are."""

    def forward(self, indices):
        return self.first[indices][:, 0]


def test_a_mixture_is_affine_in_its_prompts():
    anchors = torch.randn(2, 3, 4, 5)  # two jobs, d = 2
    source = Mixtures(anchors)
    assert torch.equal(source(torch.tensor([0, 1])), anchors[:, 0])  # it begins at the best prompt
    source.values.data = torch.tensor([[1.0, 0.0], [0.25, 0.75]])
    torch.testing.assert_close(source(torch.tensor([0]))[0], anchors[0, 1])
    torch.testing.assert_close(source(torch.tensor([1]))[0], 0.25 * anchors[1, 1] + 0.75 * anchors[1, 2])


def test_mixtures_are_tuned_from_the_best_prompts(backbone, data):
    bank = torch.randn(6, 3, 16, generator=torch.Generator().manual_seed(2))
    names = tuple(f"seen {i}" for i in range(6))
    found = mix(backbone, bank, names, 3, data, CONFIG, 3, Checkpoint.none())
    starts = choose_starts(backbone, lambda c: c.view(-1, 3, 16), data, SeenCodes(bank.flatten(1), names), 3)
    jobs = stack(data, (0.0,), CONFIG, 3)
    before, after = (dev_losses(backbone, Fixed(p[:, None]), jobs, 0) for p in (starts.view(-1, 3, 16), found))
    assert found.shape == (2, 3, 16) and (after < before).all()


def test_lora_is_trained_kept_at_its_best_and_leaves_the_model_as_it_was(backbone, data, monkeypatch):
    monkeypatch.setattr(rivals, "LORA_RATES", (0.1,))
    modules, weights = [type(m) for m in backbone.model.modules()], [p.detach().clone() for p in backbone.model.parameters()]
    losses = {}
    score, numbers = lora(backbone, data, CONFIG, 3, lambda name, loss: losses.setdefault(name, []).append(loss))
    assert 0 <= score <= 1 and all(min(found) < found[0] for found in losses.values()) and len(losses) == 2
    shapes = {m.in_features + m.out_features for m in backbone.model.modules() if isinstance(m, nn.Linear)}
    assert numbers in shapes  # one row and one column
    assert [type(m) for m in backbone.model.modules()] == modules
    assert all(torch.equal(a, b) for a, b in zip(weights, backbone.model.parameters(), strict=True))
