"""Whatever jobs are stacked, each has the path that it has alone: rules over drawn jobs, in float64."""

import random
from dataclasses import dataclass, replace

import pytest
import torch
from by_hand import Numbers, row
from fitted import WORDS, taught_backbone
from hypothesis import given, settings
from hypothesis import strategies as st
from soft_prompts import Free, fit
from transformers.models.t5.modeling_t5 import T5LayerNorm

from ipt.checkpoint import Checkpoint
from ipt.config import LoopConfig
from ipt.training.loop import Job

CONFIG = LoopConfig(steps=6, warmup=0.2, clip=0.5, eval_every=2, patience=1)
FEW = settings(max_examples=3, deadline=None, derandomize=True)


@pytest.fixture(scope="module")
def backbone(taught_folder):
    """The taught model, its norms in float64 as well: transformers takes their mean in float32."""

    def forward(norm, x):
        return (
            norm.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + norm.variance_epsilon)
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(T5LayerNorm, "forward", forward)
        yield taught_backbone(taught_folder, torch.float64)


@dataclass(frozen=True)
class Drawn:
    """A job before its rows are tokenised: inputs and answers, train in groups; rate, seed, rows of a step."""

    train: tuple[tuple[tuple[str, str], ...], ...]
    dev: tuple[tuple[str, str], ...]
    rate: float
    seed: int
    size: int


PAIRS = st.builds(
    lambda seed: (" ".join(random.Random(seed).choices(WORDS, k=1 + seed % 4)), WORDS[seed % 12]),
    st.integers(0, 10_000),
)
GROUPS = st.lists(PAIRS, min_size=1, max_size=4).map(tuple)
JOBS = st.builds(
    Drawn,
    st.lists(GROUPS, min_size=1, max_size=2).map(tuple),
    st.lists(PAIRS, min_size=1, max_size=3).map(tuple),
    st.sampled_from((0.3, 0.1, 0.03)),
    st.integers(0, 99),
    st.integers(1, 3),
)
STACKS = st.lists(JOBS, min_size=2, max_size=4)


def encoded(backbone, pairs):
    return backbone.encode([text for text, _ in pairs], [answer for _, answer in pairs])


def make(backbone, drawn, index):
    """A job of one prompt, the index."""
    groups = []
    for group in drawn.train:
        groups.append(tuple((index, one) for one in encoded(backbone, group)))
    dev = tuple((index, one) for one in encoded(backbone, drawn.dev))
    return Job(f"job {index}", tuple(groups), dev, drawn.rate, drawn.seed, drawn.size)


def start(seed):
    """The first prompt of a job: a function of its seed."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 16, generator=generator, dtype=torch.float64)


def ends(backbone, stack, config=CONFIG):
    """Train the jobs as one stack; return their prompts [J, n, h] and outcomes."""
    source = Free(torch.stack([start(drawn.seed) for drawn in stack]), len(stack))
    jobs = [make(backbone, drawn, index) for index, drawn in enumerate(stack)]
    outcomes = fit(backbone, source, jobs, config, Checkpoint.none())
    return source.values.detach().unflatten(1, (2, 16)), outcomes


def same(one, other):
    (prompts, outcomes), (others, other_outcomes) = one, other
    torch.testing.assert_close(prompts, others, rtol=0, atol=1e-7)
    for a, b in zip(outcomes, other_outcomes, strict=True):
        assert (a.steps, a.best_step) == (b.steps, b.best_step)
        assert a.dev_loss == pytest.approx(b.dev_loss, abs=1e-8)


@FEW
@given(stack=STACKS, places=st.integers(1, 4))
def test_a_job_in_a_stack_is_the_job_alone(backbone, stack, places):
    """Also where jobs wait for a free place."""
    prompts, outcomes = ends(backbone, stack, replace(CONFIG, stacked_jobs=places))
    for index, drawn in enumerate(stack):
        same((prompts[index : index + 1], outcomes[index : index + 1]), ends(backbone, [drawn]))
    assert (prompts[0] - start(stack[0].seed)).abs().max() > 1e-3  # control: it moved


@FEW
@given(stack=STACKS, order=st.randoms(use_true_random=False))
def test_the_order_of_jobs_changes_nothing(backbone, stack, order):
    prompts, outcomes = ends(backbone, stack)
    places = list(range(len(stack)))
    order.shuffle(places)
    shuffled = ends(backbone, [stack[place] for place in places])
    same((prompts[places], [outcomes[place] for place in places]), shuffled)


@FEW
@given(stack=STACKS, order=st.randoms(use_true_random=False))
def test_the_order_of_dev_rows_changes_nothing(backbone, stack, order):
    shuffled = []
    for drawn in stack:
        dev = list(drawn.dev)
        order.shuffle(dev)
        shuffled.append(replace(drawn, dev=tuple(dev)))
    same(ends(backbone, stack), ends(backbone, shuffled))


@FEW
@given(stack=STACKS, budget=st.integers(12, 60))
def test_smaller_batches_change_nothing(backbone, stack, budget):
    same(ends(backbone, stack), ends(backbone, stack, replace(CONFIG, token_budget=budget)))


@pytest.mark.parametrize(
    "change", ({"rate": 0.2}, {"seed": 6}, {"size": 1}, {"dev": (("red", "tall"),)})
)
def test_a_change_of_one_job_changes_it_and_no_other(backbone, change):
    """The control: what is compared above does depend on the jobs."""
    rows = (("red blue", "red"), ("tall small", "tall"), ("warm cold", "warm"))
    one = Drawn((rows,), rows[:2], 0.1, 5, 2)
    stack = [one, replace(one, seed=8)]
    prompts, outcomes = ends(backbone, stack, replace(CONFIG, patience=9))
    others, other_outcomes = ends(
        backbone, [replace(one, **change), stack[1]], replace(CONFIG, patience=9)
    )
    assert (
        torch.allclose(prompts[1], others[1], rtol=0, atol=1e-7)
        and outcomes[1].steps == other_outcomes[1].steps
    )
    assert outcomes[0].dev_loss != pytest.approx(other_outcomes[0].dev_loss, abs=1e-4)


LABELS = st.lists(st.integers(0, 9), min_size=1, max_size=3)


@settings(max_examples=10, deadline=None, derandomize=True)
@given(
    labels=st.lists(LABELS, min_size=2, max_size=4),
    most=st.integers(1, 4),
    patience=st.integers(1, 3),
)
def test_a_job_in_a_stack_is_the_job_alone_for_numbers(labels, most, patience):
    """The same for jobs of one number each, where many cases cost nothing."""
    config = replace(CONFIG, steps=9, eval_every=2, clip=4, patience=patience, stacked_jobs=most)

    def numbers(which):
        jobs = []
        for place, j in enumerate(which):
            groups = (tuple((place, row(label)) for label in labels[j]),)
            jobs.append(
                Job(str(j), groups, ((place, row(labels[j][0])),), (2, 0.5, 0.1, 1)[j], j, 2)
            )
        source = Free(torch.full((1, 1), 3.0, dtype=torch.float64), len(jobs))
        return source, fit(Numbers(), source, jobs, config, Checkpoint.none())

    stacked, outcomes = numbers(range(len(labels)))
    for j in range(len(labels)):
        alone, (outcome,) = numbers([j])
        assert stacked.values[j].item() == pytest.approx(alone.values.item(), abs=1e-10)
        assert (outcomes[j].steps, outcomes[j].best_step) == (outcome.steps, outcome.best_step)
