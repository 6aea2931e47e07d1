"""The claims about MSF, IST and subspaces, each with a control (small worlds, float64 where it matters)."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import toy_backbone
from fitted import taught_backbone, word_task
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.random_projection import GaussianRandomProjection
from soft_prompts import (
    Free,
    choose_starts,
    find_shared_prompt,
    find_subspace,
    fit,
    flat,
    losses,
    score_prompts,
    tune_prompts,
    tune_vectors,
    vocabulary_start,
)
from torch import nn

from ipt.backbones.base import Backbone
from ipt.bank import DeltaBank
from ipt.checkpoint import Checkpoint
from ipt.config import IstConfig, MsfConfig, TuneConfig
from ipt.encoded import EncodedTask
from ipt.methods.ist import SeenVectors
from ipt.methods.subspace import DeltaDecoder, DeltaEncoder, Subspace, reconstruction_loss
from ipt.storage import read_json
from ipt.training.evaluate import chance
from ipt.training.loop import Job
from ipt.training.source import Decoded

NAMES = {"backbone": "toy", "split": "toy"}


@pytest.fixture
def backbone():
    return toy_backbone(dtype=torch.float32)


@pytest.fixture
def data(backbone, tasks):
    return [EncodedTask.draw(backbone, task, 100, shots=6, limit=10) for task in tasks]


def msf(**changes):
    return MsfConfig(
        **(
            {"steps": 12, "rows_per_step": 8, "eval_every": 6, "dim": 2, "inner_width": 16}
            | changes
        )
    )


@pytest.fixture
def bank(backbone, data):
    noise = torch.randn(len(data), 3, 16, generator=torch.Generator().manual_seed(1))
    return vocabulary_start(backbone, 3, 1) + 0.3 * noise


def snapshot(module):
    return {k: v.detach().clone() for k, v in module.state_dict().items()}


def test_frozen_means_frozen(backbone, data, bank):
    before = snapshot(backbone.model)
    subspace = find_subspace(backbone, bank, data, msf(), "toy", 3, Checkpoint.none())
    decoder = snapshot(subspace)
    source = Decoded(torch.zeros(len(data), subspace.dim), subspace.decode)
    assert [tuple(p.shape) for p in source.parameters()] == [
        (len(data), 2)
    ]  # exactly J x d numbers train
    vectors, _ = tune_vectors(
        backbone, subspace, data, IstConfig(steps=5, rows_per_step=4), 3, Checkpoint.none()
    )
    assert vectors.abs().max() > 0  # control: something was trained
    assert all(torch.equal(before[k], v) for k, v in backbone.model.state_dict().items())
    assert all(torch.equal(decoder[k], v) for k, v in subspace.state_dict().items())


def test_ist_starts_at_the_best_code_of_another_task(backbone, data, bank):
    subspace = find_subspace(backbone, bank, data, msf(), "toy", 3, Checkpoint.none())
    good, _ = tune_vectors(
        backbone, subspace, data[:1], IstConfig(steps=60, rows_per_step=4), 3, Checkpoint.none()
    )
    others = 10 * torch.randn(8, subspace.dim, generator=torch.Generator().manual_seed(0))
    names = tuple(f"task {i}" for i in range(8))
    start = choose_starts(
        backbone,
        subspace.decode,
        data[:2],
        SeenVectors(torch.cat([others, good]), (*names, "another")),
        3,
    )
    assert torch.equal(start[0, 0], good[0]) and start.shape == (2, 1, subspace.dim)
    own = choose_starts(
        backbone,
        subspace.decode,
        data[:1],
        SeenVectors(torch.cat([others, good]), (*names, data[0].task.name)),
        3,
    )
    assert not torch.equal(own[0, 0], good[0])  # control: its own code would be no finding
    far = SeenVectors(100 * (others - others.mean(0)), names)
    assert torch.equal(
        choose_starts(backbone, subspace.decode, data[:1], far, 3)[0], far.mean
    )  # the mean is one of them


def test_several_starts_are_jobs_and_the_best_by_dev_is_kept(taught_folder):
    """As many starts as twice the rates, in a model whose dev scores differ: each start alone, then the best of them."""
    backbone = taught_backbone(taught_folder, torch.float64)
    data = [
        EncodedTask.draw(backbone, word_task(kind), 100, shots=6, limit=1)
        for kind in ("first", "late")
    ]
    subspace = Subspace(3 * 16, 2, 8, "msf", "toy", "toy", 0).double()
    starts = 3 * torch.randn(
        2, 4, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    config = IstConfig(
        steps=4, rows_per_step=4, eval_every=2, learning_rates=(0.3, 0.1), pruning="none"
    )
    vectors, choices = tune_vectors(
        backbone, subspace, data, config, 3, Checkpoint.none(), start=starts
    )
    alone = [
        tune_vectors(
            backbone, subspace, data, config, 3, Checkpoint.none(), start=starts[:, s : s + 1]
        )
        for s in range(4)
    ]
    for t in range(2):
        tried = [(each[t].dev_score, -each[t].outcome.dev_loss, found[t]) for found, each in alone]
        best = max(tried, key=lambda x: x[:2])
        assert (choices[t].dev_score, -choices[t].outcome.dev_loss) == pytest.approx(
            best[:2], abs=1e-9
        )
        torch.testing.assert_close(vectors[t], best[2], rtol=0, atol=1e-8)
        assert len({round(loss, 6) for _, loss, _ in tried}) == 4  # control: starts end apart
    scores = [{each[t].dev_score for _, each in alone} for t in range(2)]
    assert max(map(len, scores)) > 1  # control: the dev score tells them apart


def test_a_task_has_as_many_starts_as_asked_or_as_there_are(backbone, data):
    subspace = Subspace(3 * 16, 2, 8, "msf", "toy", "toy", 0)
    codes = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
    others = SeenVectors(codes, ("a", "b", "c"))
    several = choose_starts(backbone, subspace.decode, data[:2], others, 3, 2)
    assert several.shape == (2, 2, 2)
    assert torch.equal(
        several[:, :1], choose_starts(backbone, subspace.decode, data[:2], others, 3)
    )
    every = choose_starts(backbone, subspace.decode, data[:2], others, 3, 9)
    assert every.shape == (2, 4, 2)  # three codes and their mean are all there are
    own = SeenVectors(codes, ("a", "b", data[1].task.name))
    assert choose_starts(backbone, subspace.decode, data[:2], own, 3, 9).shape == (
        2,
        3,
        2,
    )  # as many for each task


def mean_dev_loss(backbone, prompts, data):
    """Nats per token of dev rows behind each task's prompt [T, n, h], tasks alike."""
    means = []
    with torch.no_grad():
        for prompt, d in zip(prompts, data, strict=True):
            lead = prompt.expand(len(d.dev), -1, -1)
            means.append(losses(backbone, lead, d.dev).mean().item())
    return sum(means) / len(means)


def test_msf_lowers_both_losses(backbone, data, bank):
    """The reconstruction, and the LM loss of dev rows behind the rebuilt prompts."""

    def both(found):
        prompts = found.decode(found.encode(flat(bank))).view(bank.shape)
        return reconstruction_loss(prompts, bank).item(), mean_dev_loss(backbone, prompts, data)

    def ends(steps, **changes):
        config = msf(steps=steps, learning_rate=0.01, eval_every=steps, dim=3, **changes)
        return both(find_subspace(backbone, bank, data, config, "toy", 3, Checkpoint.none()))

    first, last, free = ends(1), ends(150), ends(150, alpha=0)
    rebuilt = both(Subspace(3 * 16, 3, 16, seed=3).fit(bank.numpy(), steps=300, learning_rate=0.01))
    assert last[0] < 0.5 * first[0] and last[1] < first[1] - 0.03
    assert free[0] > first[0] and free[1] < first[1]  # control: the LM loss alone
    assert rebuilt[0] < last[0] and rebuilt[1] > last[1] + 0.03  # control: the reconstruction alone


def drawn(module):
    """Return a module whose linear layers have torch's own initial weights."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            layer.reset_parameters()
    return module


def encoder_of(size, dim):
    return drawn(DeltaEncoder(size, dim))


def decoder_of(dim, size, width):
    return drawn(DeltaDecoder(dim, size, width))


def test_planted_surface_is_found_with_its_dimension_and_not_with_fewer():
    torch.manual_seed(0)
    surface = decoder_of(2, 48, 16).requires_grad_(False)
    surface.first.weight.mul_(3)
    codes = torch.randn(400, 2)
    prompts = 10 * surface(codes)
    error = {}
    for dim in (1, 2):
        encoder, decoder = encoder_of(48, dim), decoder_of(dim, 48, 32)
        optimiser = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], 0.01)
        for _ in range(1500):
            optimiser.zero_grad()
            loss = reconstruction_loss(decoder(encoder(prompts[:300])), prompts[:300])
            loss.backward()
            optimiser.step()
        with torch.no_grad():
            held = prompts[300:]
            error[dim] = (
                reconstruction_loss(decoder(encoder(held)), held) / held.var(0).mean()
            ).item()
    assert error[2] < 0.05 < 0.25 < error[1]


def test_standardised_codes_decode_to_the_same_prompts(bank):
    subspace = Subspace(3 * 16, 2, 8, "msf", "toy", "toy", 0)
    deltas = flat(bank)
    before = subspace.decode(subspace.encode(deltas))
    subspace.standardize(deltas)
    codes = subspace.encode(deltas)
    assert torch.allclose(subspace.decode(codes), before, atol=1e-5)
    assert torch.allclose(codes.mean(0), torch.zeros(2), atol=1e-5)
    assert torch.allclose(codes.std(0, correction=0), torch.ones(2), atol=1e-4)


def test_pca_is_the_best_linear_subspace(bank):
    """What it leaves is the squared singular values beyond the first two, and no random subspace leaves as little."""
    bank = flat(bank)
    pca = Subspace.pca(bank, 2, seed=0, **NAMES)
    error = float(reconstruction_loss(pca.decode(pca.encode(bank)), bank))
    centred = (bank - bank.mean(0)).flatten(1).double()
    singular = torch.linalg.svdvals(centred)
    assert error == pytest.approx(float(singular[2:].square().sum()) / centred.numel(), rel=1e-4)
    for seed in range(5):
        random = Subspace.random(bank, 2, seed, **NAMES)
        assert error < 0.9 * float(reconstruction_loss(random.decode(random.encode(bank)), bank))
    full = Subspace.pca(bank, 50, seed=0, **NAMES)
    assert full.dim == len(bank) - 1  # keeps the rank and no more
    assert torch.allclose(full.decode(full.encode(bank)), bank, atol=1e-4)


def test_subspace_survives_saving_and_speaks_scikit_learn(bank, tmp_path):
    subspace = Subspace.random(bank, 2, 0, **NAMES)
    subspace.save_pretrained(tmp_path / "s")
    again = Subspace.load(tmp_path / "s")
    codes = again.transform(bank.numpy())
    assert codes.shape == (len(bank), 2)
    decoded = subspace.decode(subspace.encode(flat(bank))).numpy()
    assert np.allclose(again.inverse_transform(codes), decoded, atol=1e-6)
    (tmp_path / "s" / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(ValueError, match="no readable subspace"):
        Subspace.load(tmp_path / "s")


def test_a_card_states_what_the_subspace_is(bank, tmp_path):
    Subspace(
        3 * 16, 2, 8, "msf", "toy-model", "mine", 7, ["one", "two"], {"mean score": 0.25}
    ).save_pretrained(tmp_path / "s")
    card = (tmp_path / "s" / "README.md").read_text()
    for part in (
        "`toy-model`",
        "d = 2",
        "msf, task split mine, seed 7",
        "| mean score | 0.250 |",
        "2 tasks: one, two",
        "library_name: ipt",
    ):
        assert part in card
    again = Subspace.from_pretrained(tmp_path / "s")
    assert again.get_params() == Subspace.load(tmp_path / "s").get_params() and again.tasks == [
        "one",
        "two",
    ]


def test_rivals_are_drop_in():
    """On a planted curved surface of 2 dimensions the autoencoder needs 2 numbers, and beats both linear rivals."""
    rng = np.random.default_rng(0)
    inner = np.tanh(2 * rng.normal(size=(200, 2)) @ rng.normal(size=(2, 12)))
    prompts = inner @ rng.normal(size=(12, 48)) + 0.5
    ours = Subspace(3 * 16, dim=2, inner_width=64)
    rivals = [
        ours,
        PCA(2),
        GaussianRandomProjection(2, compute_inverse_components=True, random_state=0),
        clone(ours).set_params(dim=1),
    ]
    errors = []
    for rival in rivals:
        codes = rival.fit(prompts).transform(prompts)
        rebuilt = rival.inverse_transform(codes)
        assert (
            codes.shape == (200, rival.get_params().get("dim", 2))
            and rebuilt.shape == prompts.shape
        )
        errors.append(np.square(rebuilt - prompts).mean())
    assert errors[0] < 0.8 * errors[1] < errors[2] and errors[3] > 1.3 * errors[0]
    assert make_pipeline(StandardScaler(), clone(ours)).fit_transform(prompts).shape == (200, 2)
    assert np.array_equal(
        clone(ours).fit(prompts).transform(prompts), ours.transform(prompts)
    )  # the seed decides
    with pytest.raises(ValueError, match="deltas of 48 numbers"):
        ours.fit(prompts[:, :40])


def test_tuning_beats_its_start_and_the_shared_prompt_is_one(backbone, data):
    """One prompt for all tasks is better than the start, and worse than a prompt for each."""
    config = TuneConfig(steps=60, rows_per_step=8, eval_every=20, learning_rates=(0.3, 0.01))
    start = vocabulary_start(backbone, 3, 5)
    tuned = tune_prompts(backbone, data, config, 5, Checkpoint.none(), start)
    untrained = [mean_dev_loss(backbone, [start], [d]) for d in data]
    for prompt, d, loss in zip(tuned, data, untrained, strict=True):
        assert mean_dev_loss(backbone, [prompt.prompt], [d]) == pytest.approx(
            prompt.dev_loss, abs=1e-5
        )
        assert prompt.dev_loss < loss
    shared = find_shared_prompt(
        backbone, start, data, msf(steps=60, eval_every=20), 0.1, 5, Checkpoint.none()
    )
    each = sum(prompt.dev_loss for prompt in tuned) / len(tuned)
    assert (
        each < mean_dev_loss(backbone, [shared] * len(data), data) < sum(untrained) / len(untrained)
    )


def test_the_shared_prompt_is_one_job_over_all_tasks_rows(backbone, data):
    """The same as a job written by hand: every task a group under the one prompt, the control's own rate."""
    start = vocabulary_start(backbone, 3, 5)
    found = find_shared_prompt(backbone, start, data, msf(), 0.1, 5, Checkpoint.none()).flatten()

    def by_hand(rate, some):
        groups = tuple(tuple((0, row) for row in d.train) for d in some)
        dev = tuple((0, row) for d in some for row in d.dev)
        source = Free(start, 1)
        fit(backbone, source, [Job("one", groups, dev, rate, 5, 8)], msf(), Checkpoint.none())
        return source.values.detach()[0]

    assert torch.allclose(found, by_hand(0.1, data), atol=1e-5)
    assert not torch.allclose(
        found, by_hand(msf().learning_rate, data), atol=1e-3
    )  # control: MSF's rate
    assert not torch.allclose(found, by_hand(0.1, data[1:]), atol=1e-3)  # control: without a task


def test_seeds_are_jobs_of_one_run_and_equal_runs_of_their_own(tasks):
    backbone = toy_backbone()  # float64
    data = [EncodedTask.draw(backbone, task, 100, shots=6, limit=1) for task in tasks[:2]]
    config = TuneConfig(steps=8, rows_per_step=4, eval_every=4, learning_rates=(0.1,))
    starts = {seed: vocabulary_start(backbone, 3, seed) for seed in (5, 6)}
    alone = [
        p
        for seed in starts
        for p in tune_prompts(backbone, data, config, seed, Checkpoint.none(), starts[seed])
    ]
    begin = torch.stack([starts[seed] for seed in starts for _ in data])
    together = tune_prompts(backbone, data * 2, config, [5, 5, 6, 6], Checkpoint.none(), begin)
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(one.prompt, other.prompt, rtol=0, atol=1e-8)
    assert (together[0].prompt - together[2].prompt).abs().max() > 1e-3  # control: seeds differ


def test_dev_rows_take_the_place_of_test_rows(backbone, tasks):
    plain, held = (
        EncodedTask.draw(backbone, tasks[0], 100, shots=6, held_out=part)
        for part in ("test", "dev")
    )
    assert held.test == plain.dev and held.test_examples == plain.dev_examples
    assert (held.train, held.dev) == (plain.train, plain.dev) and not set(plain.test) & set(
        held.test
    )


def test_ist_rejects_a_subspace_of_another_width(backbone, data):
    other = Subspace(3 * 8, 2, 4, "msf", "other", "toy", 0)
    named = "deltas of 24 numbers, .*toy has 16; .*other"
    with pytest.raises(ValueError, match=named):
        tune_vectors(backbone, other, data, IstConfig(), 0, Checkpoint.none())


def test_rows_follow_their_own_prompts_whatever_the_batch(tasks, monkeypatch):
    backbone = toy_backbone()
    data = [EncodedTask.draw(backbone, task, 100, shots=6, limit=12) for task in tasks]
    generator = torch.Generator().manual_seed(2)
    prompts = torch.randn(len(data), 3, 16, generator=generator, dtype=torch.float64)
    scored = []
    for budget in (25_000, 50):  # a quarter of the tokens of a batch without gradients
        with monkeypatch.context() as patch:
            patch.setattr(Backbone, "token_budget", budget)
            scored.append(score_prompts(backbone, prompts, data))
    together, tiny = scored
    alone = [score_prompts(backbone, prompts[i : i + 1], [d])[0] for i, d in enumerate(data)]
    assert together == tiny == alone
    assert len({s.predictions for s in together}) > 1  # control: prompts differ in what they say


def test_chance_is_one_over_labels_on_a_balanced_task(backbone, tasks):
    balanced = EncodedTask.draw(backbone, tasks[3], 100, shots=6)
    counts = Counter(e.output[0] for e in balanced.test_examples)
    assert counts == {"yes": 50, "no": 50} and chance(balanced) == 0.5
    lopsided = replace(
        balanced, test_examples=balanced.test_examples[::2] + balanced.test_examples[1:20:2]
    )
    counts = Counter(e.output[0] for e in lopsided.test_examples)
    assert (
        set(counts.values()) == {50, 10} and chance(lopsided) == 50 / 60
    )  # control: the better label's share
    free = EncodedTask.draw(backbone, tasks[0], 100, shots=6)
    shares = [
        sum(e.output[0] == tried for e in free.test_examples) / 100
        for tried in {e.output[0] for e in free.dev_examples}
    ]
    assert chance(free) == max(shares) < 0.2


def test_losses_equal_the_models_own(tasks):
    backbone = toy_backbone()
    d = EncodedTask.draw(backbone, tasks[0], 100, shots=6)
    empty = torch.zeros(1, 0, 16, dtype=torch.float64)
    for row in d.train[:3]:
        own = backbone.model(
            input_ids=torch.tensor([row.input_ids]), labels=torch.tensor([row.label_ids])
        ).loss
        assert torch.allclose(losses(backbone, empty, [row])[0], own, atol=1e-12)


def test_scores_that_two_processes_keep_at_once_are_all_there(tasks, tmp_path, monkeypatch):
    def read_slowly(path, remedy):
        found = read_json(path, remedy)
        time.sleep(0.3)  # the other writes meanwhile, if it may
        return found

    def put(task):
        DeltaBank(tmp_path, {}).put_scores(
            "reference", [task], "all", {task.name: {"generated": 0.5}}
        )

    put(tasks[0])
    monkeypatch.setattr("ipt.bank.read_json", read_slowly)
    with ThreadPoolExecutor() as pool:
        list(pool.map(put, tasks[1:]))
    assert sorted(DeltaBank(tmp_path, {}).scores("reference", tasks, "all")) == sorted(
        task.name for task in tasks
    )
