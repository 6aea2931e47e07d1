"""PCA and a random subspace, the autoencoder's rivals of equal dimension: neither is handicapped."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from test_subspaces import NAMES, bank_of

from ipt.methods.subspace import Scaling, Subspace


def spread_of(bank):
    """Return the mean squared distance of the prompts from their mean."""
    return float((bank - bank.mean(0)).square().sum(1).mean())


def test_pca_codes_have_mean_0_and_deviation_1_over_the_seen_prompts():
    bank = bank_of(9)
    codes = Subspace.pca(bank, 4, seed=0, **NAMES).encode(bank)
    torch.testing.assert_close(codes.mean(0), torch.zeros(4), rtol=0, atol=1e-4)
    torch.testing.assert_close(codes.std(0, correction=0), torch.ones(4), rtol=0, atol=1e-4)
    off = codes.T @ codes / 9 - torch.eye(4)
    torch.testing.assert_close(off, torch.zeros(4, 4), rtol=0, atol=1e-3)  # each its own direction


def test_pca_rebuilds_seen_and_new_prompts_as_scikit_learn_does():
    bank, new = bank_of(9), bank_of(3, seed=1)
    plain = PCA(2).fit(bank.double().numpy())
    space = Subspace.pca(bank, 2, seed=0, **NAMES)
    for prompts in (bank, new):
        flat = prompts.double().numpy()
        expected = plain.inverse_transform(plain.transform(flat))
        rebuilt = space.decode(space.encode(prompts)).numpy()
        assert np.allclose(rebuilt, expected, rtol=0, atol=1e-4)
    rebuilt = space.decode(space.encode(new))
    assert not torch.allclose(rebuilt, new, atol=1e-2)  # control: two numbers are too few


def test_pca_of_long_prompts_is_exact_and_always_the_same():
    """scikit-learn would approximate so many columns at random, were it left to choose."""
    bank = bank_of(40, 2, 300)
    flat = bank.double()
    _, _, axes = torch.linalg.svd(flat - flat.mean(0), full_matrices=False)
    expected = flat.mean(0) + (flat - flat.mean(0)) @ axes[:2].T @ axes[:2]
    space = Subspace.pca(bank, 2, seed=0, **NAMES)
    rebuilt = space.decode(space.encode(bank))
    torch.testing.assert_close(rebuilt.double(), expected, rtol=0, atol=1e-3)
    again = Subspace.pca(bank, 2, seed=0, **NAMES)
    assert torch.equal(again.encode(bank), space.encode(bank))


@pytest.mark.parametrize(("dim", "kept"), [(3, 3), (5, 5), (6, 5), (50, 5)])
def test_pca_keeps_no_more_than_the_prompts_less_one(dim, kept):
    space = Subspace.pca(bank_of(6), dim, seed=0, **NAMES)
    assert space.dim == kept
    assert space.encode(bank_of(6)).shape == (6, kept)


def test_pca_of_prompts_on_a_line_is_finite():
    """Directions in which the prompts do not differ get a tiny scale, not a division by 0."""
    line = torch.arange(4.0)[:, None] * torch.tensor([[1.0, 2.0, 2.0]])
    space = Subspace.pca(line, 3, seed=0, **NAMES)
    codes = space.encode(line)
    assert codes.isfinite().all()
    torch.testing.assert_close(space.decode(codes), line, rtol=0, atol=1e-4)
    assert codes[:, 0].std(correction=0) == pytest.approx(1, abs=1e-4)


def test_both_controls_take_prompts_that_have_gradients_and_leave_them():
    bank = bank_of(6).requires_grad_()
    for space in (Subspace.pca(bank, 2, seed=0, **NAMES), Subspace.random(bank, 2, 0, **NAMES)):
        assert not any(p.requires_grad for p in space.parameters())
        assert not space.decode(torch.ones(1, 2)).requires_grad


def test_a_controls_name_says_what_it_is():
    bank = bank_of(6)
    pca, random = Subspace.pca(bank, 2, seed=3, **NAMES), Subspace.random(bank, 2, 4, **NAMES)
    expected = {"size": 10, "tuner": "", "dim": 2, "inner_width": 0, **NAMES}
    expected |= {"tasks": (), "scores": None}
    assert pca.get_params() == expected | {"kind": "pca", "seed": 3}
    assert random.get_params() == expected | {"kind": "random", "seed": 4}


@pytest.mark.parametrize("dim", [1, 3, 8])
def test_random_directions_go_through_the_mean_at_right_angles_with_the_prompts_spread(dim):
    """Where z is N(0, 1), decode(z) is as far from the mean in mean square as the prompts are."""
    bank = bank_of(9)
    space = Subspace.random(bank, dim, 0, **NAMES)
    mean = bank.mean(0, keepdim=True)
    torch.testing.assert_close(space.decode(torch.zeros(1, dim)), mean)
    torch.testing.assert_close(space.encode(mean), torch.zeros(1, dim), rtol=0, atol=1e-4)
    moved = space.decode(torch.eye(dim)) - mean
    expected = torch.eye(dim) * spread_of(bank) / dim
    torch.testing.assert_close(moved @ moved.T, expected, rtol=1e-3, atol=1e-4)
    draws = torch.randn(20_000, dim, generator=torch.Generator().manual_seed(1))
    lengths = (space.decode(draws) - mean).square().sum(1)
    assert float(lengths.mean()) == pytest.approx(spread_of(bank), rel=0.05)


def test_a_random_subspace_gives_back_its_own_codes_and_projects_other_prompts():
    bank = bank_of(9)
    space = Subspace.random(bank, 3, 0, **NAMES)
    codes = torch.randn(7, 3, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(space.encode(space.decode(codes)), codes, rtol=0, atol=1e-4)
    moved = space.decode(torch.eye(3)) - bank.mean(0)
    left = bank - space.decode(space.encode(bank))
    torch.testing.assert_close(left @ moved.T, torch.zeros(9, 3), rtol=0, atol=1e-3)
    assert left.abs().max() > 0.1  # control: something is left


def test_a_random_subspace_of_a_single_prompt_is_finite():
    """One prompt has no deviation: its code is still 0 and decodes to it."""
    bank = bank_of(1)
    space = Subspace.random(bank, 2, 0, **NAMES)
    assert space.encode(bank).isfinite().all()
    torch.testing.assert_close(space.decode(torch.zeros(1, 2)), bank)


@pytest.mark.parametrize("scaled", [False, True])
def test_random_directions_through_a_delta_are_those_through_the_mean(scaled):
    bank = bank_of(9)
    scaling = Scaling.of_bank(bank, {"a": (4,), "b": (6,)}) if scaled else None
    point = torch.linspace(-2, 2, 10)
    moved = Subspace.random(bank, 3, 0, scaling, through=point, **NAMES)
    plain = Subspace.random(bank, 3, 0, scaling, **NAMES)
    zeros = torch.zeros(1, 3)
    torch.testing.assert_close(moved.decode(zeros), point[None])
    torch.testing.assert_close(moved.encode(point[None]), zeros, rtol=0, atol=1e-4)
    codes = torch.randn(7, 3, generator=torch.Generator().manual_seed(1))
    steps = moved.decode(codes) - point
    torch.testing.assert_close(steps, plain.decode(codes) - bank.mean(0), rtol=0, atol=1e-4)
    # Control: it is another plane, and other directions are other steps.
    assert (moved.decode(codes) - plain.decode(codes)).abs().max() > 1
    other = Subspace.random(bank, 3, 1, scaling, through=point, **NAMES)
    assert (other.decode(codes) - point - steps).abs().max() > 0.1


def test_random_directions_favour_none():
    """Over many seeds the share of each direction of space is alike: two of ten."""
    bank = bank_of(9)
    share = torch.zeros(10, 10)
    for seed in range(300):
        space = Subspace.random(bank, 2, seed, **NAMES)
        axes = space.decode(torch.eye(2)) - bank.mean(0)
        axes = axes / axes.norm(dim=1, keepdim=True)
        share += axes.T @ axes / 300
    assert torch.linalg.eigvalsh(share) == pytest.approx(0.2, abs=0.08)


def test_a_seed_decides_the_random_directions():
    bank = bank_of(9)
    torch.manual_seed(1)
    one = Subspace.random(bank, 3, 0, **NAMES)
    torch.manual_seed(2)
    same, other = Subspace.random(bank, 3, 0, **NAMES), Subspace.random(bank, 3, 1, **NAMES)
    code = torch.ones(1, 3)
    assert torch.equal(one.decode(code), same.decode(code))
    assert (one.decode(code) - other.decode(code)).abs().max() > 0.1
