"""The parts of the stacked loop against numbers on paper: kept steps, ends, Adam, the rate, rows."""

import numpy as np
import pytest
import torch
from soft_prompts import Free
from torch import nn

from ipt.training.loop import Job, Loop, take_rows
from ipt.training.optimizer import StackedAdam, rate_factor


def job(name="j", groups=((),), seed=0, rows_per_step=1, trial_group=""):
    return Job(name, groups, (), 0.1, seed, rows_per_step, trial_group)


def loop_of(*trials):
    """A loop over jobs of one number each, with these trials' names."""
    source = Free(torch.zeros(1, 1, dtype=torch.float64), len(trials))
    jobs = [job(f"job {j}", trial_group=name) for j, name in enumerate(trials)]
    return Loop(source, jobs, torch.device("cpu"))


def feed(loop, losses, patience, last=99):
    """Record dev losses of the only job, one a step; its number is the step. Return what is said of it after each."""
    told = []
    for step, loss in enumerate(losses, 1):
        loop.steps[0] = step
        loop.source.values.data.fill_(step)
        loop.record(torch.tensor([0]), torch.tensor([loss], dtype=torch.float64), patience, last)
        told.append((loop.best_step.item(), loop.failures.item(), loop.done.item()))
    return told


def test_a_job_ends_after_as_many_worse_losses_as_its_patience():
    loop = loop_of("")
    told = feed(loop, (3, 1, 2, 1.5), patience=2)
    assert told == [(1, 0, False), (2, 0, False), (2, 1, False), (2, 2, True)]
    assert loop.best_loss.item() == 1
    loop.restore_best()
    assert loop.source.values.item() == 2


def test_a_better_loss_starts_the_patience_anew():
    loop = loop_of("")
    told = feed(loop, (3, 1, 2, 1.5, 0.9, 1, 2), patience=3)
    assert told[3:] == [(2, 2, False), (5, 0, False), (5, 1, False), (5, 2, False)]
    assert loop.best_loss.item() == 0.9
    loop.restore_best()
    assert loop.source.values.item() == 5


def test_an_equal_loss_is_no_improvement():
    assert feed(loop_of(""), (1, 1), patience=1) == [(1, 0, False), (1, 1, True)]


def test_a_loss_that_is_no_number_is_never_kept():
    loop = loop_of("")
    nan = float("nan")
    assert feed(loop, (nan, 2, nan), patience=2) == [(0, 1, False), (2, 0, False), (2, 1, False)]
    loop.restore_best()
    assert loop.source.values.item() == 2


def test_the_last_step_ends_a_job_although_it_is_the_best():
    assert feed(loop_of(""), (3, 2, 1), patience=2, last=3)[1:] == [(2, 0, False), (3, 0, True)]


def test_dev_losses_go_to_the_jobs_they_are_of():
    loop = loop_of("", "", "", "")
    everyone = torch.arange(4)
    loop.source.values.data = torch.tensor([10.0, 11, 12, 13], dtype=torch.float64).view(4, 1)
    loop.steps[:] = torch.tensor([1, 2, 3, 4])
    loop.record(everyone, torch.tensor([5.0, 6, 7, 8], dtype=torch.float64), 1, 9)
    loop.source.values.data += 10
    loop.steps[:] = torch.tensor([5, 6, 7, 8])
    loop.record(torch.tensor([3, 0, 1]), torch.tensor([7.5, 5.5, 1], dtype=torch.float64), 1, 9)
    assert loop.best_loss.tolist() == [5, 1, 7, 7.5]
    assert loop.best_step.tolist() == [1, 6, 3, 8]
    assert loop.failures.tolist() == [1, 0, 0, 0]
    assert loop.done.tolist() == [True, False, False, False]
    loop.restore_best()
    assert loop.source.values.flatten().tolist() == [10, 21, 12, 23]


def halved(names, losses, index=None, done=()):
    loop = loop_of(*names)
    loop.best_loss[:] = torch.tensor(losses, dtype=torch.float64)
    loop.done[list(done)] = True
    loop.prune(torch.tensor(range(len(names)) if index is None else index))
    return loop.done.nonzero().flatten().tolist()


def test_of_an_odd_number_of_trials_the_better_half_and_one_go_on():
    assert halved("aaaaa", (5, 1, 4, 2, 3)) == [0, 2]
    assert halved("aaaa", (5, 1, 4, 2)) == [0, 2]
    assert halved("a", (5,)) == []


def test_only_trials_of_one_name_are_compared():
    assert halved("aabb", (1, 2, 4, 3)) == [1, 2]
    assert halved(["", "", ""], (3, 2, 1)) == []


def test_jobs_that_ended_or_have_no_new_loss_take_no_part_in_halving():
    assert halved("aaaa", (1, 2, 3, 4), done=(0, 1)) == [0, 1, 3]
    assert halved("aaaa", (1, 2, 3, 4), index=(1, 2)) == [2]


def test_of_equal_trials_the_first_goes_on():
    assert halved("aa", (1, 1)) == [1]


def active(names, most, done=()):
    loop = loop_of(*names)
    loop.done[list(done)] = True
    return loop.active(most).tolist()


def test_the_first_jobs_that_are_not_done_have_the_places():
    alone = [""] * 5
    assert active(alone, 9) == [0, 1, 2, 3, 4]
    assert active(alone, 3) == [0, 1, 2]
    assert active(alone, 3, done=(0, 2)) == [1, 3, 4]
    assert active(alone, 2, done=(0, 2)) == [1, 3]
    assert active(alone, 3, done=(0, 1, 2)) == [3, 4]


def test_trials_are_never_parted():
    names = ["a", "a", "b", "b", "b", ""]
    assert active(names, 6) == [0, 1, 2, 3, 4, 5]
    assert active(names, 5) == [0, 1, 2, 3, 4]
    assert active(names, 4) == [0, 1]  # the next three do not fit, so they wait
    assert active(names, 2) == [0, 1]
    assert active(names, 1) == [0, 1]  # they fit nowhere, so they are taken whole
    assert active(names, 2, done=(0, 1)) == [2, 3, 4]
    assert active(names, 2, done=(0, 1, 3)) == [2, 4]


def parameters(jobs, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = ((jobs, 2, 3), (jobs, 5))
    drawn = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    return [nn.Parameter(values) for values in drawn]


def clipped(grads, clip):
    norm = sum(g.square().sum() for g in grads).sqrt()
    return [g * min(1.0, clip / norm.item()) for g in grads]


ACTIVE = ((0, 1, 2), (0, 2), (0, 1, 2), (1,), (2, 0), (0, 1, 2), (1, 2))
SCALES = (
    5,
    0.01,
    1,
    3,
    0.1,
    20,
    0.5,
)  # of the gradients of a step, so that some are clipped and some are not
RATES = torch.tensor([0.3, 0.1, 0.02], dtype=torch.float64)


def stacked_and_alone(scales, clip, clip_alone, betas=(0.9, 0.999)):
    """Adam on three stacked jobs, of which some wait, and torch's Adam on each of them alone."""
    stacked = parameters(3)
    adam = StackedAdam(stacked, 3) if betas == (0.9, 0.999) else StackedAdam(stacked, 3, betas)
    count = torch.zeros(3, dtype=torch.long)
    alone = [[nn.Parameter(p.detach()[j].clone()) for p in stacked] for j in range(3)]
    torchs = [torch.optim.Adam(alone[j], RATES[j].item(), betas) for j in range(3)]
    generator = torch.Generator().manual_seed(1)
    for step, (places, scale) in enumerate(zip(ACTIVE, scales, strict=True)):
        for p in stacked:
            p.grad = scale * torch.randn(p.shape, generator=generator, dtype=torch.float64)
        index = torch.tensor(places)
        factor = 1 / (1 + step)
        count[index] += 1
        for j in places:
            grads = clip_alone([p.grad[j] for p in stacked], clip)
            for p, g in zip(alone[j], grads, strict=True):
                p.grad = g.clone()
            torchs[j].param_groups[0]["lr"] = RATES[j].item() * factor
            torchs[j].step()
        adam.step(index, count[index], RATES[index] * factor, clip)
    return stacked, alone


def furthest(stacked, alone):
    gaps = []
    for j, own in enumerate(alone):
        for p, q in zip(stacked, own, strict=True):
            gaps.append((p[j] - q).abs().max().item())
    return max(gaps)


@pytest.mark.parametrize("unit", (1, 1e-8))
def test_stacked_adam_is_torchs_adam_for_each_job(unit):
    """Also with gradients as small as Adam's epsilon."""
    scales = [unit * scale for scale in SCALES]
    assert furthest(*stacked_and_alone(scales, 2 * unit, clipped)) < 1e-12
    whole = lambda grads, clip: grads
    assert furthest(*stacked_and_alone(scales, 2 * unit, whole)) > 1e-3  # control: without clipping


def test_stacked_adam_takes_other_decays():
    assert furthest(*stacked_and_alone(SCALES, 2, clipped, (0.5, 0.9))) < 1e-12


def test_clipping_is_torchs_over_all_the_numbers_of_a_job():
    def torchs(grads, clip):
        own = [nn.Parameter(g) for g in grads]
        for p, g in zip(own, grads, strict=True):
            p.grad = g.clone()
        torch.nn.utils.clip_grad_norm_(own, clip)
        return [p.grad for p in own]

    assert furthest(*stacked_and_alone(SCALES, 2, torchs)) < 1e-6  # torch adds 1e-6 to the norm

    def each_by_itself(grads, clip):
        return [clipped([g], clip)[0] for g in grads]

    assert furthest(*stacked_and_alone(SCALES, 2, each_by_itself)) > 1e-3  # control


def test_a_job_without_gradient_stays_where_it_is():
    stacked = parameters(2)
    before = [p.detach().clone() for p in stacked]
    for p in stacked:
        p.grad = torch.ones_like(p)
        p.grad[0] = 0
    everyone = torch.arange(2)
    StackedAdam(stacked, 2).step(everyone, torch.ones(2), torch.full((2,), 0.1), 1.0)
    for p, q in zip(stacked, before, strict=True):
        assert torch.equal(p[0], q[0])
        assert torch.allclose(p[1], q[1] - 0.1, atol=1e-6)  # Adam's first step is the rate


def test_a_float32_parameter_keeps_its_type():
    p = nn.Parameter(torch.tensor([[1.0]]))
    p.grad = torch.tensor([[1e-3]])
    adam = StackedAdam([p], 1)
    adam.step(torch.tensor([0]), torch.tensor([1]), torch.tensor([0.5], dtype=torch.float64), 1.0)
    assert p.dtype == torch.float32 and p.item() == pytest.approx(0.5, abs=1e-4)


@pytest.mark.parametrize(
    ("steps", "warmup", "expected"),
    [
        (10, 0.3, (1 / 3, 2 / 3, 1, 1, 6 / 7, 5 / 7, 4 / 7, 3 / 7, 2 / 7, 1 / 7, 0)),
        (
            10,
            0.14,
            (1, 1, 8 / 9, 7 / 9, 6 / 9, 5 / 9, 4 / 9, 3 / 9, 2 / 9, 1 / 9, 0),
        ),  # one step, rounded
        (10, 0.16, (1 / 2, 1, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8, 0)),  # two
        (4, 0, (1, 1, 2 / 3, 1 / 3, 0)),
        (2, 0.9, (1 / 2, 1, 0)),
        (1, 0.06, (1, 0)),
    ],
)
def test_the_rate_rises_over_the_warmup_and_falls_to_zero_at_the_end(steps, warmup, expected):
    factor = rate_factor(torch.arange(steps + 1), steps, warmup)
    assert factor.tolist() == pytest.approx(expected, abs=1e-12)
    assert rate_factor(torch.tensor([steps + 1, -2]), steps, warmup).tolist() == [0, 0]


def rows_of(*sizes):
    """Groups of rows, each row its (group, place)."""
    groups = []
    for g, size in enumerate(sizes):
        groups.append(tuple((g, place) for place in range(size)))
    return tuple(groups)


def taken(some, steps):
    rows = []
    for step in range(steps):
        rows += take_rows(some, step)
    return rows


def test_the_order_of_rows_is_numpys_of_seed_group_and_pass():
    """So that a run of an older version is found again with the same rows."""
    some = job(groups=rows_of(3, 5), seed=4, rows_per_step=4)
    expected = []
    for turn in range(10):
        for group in np.random.default_rng((4, 0, turn)).permutation(2):
            size = (3, 5)[group]
            order = np.random.default_rng((4, group + 1, turn // size)).permutation(size)
            expected.append((group, order[turn % size]))
    assert taken(some, 5) == expected


def test_each_pass_over_one_group_meets_every_row_once_in_another_order():
    some = job(groups=rows_of(6), rows_per_step=4)
    rows = taken(some, 9)
    passes = [rows[i : i + 6] for i in range(0, 36, 6)]
    for one in passes:
        assert sorted(one) == [(0, place) for place in range(6)]
    assert len({tuple(one) for one in passes}) == 6


def test_groups_have_equal_turns_and_each_its_own_passes():
    some = job(groups=rows_of(2, 4, 3), rows_per_step=3)
    rows = taken(some, 12)
    for step in range(12):
        assert sorted(group for group, _ in rows[3 * step : 3 * step + 3]) == [0, 1, 2]
    for group, size in enumerate((2, 4, 3)):
        places = [place for g, place in rows if g == group]
        for begin in range(0, 12, size):
            assert sorted(places[begin : begin + size]) == list(range(size))
    orders = {tuple(group for group, _ in rows[i : i + 3]) for i in range(0, 36, 3)}
    assert len(orders) > 1  # groups are shuffled as well


def test_groups_of_one_size_are_shuffled_apart():
    some = job(groups=rows_of(8, 8), rows_per_step=16)
    rows = taken(some, 1)
    first, second = ([place for g, place in rows if g == group] for group in (0, 1))
    assert first != second


def test_the_seed_decides_the_rows():
    groups = rows_of(20)
    assert taken(job(groups=groups, seed=1), 20) == taken(job(groups=groups, seed=1), 20)
    assert taken(job(groups=groups, seed=1), 20) != taken(job(groups=groups, seed=2), 20)
