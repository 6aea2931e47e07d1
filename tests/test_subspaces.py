"""The autoencoder, number by number: its formulas, its standard codes, its training, its folder."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.base import clone
from torch import nn

from ipt.methods.msf import Reconstructed
from ipt.methods.subspace import (
    MOST_WEIGHTS,
    Scaling,
    Subspace,
    inner_width_for,
    reconstruction_loss,
)

NAMES = {"backbone": "toy", "split": "mine"}


def bank_of(count, length=2, width=5, seed=0):
    """Prompts [T, n h] around (3, 3, ...); their deviations differ by coordinate, all below 1."""
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.linspace(0.1, 0.6, length * width)
    return 3 + sizes * torch.randn(count, length * width, generator=generator)


def hand_set(**more):
    """An autoencoder of prompts of 2 x 2 numbers, d = 1, two inner numbers, its weights by hand."""
    space = Subspace(2 * 2, 1, 2, **more)
    outer = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [1.0, 1.0]])
    with torch.no_grad():
        space.delta_encoder.project.weight.copy_(torch.tensor([[1.0, 0.0, 2.0, -1.0]]))
        space.delta_encoder.project.bias.copy_(torch.tensor([0.5]))
        space.delta_decoder.first.weight.copy_(torch.tensor([[1.0], [-2.0]]))
        space.delta_decoder.first.bias.copy_(torch.tensor([0.25, 0.0]))
        space.delta_decoder.last.weight.copy_(outer)
        space.delta_decoder.last.bias.copy_(torch.tensor([10.0, 20.0, 30.0, 40.0]))
    return space


def test_the_loss_is_the_mean_over_prompts_vectors_and_numbers():
    decoded = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]])
    prompts = torch.tensor([[[0.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 1.0]]])
    assert float(reconstruction_loss(decoded, prompts)) == (1 + 4 + 9 + 16 + 1) / 8


def test_encoding_is_one_linear_map_of_the_flattened_prompt():
    prompts = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[0.0, 0.0], [0.0, 1.0]]])
    codes = hand_set().encode(prompts.flatten(1))
    assert codes.tolist() == [[1 + 2 * 3 - 4 + 0.5], [-1 + 0.5]]


def test_decoding_is_a_tanh_between_two_linear_maps():
    first, second = np.tanh(2 + 0.25), np.tanh(-4)
    expected = [10 + first, 20 + second, 30 + 2 * first, 40 + first + second]
    decoded = hand_set().decode(torch.tensor([[2.0], [0.0]]))
    assert decoded[0].tolist() == pytest.approx(expected)
    still = np.tanh(0.25)
    at_zero = [10 + still, 20, 30 + 2 * still, 40 + still]
    assert decoded[1].tolist() == pytest.approx(at_zero)


def test_without_an_inner_width_decoding_is_one_linear_map():
    space = Subspace(1 * 3, 2, 0)
    with torch.no_grad():
        space.delta_decoder.first.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
        space.delta_decoder.first.bias.copy_(torch.tensor([0.5, 0.0, -0.5]))
    assert space.decode(torch.tensor([[10.0, 1.0]])).tolist() == [[12.5, 34.0, 55.5]]
    assert space.delta_decoder.last is None


def test_a_subspace_is_frozen_and_as_wide_as_asked():
    space = Subspace(3 * 4, 2, 7)
    sizes = {name: tuple(p.shape) for name, p in space.named_parameters()}
    assert sizes == {
        "delta_encoder.project.weight": (2, 12),
        "delta_encoder.project.bias": (2,),
        "delta_decoder.first.weight": (7, 2),
        "delta_decoder.first.bias": (7,),
        "delta_decoder.last.weight": (12, 7),
        "delta_decoder.last.bias": (12,),
    }
    assert not any(p.requires_grad for p in space.parameters())


def test_unless_said_otherwise_five_numbers_and_the_released_inner_width():
    found = Subspace(2 * 3).get_params()
    assert (found["dim"], found["inner_width"], found["seed"]) == (5, 768, 0)


def test_standardising_moves_the_first_layers_as_on_paper():
    """Decoded 1, 3 and 8 have the mean 4 and the deviation sqrt((9 + 1 + 16) / 3)."""
    space = hand_set()
    prompts = torch.zeros(3, 4)
    prompts[:, 0] = torch.tensor([0.5, 2.5, 7.5])
    before = space.decode(space.encode(prompts))
    scale = (26 / 3) ** 0.5
    space.standardize(prompts)
    codes = space.encode(prompts)
    assert codes.flatten().tolist() == pytest.approx([-3 / scale, -1 / scale, 4 / scale])
    torch.testing.assert_close(space.decode(codes), before)
    first = space.delta_decoder.first
    assert first.weight.flatten().tolist() == pytest.approx([scale, -2 * scale])
    assert first.bias.tolist() == pytest.approx([0.25 + 4, -2 * 4])
    middle = space.decode(torch.zeros(1, 1))  # code 0 is the mean code
    assert float(middle[0, 2]) == pytest.approx(30 + 2 * np.tanh(4.25))


def test_standardising_widens_narrow_codes_and_leaves_constant_ones_finite():
    space, narrow = hand_set(), torch.zeros(2, 4)
    narrow[:, 0] = torch.tensor([0.0, 2e-3])
    space.standardize(narrow)
    assert space.encode(narrow).flatten().tolist() == pytest.approx([-1, 1], rel=1e-3)
    constant, alike = hand_set(), torch.ones(3, 4)
    before = constant.decode(constant.encode(alike))
    constant.standardize(alike)
    assert constant.encode(alike).flatten().tolist() == [0.0, 0.0, 0.0]
    torch.testing.assert_close(constant.decode(torch.zeros(3, 1)), before)


def plain_fit(prompts, dim, inner, seed, steps, rate):
    """Train an autoencoder in a plain loop; return standardised codes, and what it rebuilds."""
    torch.manual_seed(seed)
    size = prompts.shape[1]
    encode, first, last = nn.Linear(size, dim), nn.Linear(dim, inner), nn.Linear(inner, size)
    layers = nn.ModuleList([encode, first, last])
    optimiser = torch.optim.Adam(layers.parameters(), rate)
    for _ in range(steps):
        optimiser.zero_grad()
        rebuilt = last(torch.tanh(first(encode(prompts))))
        (rebuilt - prompts).square().mean().backward()
        optimiser.step()
    with torch.no_grad():
        codes = encode(prompts)
        rebuilt = last(torch.tanh(first(codes)))
        deviation = codes.std(0, correction=0)
        return ((codes - codes.mean(0)) / deviation).numpy(), rebuilt.numpy()


def test_fitting_is_plain_adam_on_the_reconstruction():
    prompts = bank_of(8).flatten(1)
    codes, rebuilt = plain_fit(prompts, 2, 4, 7, 30, 0.05)
    space = Subspace(2 * 5, 2, 4, seed=7)
    with torch.no_grad():
        assert space.fit(prompts.numpy(), steps=30, learning_rate=0.05) is space
    assert np.allclose(space.transform(prompts.numpy()), codes, rtol=0, atol=1e-4)
    assert np.allclose(space.inverse_transform(codes), rebuilt, rtol=0, atol=1e-4)
    assert not any(p.requires_grad for p in space.parameters())
    short, _ = plain_fit(prompts, 2, 4, 7, 29, 0.05)
    assert not np.allclose(codes, short, rtol=0, atol=1e-3)  # control: a step shows


def test_unless_said_otherwise_fitting_takes_a_thousand_steps_at_a_thousandth():
    prompts = bank_of(8).numpy()
    usual = Subspace(2 * 5, 2, 4, seed=7).fit(prompts).transform(prompts)
    said = Subspace(2 * 5, 2, 4, seed=7).fit(prompts, steps=1000, learning_rate=1e-3)
    assert np.array_equal(usual, said.transform(prompts))


def test_fitting_begins_anew_and_leaves_the_generator_alone():
    prompts = bank_of(8).numpy()
    state = torch.get_rng_state()
    space = Subspace(2 * 5, 2, 4, seed=7)
    torch.set_rng_state(state)
    space.fit(prompts, steps=5)
    assert torch.equal(torch.get_rng_state(), state)
    codes = space.transform(prompts)
    assert np.array_equal(space.fit(prompts, steps=5).transform(prompts), codes)
    other = clone(space).set_params(seed=8).fit(prompts, steps=5)
    assert not np.allclose(other.transform(prompts), codes, atol=1e-3)  # control: another seed


SHAPES = {"large": (4, 3), "small": (2, 4)}
SMALLER = 1000.0  # times


def planted_bank(count=40):
    """Deltas [T, 20] on a plane: one hidden number moves the large part, another the small one."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(count, 2, generator=generator)
    large = 1 + hidden[:, :1] * torch.randn(12, generator=generator)
    small = 3 + hidden[:, 1:] * torch.randn(8, generator=generator)
    noise = 0.03 * torch.randn(count, 12, generator=generator)  # more than all of the small part
    return torch.cat([large + noise, small / SMALLER], 1)


@torch.no_grad()
def part_errors(space, bank):
    """Return what is lost of each part's variance: 0 nothing, 1 all."""
    rebuilt = space.decode(space.encode(bank))
    parts = []
    for part in (slice(0, 12), slice(12, 20)):
        spread = (bank[:, part] - bank[:, part].mean(0)).square().mean()
        parts.append(float((rebuilt[:, part] - bank[:, part]).square().mean() / spread))
    return parts


def test_a_scaling_is_the_mean_and_each_parts_deviation():
    bank = torch.tensor([[1.0, 4.0, 0.5], [3.0, 8.0, 0.5]])
    scaling = Scaling.of_bank(bank, {"a": (1, 2), "same": (1,)})
    assert scaling.start.tolist() == [2.0, 6.0, 0.5]
    # Distances 1 and 2 from the mean; a part that is the same everywhere is not divided by 0.
    spread = ((1 + 1 + 4 + 4) / 4) ** 0.5
    assert scaling.scale.tolist() == pytest.approx([spread, spread, 1.0])
    nothing = Scaling.none(2)
    assert (nothing.start.tolist(), nothing.scale.tolist()) == ([0.0, 0.0], [1.0, 1.0])


def test_decoding_and_encoding_count_in_the_scale_from_the_start():
    space = hand_set()
    plain, vectors = space.decode(torch.tensor([[2.0]])), torch.tensor([[2.0]])
    start, scale = torch.tensor([1.0, -1.0, 0.0, 0.25]), torch.tensor([2.0, 0.5, 1.0, 0.125])
    space.rescale(Scaling(start, scale))
    torch.testing.assert_close(space.decode(vectors), start + scale * plain)
    deltas = start + scale * torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    torch.testing.assert_close(space.encode(deltas), torch.tensor([[1 + 2 * 3 - 4 + 0.5]]))


def test_with_a_scaling_a_part_of_small_numbers_comes_back():
    """The autoencoder, trained as MSF does; control: without a scaling it loses the small part."""
    bank = planted_bank()
    scaled, plain = Subspace(20, 2, 16, seed=1), Subspace(20, 2, 16, seed=1)
    scaled.rescale(Scaling.of_bank(bank, SHAPES))
    errors = []
    for space in (scaled, plain):
        source = Reconstructed(space, bank, alpha=1)
        optimizer = torch.optim.Adam(source.parameters(), 0.01)
        every = torch.arange(len(bank))
        for _ in range(600):
            optimizer.zero_grad()
            source.extra_loss(every, source(every)).backward()
            optimizer.step()
        errors.append(part_errors(space, bank))
    (large, small), (large_without, small_without) = errors
    assert large < 0.05 and small < 0.05
    assert large_without < 0.05 and small_without > 0.5


def test_with_a_scaling_a_fit_brings_a_part_of_small_numbers_back():
    bank = planted_bank()
    space, plain = Subspace(20, 2, 16, seed=1), Subspace(20, 2, 16, seed=1)
    space.rescale(Scaling.of_bank(bank, SHAPES))
    space.fit(bank.numpy(), steps=600, learning_rate=0.01)
    assert max(part_errors(space, bank)) < 0.05
    plain.fit(bank.numpy(), steps=600, learning_rate=0.01)
    assert part_errors(plain, bank)[1] > 0.5  # control


def test_with_a_scaling_pca_has_the_small_part_too():
    bank = planted_bank()
    scaling = Scaling.of_bank(bank, SHAPES)
    space, plain = Subspace.pca(bank, 2, scaling), Subspace.pca(bank, 2)
    assert max(part_errors(space, bank)) < 0.05
    assert part_errors(plain, bank)[1] > 0.5  # control
    vectors = space.encode(bank)
    torch.testing.assert_close(vectors.std(0, correction=0), torch.ones(2), rtol=0, atol=1e-3)


def test_with_a_scaling_random_directions_move_each_part_by_its_own_size():
    bank = planted_bank()
    scaling = Scaling.of_bank(bank, SHAPES)
    shares = []
    for space in (Subspace.random(bank, 2, 0, scaling), Subspace.random(bank, 2, 0)):
        moved = space.decode(torch.eye(2)) - space.decode(torch.zeros(1, 2))
        shares.append(float(moved[:, 12:].square().mean() / moved[:, :12].square().mean()) ** 0.5)
    assert 0.2 / SMALLER < shares[0] < 5 / SMALLER
    assert shares[1] > 0.2  # control: as far as the large part


@pytest.mark.parametrize(
    ("size", "width"),
    [
        (1, 768),
        (10 * 192, 768),
        (83_333, 768),
        (83_334, 767),
        (640_000, 100),
        (1_000_000, 64),
        (10**9, 64),
    ],
)
def test_the_inner_width_is_768_where_it_fits_and_64_at_least(size, width):
    assert MOST_WEIGHTS == 64_000_000
    assert inner_width_for(size) == width


def test_fitting_makes_layers_of_the_sizes_that_are_set():
    space = Subspace(2 * 5, 2, 4)
    start = torch.arange(10.0)
    space.rescale(Scaling(start, torch.full((10,), 2.0)))
    space.set_params(dim=3, inner_width=0).fit(bank_of(8).numpy(), steps=2)
    assert space.transform(bank_of(8).numpy()).shape == (8, 3)
    assert space.delta_decoder.last is None
    assert torch.equal(space.start, start) and space.scale.tolist() == [2.0] * 10
    wider = bank_of(8, 2, 6).numpy()
    space.set_params(size=12, inner_width=4).fit(wider, steps=2)
    assert space.inverse_transform(space.transform(wider)).shape == (8, 12)
    assert space.start.tolist() == [0.0] * 12 and space.scale.tolist() == [1.0] * 12
    assert not any(p.requires_grad for p in space.parameters())


def test_prompts_are_taken_flat_or_as_vectors_in_any_number_type():
    bank = bank_of(8).view(8, 2, 5)
    flat = Subspace(2 * 5, 2, 4).fit(bank.flatten(1).double().numpy(), steps=5)
    deep = Subspace(2 * 5, 2, 4).fit(bank.numpy(), steps=5)
    codes = deep.transform(bank.double().numpy())
    assert np.array_equal(flat.transform(bank.flatten(1).numpy()), codes)
    assert deep.inverse_transform(codes.astype(np.float64)).shape == (8, 10)
    torch.testing.assert_close(torch.from_numpy(codes), deep.encode(bank.flatten(1)))
    decoded = deep.decode(torch.from_numpy(codes))
    assert np.array_equal(deep.inverse_transform(codes), decoded.numpy())
    with pytest.raises(ValueError, match="deltas of 10 numbers were expected, found 8"):
        deep.fit(bank[:, :, :4].numpy())


def test_saving_keeps_every_number_and_every_argument(tmp_path, capsys):
    arguments = {"size": 10, "dim": 3, "inner_width": 4, "tuner": "soft-prompt"}
    arguments |= {"kind": "msf", "backbone": "toy", "split": "mine", "seed": 7}
    arguments |= {"tasks": ["one", "two"], "scores": {"mean score": 0.25}}
    space = Subspace(**arguments)
    space.rescale(Scaling(torch.arange(10.0), torch.linspace(0.5, 2, 10)))
    space.save_pretrained(tmp_path / "s", config=space.get_params())
    capsys.readouterr()
    again = Subspace.load(tmp_path / "s")
    assert capsys.readouterr().out == ""
    assert again.get_params() == arguments
    assert again.get_params(deep=False) == arguments
    kept = again.state_dict()
    assert kept.keys() == space.state_dict().keys() >= {"start", "scale"}
    for name, tensor in space.state_dict().items():
        assert torch.equal(kept[name], tensor)
    assert not any(p.requires_grad for p in again.parameters())


OLD_SETTINGS = {
    "prompt_length": 2,
    "hidden_size": 3,
    "dim": 1,
    "kind": "msf",
    "backbone": "toy",
    "split": "mine",
    "seed": 7,
    "tasks": ["one", "two"],
    "scores": {"mean score": 0.25},
}
OLD_LAYERS = {
    "prompt_encoder.project.weight": torch.tensor([[1.0, 0.0, 2.0, -1.0, 0.0, 1.0]]),
    "prompt_encoder.project.bias": torch.tensor([0.5]),
    "prompt_decoder.first.weight": torch.tensor([[1.0], [-2.0]]),
    "prompt_decoder.first.bias": torch.tensor([0.25, 0.0]),
    "prompt_decoder.last.weight": torch.tensor([[1.0, 0], [0, 1], [2, 0], [1, 1], [0, 0], [3, -1]]),
    "prompt_decoder.last.bias": torch.tensor([10.0, 20.0, 30.0, 40.0, 50.0, 60.0]),
}


def old_folder(folder, settings, layers):
    """Write a subspace as versions did that knew soft prompts alone."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(settings), encoding="utf8")
    save_file(layers, folder / "model.safetensors")
    return folder


def test_a_folder_of_an_older_version_is_read(tmp_path):
    space = Subspace.load(old_folder(tmp_path / "s", OLD_SETTINGS | {"inner_width": 2}, OLD_LAYERS))
    shared = {name: OLD_SETTINGS[name] for name in ("kind", "dim", "backbone", "split", "seed")}
    about = {"tasks": ["one", "two"], "scores": {"mean score": 0.25}, "tuner": "soft-prompt"}
    assert space.get_params() == shared | about | {"size": 6, "inner_width": 2}
    prompt = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    assert space.encode(prompt.view(1, 6)).tolist() == [[1 + 6 - 4 + 6 + 0.5]]
    first, second = np.tanh(2 + 0.25), np.tanh(-4)
    expected = [10 + first, 20 + second, 30 + 2 * first, 40 + first + second]
    expected += [50, 60 + 3 * first - second]
    assert space.decode(torch.tensor([[2.0]]))[0].tolist() == pytest.approx(expected)
    assert not any(p.requires_grad for p in space.parameters())


def test_a_linear_one_of_an_older_version_is_read(tmp_path):
    layers = {
        "prompt_encoder.project.weight": torch.ones(1, 6),
        "prompt_encoder.project.bias": torch.zeros(1),
        "prompt_decoder.first.weight": torch.arange(6.0)[:, None],
        "prompt_decoder.first.bias": torch.ones(6),
    }
    space = Subspace.load(old_folder(tmp_path / "s", OLD_SETTINGS | {"inner_width": 0}, layers))
    assert space.decode(torch.tensor([[2.0]])).tolist() == [[1, 3, 5, 7, 9, 11]]
    assert space.delta_decoder.last is None


OLD_DAMAGE = ("a missing layer", "a layer of no subspace", "another length", "an unknown setting")


@pytest.mark.parametrize("damage", OLD_DAMAGE)
def test_a_damaged_folder_of_an_older_version_is_named(tmp_path, damage):
    settings, layers = OLD_SETTINGS | {"inner_width": 2}, dict(OLD_LAYERS)
    if damage == "a missing layer":
        del layers["prompt_decoder.last.bias"]
    elif damage == "a layer of no subspace":
        layers["prompt_decoder.middle.bias"] = torch.zeros(2)
    elif damage == "another length":
        settings["prompt_length"] = 3
    else:
        settings["width"] = 5
    folder = old_folder(tmp_path / "s", settings, layers)
    with pytest.raises(ValueError, match="s holds no readable subspace"):
        Subspace.load(folder)


def test_a_linear_subspace_comes_back_linear(tmp_path):
    bank = bank_of(6)
    space = Subspace.pca(bank, 2, seed=0, **NAMES)
    space.save_pretrained(tmp_path / "s")
    again = Subspace.load(tmp_path / "s")
    assert torch.equal(again.decode(torch.ones(1, 2)), space.decode(torch.ones(1, 2)))


DAMAGE = ("no folder", "no config", "a weight of another size", "a broken file")


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_folder_that_is_no_subspace_is_named(tmp_path, damage):
    folder = tmp_path / "s"
    Subspace(2 * 5, 2, 4).save_pretrained(folder)
    if damage == "no folder":
        folder = tmp_path / "elsewhere"
    elif damage == "no config":
        (folder / "config.json").unlink()
    elif damage == "a weight of another size":
        Subspace(2 * 5, 3, 4).save_pretrained(tmp_path / "other")
        (tmp_path / "other" / "model.safetensors").rename(folder / "model.safetensors")
    else:
        (folder / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(ValueError, match=f"{folder.name} holds no readable subspace"):
        Subspace.load(folder)


def test_a_name_that_is_no_folder_is_not_asked_of_the_hub(monkeypatch, tmp_path):
    asked = []

    def download(*args, **more):
        asked.append(more["local_files_only"])
        raise OSError("not there")

    monkeypatch.setattr("huggingface_hub.hub_mixin.hf_hub_download", download)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="holds no readable subspace"):
        Subspace.load(Path("someone/subspace"))
    Path("someone/subspace").mkdir(parents=True)
    Path("someone/subspace/config.json").write_text('{"size": 10}')
    with pytest.raises(ValueError, match="holds no readable subspace"):
        Subspace.load(Path("someone/subspace"))  # a folder without weights
    assert not asked
    with pytest.raises(OSError, match="not there"):
        Subspace.from_pretrained("someone/other", local_files_only=True)
    assert set(asked) == {True}  # control: this asks


def test_a_card_says_where_tasks_were_not_recorded():
    text = str(Subspace(2 * 5, 2, 4).generate_model_card())
    assert "Found on 0 tasks: not recorded." in text
    assert "mean score" not in text
    scores = {"mean score": 0.5}
    named = str(Subspace(2 * 5, 2, 4, tasks=["one"]).generate_model_card(scores=scores))
    assert "| mean score | 0.500 |" in named
    assert "Found on 1 tasks: one." in named
