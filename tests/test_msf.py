"""Multi-task subspace finding: both losses, each prompt with its own rows, the shared prompt, against plain loops and numbers on paper."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from by_hand import Numbers, row, threads
from fitted import word_task
from small_runs import job_lines
from soft_prompts import backward, find_shared_prompt, find_subspace, flat, row_losses
from torch import nn

from ipt.checkpoint import Checkpoint
from ipt.config import MsfConfig
from ipt.encoded import EncodedTask
from ipt.methods.msf import SHARED_ROWS, Reconstructed
from ipt.methods.subspace import Scaling, Subspace
from ipt.training.loop import Job, take_rows
from ipt.training.source import Shared

CONFIG = MsfConfig(
    steps=12, rows_per_step=4, warmup=0.3, clip=40, eval_every=5, patience=9, learning_rate=0.05, dim=2, inner_width=3, alpha=7,
    checkpoint_seconds=0,
)  # fmt: skip


@pytest.fixture
def float64():
    """New modules in float64, so that plain loops agree to rounding."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def made(name, train, dev):
    """A task's sets: rows of one answer token each."""
    rows, held = tuple(row(t) for t in train), tuple(row(t) for t in dev)
    return SimpleNamespace(task=SimpleNamespace(name=name), train=rows, dev=held, test=(row(99),))


DATA = (made("a", (1, 2, 3), (2, 1)), made("b", (5, 4), (4,)), made("c", (0, 1, 1, 2), (0, 1, 2)))


@pytest.fixture
def bank():
    """Three prompts of two vectors of two numbers."""
    return torch.tensor(
        [[[1, 2], [0, 1]], [[3, 5], [1, -1]], [[0, 2], [-2, 0]]], dtype=torch.float64
    )


def joint(config, rate, groups=None):
    """The job over all tasks, written out; groups: by default one a task."""
    rows, held = [], []
    for t, d in enumerate(DATA):
        rows.append(tuple((t, one) for one in d.train))
        held += [(t, one) for one in d.dev]
    return Job("any", groups or tuple(rows), tuple(held), rate, 3, config.rows_per_step)


def squares(prompt, rows):
    return torch.stack([(prompt.sum() - one.label_ids[0]) ** 2 for one in rows])


def plain_loop(module, prompts_of, extra, job, config):
    """Train a module as the paper says: torch's Adam and clipping, one graph a step. Return the best dev loss and its step."""
    parameters = list(module.parameters())
    adam = torch.optim.Adam(parameters, job.learning_rate)
    rise, best = max(1, round(config.warmup * config.steps)), (float("inf"), 0)
    for step in range(config.steps):
        share = (step + 1) / rise if step < rise else (config.steps - step) / (config.steps - rise)
        adam.param_groups[0]["lr"] = job.learning_rate * share
        taken = take_rows(job, step)
        used = sorted({t for t, _ in taken})
        prompts = prompts_of(used)
        loss = extra(used, prompts)
        for t, one in taken:
            loss = loss + squares(prompts[used.index(t)], [one]).sum() / len(taken)
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, config.clip)
        adam.step()
        if (step + 1) % config.eval_every and step + 1 < config.steps:
            continue
        with torch.no_grad():
            prompts = prompts_of(range(len(DATA)))
            each = [squares(prompts[t], d.dev).mean() for t, d in enumerate(DATA)]
        mean = torch.stack(each).mean().item()
        if mean < best[0]:
            best, kept = (mean, step + 1), [p.detach().clone() for p in parameters]
    for p, value in zip(parameters, kept, strict=True):
        p.data.copy_(value)
    return best


def untrained(bank, config, seed=3):
    return Subspace(bank[0].numel(), config.dim, config.inner_width, seed=seed)


def by_plain_loop(bank, config, job):
    """MSF written out: decode(encode(P)) with formulas, LM loss plus alpha times the mean square."""
    subspace = untrained(bank, config).requires_grad_(True)
    encoder, decoder = subspace.delta_encoder.project, subspace.delta_decoder

    def prompts_of(used):
        codes = bank[list(used)].flatten(1) @ encoder.weight.T + encoder.bias
        inner = torch.tanh(codes @ decoder.first.weight.T + decoder.first.bias)
        return (inner @ decoder.last.weight.T + decoder.last.bias).view(-1, 2, 2)

    def extra(used, prompts):
        return config.alpha * ((prompts - bank[used]) ** 2).mean()

    found = plain_loop(subspace, prompts_of, extra, job, config)
    return prompts_of(range(len(bank))).detach(), found


def find(bank, config, seed=3, checkpoint=None, **more):
    return find_subspace(
        Numbers(), bank, DATA, config, "split", seed, checkpoint or Checkpoint.none(), **more
    )


def rebuilt(subspace, bank):
    """Return prompts [T, n, h] that went through the subspace."""
    return subspace.decode(subspace.encode(flat(bank))).view(bank.shape)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("codes", ("standard", "own"))
def test_msf_is_a_plain_loop_over_both_losses(bank, codes):
    found = find(bank, replace(CONFIG, codes=codes))
    expected, _ = by_plain_loop(bank, CONFIG, joint(CONFIG, 0.05))
    assert torch.allclose(rebuilt(found, bank), expected, rtol=0, atol=1e-5)
    for change in ({"alpha": 6}, {"learning_rate": 0.06}, {"clip": 1e9}):  # control
        other = find(bank, replace(CONFIG, **change))
        assert not torch.allclose(rebuilt(other, bank), expected, rtol=0, atol=1e-4)


@pytest.mark.usefixtures("float64")
def test_msf_over_rows_draws_from_all_tasks_rows_alike(bank):
    config = replace(CONFIG, sampling="rows")
    (whole,) = [tuple(one for group in joint(config, 0.05).groups for one in group)]
    assert len(whole) == 9
    expected, _ = by_plain_loop(bank, config, joint(config, 0.05, (whole,)))
    assert torch.allclose(rebuilt(find(bank, config), bank), expected, rtol=0, atol=1e-5)
    assert not torch.allclose(
        rebuilt(find(bank, CONFIG), bank), expected, rtol=0, atol=1e-4
    )  # control


@pytest.mark.usefixtures("float64")
def test_msf_keeps_the_step_that_is_best_on_dev_rows(bank, tmp_path):
    """With so large a rate the dev loss rises again: the weights are not those of the last step."""
    config = replace(CONFIG, learning_rate=1.0, eval_every=1, clip=100)
    found = find(bank, config, checkpoint=Checkpoint(tmp_path, "msf"))
    expected, (loss, step) = by_plain_loop(bank, config, joint(config, 1.0))
    lines = job_lines(tmp_path / "metrics-msf.jsonl")
    assert {line["job"] for line in lines} == {"msf"} and len(lines) == config.steps
    best = min(lines, key=lambda line: line["dev_loss"])
    assert (
        best == {"job": "msf", "step": step, "dev_loss": pytest.approx(loss, abs=1e-4)}
        and step < 12
    )
    assert torch.allclose(rebuilt(found, bank), expected, rtol=0, atol=1e-4)


def test_the_reconstruction_loss_is_alpha_times_the_mean_square_to_the_own_prompts():
    bank = torch.tensor([[[1.0, 2]], [[3, 5]], [[0, 0]]])
    source = Reconstructed(Subspace(1 * 2, 1, 3), flat(bank), 7)
    prompts = flat(torch.tensor([[[0.0, 5]], [[1, 4]]]))
    assert source.extra_loss(torch.tensor([1, 0]), prompts).item() == 7 * (9 + 0 + 0 + 4) / 4
    assert source.extra_loss(torch.tensor([0, 1]), prompts).item() == 7 * (1 + 9 + 4 + 1) / 4


def test_reconstructed_prompts_are_those_of_the_subspace_in_the_order_asked_for(bank):
    subspace, bank = untrained(bank, CONFIG), bank.float()
    whole = rebuilt(subspace, bank)
    source = Reconstructed(subspace, flat(bank), 1)
    for order in ([2, 0], [0, 1, 2], [1]):
        assert torch.allclose(source(torch.tensor(order)), flat(whole[order]), atol=1e-6)
    assert (whole[0] - whole[1]).abs().max() > 1e-2  # control


@pytest.mark.usefixtures("float64")
def test_alpha_sets_how_much_the_reconstruction_weighs(bank):
    """The gradient of a step is that of the LM loss plus alpha times that of the reconstruction."""
    (job, config), gradients = (joint(CONFIG, 0.1), replace(CONFIG, alpha=0)), []
    for alpha in (0, 1, 7):
        source = Reconstructed(untrained(bank, config), flat(bank), alpha)
        backward(Numbers(), source, [job], [0], config)
        gradients.append([p.grad.clone() for p in source.parameters()])
    for none, one, seven in zip(*gradients, strict=True):
        assert torch.allclose(seven - none, 7 * (one - none))
        assert (one - none).abs().max() > 1e-6


def captured(monkeypatch):
    """Leave the training out; return where what it was asked for is put."""
    calls = []
    monkeypatch.setattr("ipt.methods.msf.fit", lambda *words: calls.append(words))
    return calls


@pytest.mark.parametrize("sampling", ("tasks", "rows"))
def test_the_job_has_each_tasks_rows_and_dev_rows_under_its_own_prompt(bank, monkeypatch, sampling):
    calls = captured(monkeypatch)
    find(bank.float(), replace(CONFIG, sampling=sampling), seed=5)
    ((job,),) = [call[2] for call in calls]
    train = [[(0, 1), (0, 2), (0, 3)], [(1, 5), (1, 4)], [(2, 0), (2, 1), (2, 1), (2, 2)]]
    if sampling == "rows":
        train = [train[0] + train[1] + train[2]]
    found = [[(t, one.label_ids[0]) for t, one in group] for group in job.groups]
    assert found == train
    assert [(t, one.label_ids[0]) for t, one in job.dev] == [
        (0, 2),
        (0, 1),
        (1, 4),
        (2, 0),
        (2, 1),
        (2, 2),
    ]
    assert (job.name, job.learning_rate, job.seed, job.rows_per_step, job.trial_group) == (
        "msf",
        0.05,
        5,
        4,
        "",
    )


def test_the_seed_decides_the_first_weights_and_leaves_the_global_generator_alone(
    bank, monkeypatch
):
    calls, bank = captured(monkeypatch), bank.float()
    before = torch.get_rng_state()
    for seed in (3, 3, 4):
        find(bank, replace(CONFIG, codes="own"), seed=seed)
    assert torch.equal(torch.get_rng_state(), before)
    first, again, other = ([p.detach() for p in call[1].parameters()] for call in calls)
    expected = list(untrained(bank, CONFIG).parameters())
    assert len(first) == len(expected) == 6
    for one, two, three, own in zip(first, again, other, expected, strict=True):
        assert torch.equal(one, own) and torch.equal(two, own) and not torch.equal(three, own)


def test_all_weights_are_trained_and_in_the_end_none_is_trainable(bank, monkeypatch):
    trainable = []
    monkeypatch.setattr(
        "ipt.methods.msf.fit",
        lambda _, source, *rest: trainable.append([p.requires_grad for p in source.parameters()]),
    )
    found = find(bank.float(), CONFIG)
    assert trainable == [[True] * 6]
    assert [p.requires_grad for p in found.parameters()] == [False] * 6


@pytest.mark.usefixtures("float64")
def test_codes_are_standard_or_the_encoders_own(bank):
    own, standard = (find(bank, replace(CONFIG, codes=codes)) for codes in ("own", "standard"))
    codes = standard.encode(flat(bank))
    assert torch.allclose(codes.mean(0), torch.zeros(2), atol=1e-9)
    assert torch.allclose(codes.std(0, correction=0), torch.ones(2), atol=1e-9)
    raw = own.encode(flat(bank))
    assert torch.allclose((raw - raw.mean(0)) / raw.std(0, correction=0), codes, atol=1e-6)
    assert raw.mean(0).abs().max() > 1e-2 and (raw.std(0) - 1).abs().max() > 1e-2
    assert torch.allclose(rebuilt(own, bank), rebuilt(standard, bank), atol=1e-9)


def test_a_subspace_says_what_it_was_found_for(bank, monkeypatch):
    captured(monkeypatch)
    bank = torch.cat([bank, bank[:, :1]], 1).float()  # three vectors of two numbers
    params = find(bank, CONFIG, seed=9).get_params()
    assert params == {
        "size": 6, "dim": 2, "inner_width": 3, "kind": "msf", "backbone": "numbers",
        "split": "split", "seed": 9, "tasks": ["a", "b", "c"], "scores": None, "tuner": "plain",
    }  # fmt: skip


@pytest.mark.usefixtures("float64")
def test_a_killed_search_goes_on_to_the_same_subspace(bank, tmp_path):
    def kill(done, total, loss):
        assert total == 12
        if done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find(bank, CONFIG, checkpoint=Checkpoint(tmp_path, "msf", 0), progress=kill)
    told = []
    more = {
        "checkpoint": Checkpoint(tmp_path, "msf", 0),
        "progress": lambda done, *rest: told.append(done),
    }
    found = find(bank, CONFIG, **more)
    assert told == [7, 8, 9, 10, 11, 12]
    assert torch.equal(rebuilt(found, bank), rebuilt(find(bank, CONFIG), bank))


@pytest.mark.usefixtures("float64")
def test_two_ranks_share_the_rows_of_msf_and_of_the_shared_prompt(bank):
    def both(rank):
        backbone = Numbers()
        none = Checkpoint.none()
        subspace = find_subspace(backbone, bank, DATA, CONFIG, "split", 3, none, processes=rank)
        prompt = find_shared_prompt(backbone, bank[0], DATA, CONFIG, 0.1, 3, none, processes=rank)
        return rebuilt(subspace, bank), prompt, sum(map(len, backbone.batches))

    (alone, prompt, rows) = both(threads(1)[0])
    with ThreadPoolExecutor(2) as pool:
        shares = list(pool.map(both, threads(2)))
    for found, shared, count in shares:
        assert torch.allclose(found, alone, atol=1e-9) and torch.allclose(shared, prompt, atol=1e-9)
        assert count == rows / 2


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("rows", (4, 16, 40))
def test_the_shared_prompt_is_a_plain_loop_over_all_tasks(bank, rows):
    """Its steps have sixteen rows at most."""
    config = replace(CONFIG, rows_per_step=rows, steps=20, clip=8)
    start = bank[1].clone()
    found = find_shared_prompt(Numbers(), start, DATA, config, 0.4, 3, Checkpoint.none())
    module = Shared(flat(bank[1]))
    job = replace(joint(config, 0.4), rows_per_step=min(rows, 16))
    shared = lambda used: module.value.expand(len(used), -1)
    plain_loop(module, shared, lambda used, prompts: 0, job, config)
    assert torch.allclose(flat(found), module.value[0], rtol=0, atol=1e-5)
    assert torch.equal(start, bank[1]) and not found.requires_grad and found.shape == (2, 2)
    other = find_shared_prompt(Numbers(), start, DATA, config, 0.3, 3, Checkpoint.none())
    assert not torch.allclose(other, found, rtol=0, atol=1e-3)  # control: the rate is its own


def test_the_shared_prompt_has_its_own_rate_and_at_most_sixteen_rows(bank, monkeypatch, tmp_path):
    calls, start = captured(monkeypatch), bank[0]
    checkpoint, progress = Checkpoint(tmp_path, "shared"), lambda *words: None
    assert SHARED_ROWS == 16
    for rows, fewer in ((10, 10), (64, 16)):
        config = replace(CONFIG, rows_per_step=rows)
        find_shared_prompt(Numbers(), start, DATA, config, 0.3, 5, checkpoint, progress)
        _, source, (job,), given, *rest = calls.pop()
        assert (job.name, job.learning_rate, job.seed, job.rows_per_step) == (
            "shared",
            0.3,
            5,
            fewer,
        )
        assert len(job.groups) == 3 and len(job.dev) == 6
        assert given == replace(config, rows_per_step=fewer, learning_rate=0.3)
        (execution,) = rest
        assert execution.checkpoint is checkpoint and execution.progress is progress
        assert torch.equal(source(torch.tensor([2, 0])), flat(start).expand(2, 4))


KINDS = ("first", "last", "early")


@pytest.fixture
def named(taught):
    """Three tasks of the taught model, and prompts that hold their names: the model answers them well behind these."""
    data = [EncodedTask.draw(taught, word_task(kind), 100, shots=12, limit=1) for kind in KINDS]
    generator = torch.Generator().manual_seed(0)
    names = torch.stack([taught.weight[taught.ids(kind)[0]] for kind in KINDS])
    return data, names[:, None] + 0.1 * torch.randn(3, 3, 16, generator=generator)


def both_losses(backbone, subspace, bank, data, shift=0):
    """Return the mean square of the reconstruction, and nats per token of dev rows behind the rebuilt prompts of the tasks."""
    made = rebuilt(subspace, bank)
    losses = []
    for t, d in enumerate(data):
        places = [(t + shift) % len(data)] * len(d.dev)
        losses.append(row_losses(backbone, made, places, d.dev, 0).mean().item())
    return (made - bank).square().mean().item(), sum(losses) / len(losses)


def test_msf_lowers_both_losses_on_dev_rows(taught, named):
    data, bank = named
    config = MsfConfig(
        steps=60, rows_per_step=9, eval_every=20, dim=3, inner_width=16, learning_rate=0.02
    )
    before = both_losses(taught, untrained(bank, config), bank, data)
    found = find_subspace(taught, bank, data, config, "toy", 3, Checkpoint.none())
    after = both_losses(taught, found, bank, data)
    assert after[0] < 0.5 * before[0] and after[1] < 0.5 * before[1]
    assert (
        both_losses(taught, found, bank, data, shift=1)[1] > 2 * after[1]
    )  # control: another task's prompt
    free = find_subspace(taught, bank, data, replace(config, alpha=0), "toy", 3, Checkpoint.none())
    assert both_losses(taught, free, bank, data)[0] > before[0]  # control: without alpha


def test_the_reconstruction_counts_each_number_in_its_parts_scale():
    torch.manual_seed(0)
    subspace = Subspace(3, 2, 4)
    subspace.rescale(Scaling(torch.zeros(3), torch.tensor([1.0, 0.01, 0.01])))
    bank = torch.tensor([[1.0, 0.02, 0.0], [0.0, 0.01, 0.03]])
    source = Reconstructed(subspace, bank, alpha=7)
    rebuilt = torch.tensor([[0.0, 0.01, 0.0], [0.0, 0.01, 0.01]])
    # In scales the first row is off by 1, 1, 0 and the second by 0, 0, 2.
    found = source.extra_loss(torch.tensor([0, 1]), rebuilt)
    assert found.item() == pytest.approx(7 * (1 + 1 + 0 + 0 + 0 + 4) / 6)
