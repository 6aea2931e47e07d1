"""What a step's gradient and a dev loss are, against autograd over one row after another; the model was taught, in float64."""

import copy
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from by_hand import Numbers, row, threads
from fitted import KINDS, WORDS, taught_backbone
from soft_prompts import Free, backward, dev_losses, row_losses
from torch import nn
from torch.nn.functional import log_softmax

from ipt.backbones.base import Encoded
from ipt.config import LoopConfig
from ipt.training import source as source_module
from ipt.training.loop import Job, take_rows
from ipt.training.source import Source

CONFIG = LoopConfig(rows_per_step=3)


@pytest.fixture(scope="module")
def backbone(taught_folder):
    return taught_backbone(taught_folder, torch.float64)


@pytest.fixture(scope="module")
def rows(backbone):
    """Twelve rows of one to four words, answered by one to three."""
    rng = random.Random(0)
    inputs, answers = [], []
    for i in range(12):
        inputs.append(" ".join(rng.choices(WORDS, k=1 + i % 4)))
        answers.append(" ".join(rng.choices(WORDS, k=1 + i % 3)))
    return backbone.encode(inputs, answers)


@pytest.fixture(scope="module")
def prompts(backbone):
    """Five prompts, each of the embeddings of a task's name and noise."""
    generator = torch.Generator().manual_seed(0)
    made = []
    for kind in KINDS:
        token = backbone.ids(kind)[0]
        noise = torch.randn(3, 16, generator=generator, dtype=torch.float64)
        made.append(backbone.weight[token] + 0.1 * noise)
    return torch.stack(made)


def nats(backbone, prompt, row, smoothing=0.0):
    """Return -log p of each answer token [T] of one row, straight from transformers' model."""
    words = backbone.embed(torch.tensor([row.input_ids]))
    labels = torch.tensor([row.label_ids])
    logits = backbone.model(inputs_embeds=torch.cat([prompt[None], words], 1), labels=labels).logits
    logs = log_softmax(logits[0], -1)
    picked = logs.gather(1, labels[0][:, None])[:, 0]
    return -(1 - smoothing) * picked - smoothing * logs.mean(-1)


def three_jobs(rows):
    """Jobs over one, two and three prompts; the first prompt leads rows of two of them."""
    one = Job("one", (tuple((0, r) for r in rows[:5]),), ((0, rows[0]),), 0.1, 1, 3)
    groups = (((1, rows[5]), (1, rows[6])), ((2, rows[7]),))
    two = Job("two", groups, ((2, rows[8]),), 0.1, 2, 3)
    mixed = tuple((p, r) for p, r in zip((3, 4, 0, 3), rows[8:], strict=True))
    three = Job("three", (mixed,), ((4, rows[9]),), 0.1, 3, 2)
    return [one, two, three]


class Weighed(Source):
    """Prompts through a matrix, with a loss of their own."""

    def __init__(self, prompts, extra):
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        start = torch.eye(16) + 0.1 * torch.randn(16, 16, generator=generator)
        self.mix = nn.Parameter(start.double())
        self.bank, self.extra = prompts, extra

    def forward(self, indices):
        return (self.bank[indices] @ self.mix).flatten(1)

    def extra_loss(self, indices, deltas):
        if not self.extra:
            return None
        return self.extra * (deltas - self.bank[indices].flatten(1)).square().mean()


def by_hand(backbone, prompts, jobs, steps, loss="mean", smoothing=0.0):
    """Return each job's loss at its step: row after row, one graph."""
    losses = []
    for some, step in zip(jobs, steps, strict=True):
        total = torch.zeros((), dtype=torch.float64)
        for prompt, taken in take_rows(some, step):
            each = nats(backbone, prompts[prompt], taken, smoothing)
            part = each.mean() / some.rows_per_step if loss == "mean" else each.sum()
            total = total + part
        losses.append(total)
    return torch.stack(losses)


@pytest.mark.parametrize("loss", ("mean", "sum"))
@pytest.mark.parametrize("smoothing", (0.0, 0.1))
def test_loss_and_gradient_of_a_step_equal_a_plain_loops(backbone, rows, prompts, loss, smoothing):
    jobs, steps = three_jobs(rows), [0, 3, 1]
    source = Free(prompts, 5)
    config = replace(
        CONFIG, loss=loss, label_smoothing=smoothing, token_budget=40
    )  # few rows a batch
    found = backward(backbone, source, jobs, steps, config)
    leaf = prompts.clone().requires_grad_()
    expected = by_hand(backbone, leaf, jobs, steps, loss, smoothing)
    expected.sum().backward()
    assert torch.allclose(found, expected, atol=1e-9)
    assert torch.allclose(source.values.grad.view_as(leaf), leaf.grad, atol=1e-7)
    sizes = leaf.grad.flatten(1).norm(dim=1)
    assert sizes[:4].min() > 1e-3 and sizes[4] == 0  # control: the last prompt leads dev rows alone
    for other in ({"loss": "sum" if loss == "mean" else "mean"}, {"smoothing": 0.2}):
        words = {"loss": loss, "smoothing": smoothing} | other
        assert (by_hand(backbone, prompts, jobs, steps, **words) - expected).abs().min() > 1e-3


def test_a_step_starts_from_no_gradient(backbone, rows, prompts):
    jobs, source = three_jobs(rows), Free(prompts, 5)
    backward(backbone, source, jobs, [0, 0, 0], CONFIG)
    first = source.values.grad.clone()
    backward(backbone, source, jobs, [4, 1, 1], CONFIG)
    assert not torch.allclose(source.values.grad, first, atol=1e-3)  # control: other rows
    backward(backbone, source, jobs, [0, 0, 0], CONFIG)
    assert torch.equal(source.values.grad, first)


def test_the_extra_loss_is_in_the_gradient_once_and_not_in_the_lm_loss(backbone, rows, prompts):
    (some,) = three_jobs(rows)[2:]
    used = sorted({prompt for prompt, _ in take_rows(some, 0)})
    assert len(used) == 2 and used != [
        0,
        1,
    ]  # control: a prompt's place among those used is not its index
    for extra in (0, 7):
        source = Weighed(prompts, extra)
        found = backward(backbone, source, [some], [0], CONFIG)
        mix = source.mix.detach().clone().requires_grad_()
        made = prompts @ mix
        lm = by_hand(backbone, made, [some], [0])
        whole = lm.sum() + extra * (made[used] - prompts[used]).square().mean()
        whole.backward()
        assert torch.allclose(found, lm, atol=1e-9)
        assert torch.allclose(source.mix.grad, mix.grad, atol=1e-7)


@pytest.mark.parametrize("count", (2, 3))
def test_ranks_share_the_rows_of_a_step_and_each_has_the_whole_gradient(
    backbone, rows, prompts, count
):
    """Also that of the extra loss, which every rank makes for itself; of two rows a third rank has none."""
    (some,) = three_jobs(rows)[2:]

    def one(rank):
        # What is prepended stands in the backbone: each process has its own, and so each thread.
        own = copy.copy(backbone)
        source = Weighed(prompts, 7)
        loss = backward(own, source, [some], [0], CONFIG, rank)
        return loss, source.mix.grad, dev_losses(own, source, [some], 0, rank)

    alone = one(threads(1)[0])
    with ThreadPoolExecutor(count) as pool:
        shares = list(pool.map(one, threads(count)))
    for found in shares:
        for value, expected in zip(found, alone, strict=True):
            assert torch.allclose(value, expected, rtol=0, atol=1e-9)


def test_the_loss_of_a_row_is_nats_per_token_behind_its_own_prompt(backbone, rows, prompts):
    of_row = [0, 3, 1, 1, 4, 2, 0, 3, 2, 4, 1, 0]
    expected = [
        nats(backbone, prompts[p], r).mean().item() for p, r in zip(of_row, rows, strict=True)
    ]
    for budget in (0, 40):
        found = row_losses(backbone, prompts, of_row, rows, budget)
        assert found.tolist() == pytest.approx(expected, abs=1e-9)
    assert min(abs(a - b) for a, b in zip(expected, expected[1:], strict=False)) > 1e-3  # control


def test_a_dev_loss_weighs_rows_within_a_prompt_and_then_prompts_alike():
    """Numbers on paper: prompt p is the number p, a token t costs (p - t)^2."""
    numbers = torch.arange(4, dtype=torch.float64).view(4, 1, 1)
    source = Free(numbers, 4)
    many = ((1, row(3)), (3, row(4)), (1, row(1, 4)), (1, row(1)), (2, row(0)))  # 4, 1, 9 / 2, 0, 4
    few = ((1, row(6)), (0, row(1, 2, 3)))  # 25, 14 / 3
    jobs = [Job("many", (), many, 0.1, 0, 1), Job("few", (), few, 0.1, 0, 1)]
    expected = [((4 + 4.5 + 0) / 3 + 1 + 4) / 3, (25 + 14 / 3) / 2]
    for budget in (0, 6):
        found = dev_losses(Numbers(), source, jobs, budget)
        assert found.tolist() == pytest.approx(expected, abs=1e-12)
    assert dev_losses(Numbers(), source, jobs[1:], 0).tolist() == pytest.approx(expected[1:])


def test_dev_losses_of_the_model_equal_a_plain_loops(backbone, rows, prompts):
    dev = tuple(zip((2, 0, 2, 2, 3), rows[:5], strict=True))
    jobs = [Job("a", (), dev, 0.1, 0, 1), Job("b", (), ((0, rows[6]),), 0.1, 0, 1)]
    source = Free(prompts, 5)
    each = [nats(backbone, prompts[p], r).mean().item() for p, r in dev]
    first = ((each[0] + each[2] + each[3]) / 3 + each[1] + each[4]) / 3
    second = nats(backbone, prompts[0], rows[6]).mean().item()
    found = dev_losses(backbone, source, jobs, 0)
    assert found.tolist() == pytest.approx([first, second], abs=1e-9)
    assert abs(first - sum(each) / 5) > 1e-2  # control: the mean over rows is another


def test_dev_losses_leave_no_gradient(backbone, rows, prompts):
    source = Free(prompts, 5)
    found = dev_losses(backbone, source, [Job("a", (), ((1, rows[0]),), 0.1, 0, 1)], 0)
    assert not found.requires_grad and source.values.grad is None


def test_a_prompt_is_made_once_a_step_however_many_rows_it_leads(rows):
    asked = []

    class Watched(source_module.Free):
        def forward(self, indices):
            asked.append(indices.tolist())
            return super().forward(indices)

    source = Watched(torch.zeros(1, dtype=torch.float64), 4)
    some = Job("j", (tuple((p, row(p)) for p in (3, 1, 3, 3)),), ((1, row(1)),) * 3, 0.1, 0, 4)
    backward(Numbers(), source, [some], [0], CONFIG)
    dev_losses(Numbers(), source, [some], 0)
    assert asked == [[1, 3], [1]]


def test_rows_are_padded_to_nothing_that_is_seen(backbone, prompts):
    """A short row beside a long one has the loss that it has alone."""
    short, long = Encoded((5, 1), (6, 1)), Encoded((5,) * 9 + (1,), (7, 8, 9, 6, 1))
    together = row_losses(backbone, prompts, [0, 1], [short, long], 1000)
    alone = row_losses(backbone, prompts, [0], [short], 0)
    assert together[0].item() == pytest.approx(alone[0].item(), abs=1e-9)
