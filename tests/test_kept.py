"""A pass that begins behind the blocks that no tuned number changes is the whole pass."""

import pytest
import torch
from test_tuners import ALL, MODELS, backbone, deltas_of, named, rows_of

from ipt.backbones.kept import KeptStates
from ipt.backbones.sites import find_sites
from ipt.config import LoopConfig
from ipt.training.loop import Job, Row, fit
from ipt.training.model import Model
from ipt.training.source import Free
from ipt.tuners import parse_tuner

# Of upper layers alone, and how many blocks lie below in mini, in BART and in the others.
UPPER = {
    "lora:rank=2,layers=1": (1, 1, 1),
    "ia3:layers=1": (1, 1, 1),
    "adapter:width=2,layers=1": (1, 1, 1),
    "bias:at=linears,layers=1": (1, 1, 1),
    "prefix:prefix_length=3,layers=1": (1, 1, 1),
    "partial-k:k=1": (6, 3, 1),
    "side:width=4": (4, 2, 2),
}
# The decoder alone: only encoder-decoders have another stack below it.
DECODER = "prefix:prefix_length=3,stacks=decoder+cross,layers=1"
CASES = [(kind, text) for kind in ("mini", *MODELS) for text in UPPER]
CASES += [("mini", DECODER), ("bart", DECODER)]


def below(kind: str, text: str) -> int:
    if text == DECODER:
        return {"mini": 5, "bart": 3}[kind]
    return UPPER[text][["mini", "bart"].index(kind) if kind in ("mini", "bart") else 2]


def ran(model: Model, act) -> list[int]:
    """Return in which blocks a linear layer saw more than one row while `act` ran."""
    numbers = {block.name: i for i, block in enumerate(model.backbone.sites.blocks)}
    seen = set()
    hooks = []
    for linear in model.backbone.sites.linears:

        def note(module, args, output, number=numbers[linear.block]):
            if len(output) > 1:
                seen.add(number)

        hooks.append(linear.module.register_forward_hook(note))
    act()
    for hook in hooks:
        hook.remove()
    return sorted(seen)


@pytest.mark.parametrize("case", CASES, ids=named)
def test_loss_and_gradient_are_those_of_the_whole_pass(case):
    kind, text = case
    whole = Model(backbone(kind), parse_tuner(text))
    rows = rows_of(whole.backbone)
    kept = whole.keeping(rows)
    assert whole.tuner.lowest(whole.backbone) == below(kind, text)
    # In other company, and so with other padding, than they were kept in.
    for places in ([0, 1, 2], [2, 0]):
        some = [rows[i] for i in places]
        owner = torch.tensor(places)
        ours, theirs = deltas_of(whole).requires_grad_(), deltas_of(whole).requires_grad_()
        found, expected = kept.nll(ours, owner, some), whole.nll(theirs, owner, some)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
        found.sum().backward()
        expected.sum().backward()
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=0, atol=1e-10)

    # Controls: blocks below did not run, and what is kept decides.
    zeros = torch.zeros(3, dtype=torch.long)
    blocks = list(range(len(whole.backbone.sites.blocks)))
    delta = deltas_of(whole, 1)
    assert whole.tuner.mixes_rows or whole.tuner.name == "partial-k"
    assert ran(whole, lambda: whole.nll(delta, zeros, rows)) == blocks
    assert ran(whole, lambda: kept.nll(delta, zeros, rows)) == blocks[below(kind, text) :]
    for state in kept.kept.states[rows[1]].values():
        state.mul_(1.1)
    moved, still = kept.nll(delta, zeros, rows), whole.nll(delta, zeros, rows)
    assert not torch.allclose(moved[1], still[1], atol=1e-6)
    torch.testing.assert_close(moved[[0, 2]], still[[0, 2]], rtol=0, atol=1e-10)


@pytest.mark.parametrize("text", [*ALL, *UPPER])
@pytest.mark.parametrize("kind", ("mini", *MODELS))
def test_no_number_of_a_tuner_changes_what_lies_below_its_lowest_block(kind, text):
    model = Model(backbone(kind), parse_tuner(text))
    count = model.tuner.lowest(model.backbone)
    rows = rows_of(model.backbone)
    blocks = model.backbone.sites.blocks
    touched = []

    def note(module, args, output):
        hidden = output[0] if isinstance(output, tuple) else output
        touched.append(hidden.requires_grad)

    # By what a block itself returns: hooks of the tuner on the block come later.
    deltas = deltas_of(model, 1).requires_grad_()
    hooks = [block.module.register_forward_hook(note) for block in blocks]
    with model.tuner.applied(model.backbone, deltas, torch.zeros(3, dtype=torch.long)):
        model.head.losses(model.backbone, rows)
    for hook in hooks:
        hook.remove()
    assert touched[:count] == [False] * count
    if count < len(blocks):
        assert any(touched)
    if count == 0:
        assert model.keeping(rows) is model


def test_five_steps_are_those_of_whole_passes(monkeypatch):
    config = LoopConfig(steps=5, rows_per_step=2, eval_every=2)
    for kind in ("mini", "llama"):
        model = Model(backbone(kind), parse_tuner("lora:rank=2,layers=1"))
        rows = rows_of(model.backbone)
        start = model.initialize(1).double()

        def trained(model=model, rows=rows, start=start):
            jobs = []
            for place in range(2):
                own = tuple(Row(place, row) for row in rows[place : place + 2])
                jobs.append(Job(str(place), (own,), own, 0.01, place, 2))
            source = Free(start, 2)
            fit(model, source, jobs, config)
            return source.values.detach()

        ours = trained()
        with monkeypatch.context() as patch:
            patch.setattr(Model, "keeping", lambda self, rows, token_budget: self)
            theirs = trained()
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-8)
        assert not torch.allclose(ours[0], start, atol=1e-4)  # control: it moves


def test_rows_that_do_not_fit_are_run_whole(monkeypatch):
    whole = Model(backbone("mini"), parse_tuner("lora:layers=1"))
    rows = rows_of(whole.backbone)
    one = 8 * whole.backbone.hidden_size * len(rows[0].input_ids)
    monkeypatch.setattr("ipt.backbones.kept.MOST_BYTES", one)
    kept = whole.keeping(rows)
    assert [row in kept.kept for row in rows] == [True, False, False]
    assert kept.kept.free == 0
    found, expected = (
        model.nll(deltas_of(whole), torch.arange(3), rows) for model in (kept, whole)
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def test_a_model_whose_upper_blocks_read_more_than_hidden_states_is_run_whole(monkeypatch):
    model = Model(backbone("bert"), parse_tuner("lora:layers=1"))
    rows = rows_of(model.backbone)
    assert model.keeping(rows) is not model  # control
    first, second = (block.module for block in model.backbone.sites.blocks)
    held = []

    def lower(*args, forward=first.forward, **kwargs):
        held[:] = [args[0]]
        return forward(*args, **kwargs)

    def upper(*args, forward=second.forward, **kwargs):
        # As models that share keys and values between layers do.
        return forward(*args, **kwargs) + 0.1 * held.pop().mean()

    with monkeypatch.context() as patch:
        patch.setattr(first, "forward", lower, raising=False)
        patch.setattr(second, "forward", upper, raising=False)
        assert model.keeping(rows) is model
        assert first.__dict__["forward"] is lower


def test_sites_are_found_where_no_gradients_are_taken():
    some = backbone("llama")
    with torch.no_grad():
        found = find_sites(some)
    assert [linear.roles for linear in found.linears] == [
        linear.roles for linear in some.sites.linears
    ]
    assert {"query"} in [linear.roles for linear in found.linears]


def test_nothing_is_left_behind_after_an_error():
    model = Model(backbone("mini"), parse_tuner("partial-k:k=1"))
    rows = rows_of(model.backbone)
    kept = KeptStates(model.backbone, 6)
    for context in (kept.recorded, kept.resumed):
        with pytest.raises(RuntimeError, match="in the middle"), context(rows):
            raise RuntimeError("in the middle")
        assert not any("forward" in module.__dict__ for module in model.backbone.model.modules())
        # For the second: it needs something kept.
        with kept.recorded(rows):
            model.head.losses(model.backbone, rows)
