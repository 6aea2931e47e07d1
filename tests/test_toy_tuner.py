"""A tuner that is defined here runs through tuning, MSF, IST, mixtures and predict, no file edited.

One number scales the hidden states of each encoder layer, row by row under its own job's.
"""

import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from conftest import ist_words, msf_words, toy_backbone, toy_task

from ipt.cli import app as cli
from ipt.encoded import EncodedTask
from ipt.methods.subspace import Subspace
from ipt.provenance import tuner_from_record, tuner_to_record
from ipt.run import Run
from ipt.storage import read_tensors
from ipt.training.loop import row_losses
from ipt.training.model import Model
from ipt.tuners import TUNERS
from ipt.tuners.base import Tuner
from ipt.tuners.soft_prompt import SoftPrompt


@dataclass(frozen=True)
class LayerScale(Tuner):
    """Multiply the output of encoder layer l by 1 + scale_l; a neutral delta is 0."""

    name: ClassVar[str] = "layer-scale"

    size_of_step: float = 0.0

    def shapes(self, backbone):
        blocks = backbone.model.get_encoder().block
        return {"scales": (len(blocks),), "last": (1,)}

    def initialize(self, backbone, generator):
        return torch.zeros(self.size(backbone), device=backbone.device)

    @contextmanager
    def applied(self, backbone, deltas, owner):
        parts = self.parts(backbone, deltas[owner])
        encoder = backbone.model.get_encoder()
        scales = [*parts["scales"].unbind(1), parts["last"][:, 0]]  # each [B]
        modules = [*encoder.block, encoder.final_layer_norm]
        hooks = []
        for module, scale in zip(modules, scales, strict=True):

            def scaled(module, inputs, output, scale=scale):
                first = output[0] if isinstance(output, tuple) else output
                first = first * (1 + scale.to(first.dtype))[:, None, None]
                return (first, *output[1:]) if isinstance(output, tuple) else first

            hooks.append(module.register_forward_hook(scaled))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


@pytest.fixture(autouse=True)
def known(monkeypatch):
    monkeypatch.setitem(TUNERS, LayerScale.name, LayerScale)


def words(world, out):
    """The words of `ipt msf` in the small world, with the toy tuner in the place of prompts."""
    said = msf_words(world, out, "--dim", "2")
    place = said.index("--tuner") + 1
    said[place] = "layer-scale"
    return said


def test_it_runs_from_tuning_to_predict(world, tmp_path, capsys):
    assert cli.main(words(world, tmp_path)) == 0
    assert cli.main(ist_words(tmp_path)) == 0
    msf = Run(next(tmp_path.glob("msf-*")))
    ist = Run(next(tmp_path.glob("ist-*")))
    assert msf.config["tune"]["tuner"] == {"name": "layer-scale", "size_of_step": 0.0}
    subspace = Subspace.load(msf.folder / "subspace")
    assert subspace.size == 3 and subspace.tuner == "layer-scale"
    assert not torch.equal(subspace.scale, torch.ones(3))  # taken from the bank
    seen = msf.config["parts"]["seen"]
    bank = [next(tmp_path.glob(f"bank/*/{name}.safetensors")) for name in seen]
    assert len({path.read_bytes() for path in bank}) == 3  # each task has its own
    scores = ist.result["scores"]
    assert scores.keys() >= {"train_same", "train_diff", "test", "mixture_test", "pca_test"}
    assert ist.tensors("vectors")["test"].shape == (2, 2)
    flags = ["--run", ist.folder.name, "--task", seen[0], "--out", str(tmp_path)]
    capsys.readouterr()
    assert cli.main(["predict", "red tall slow", *flags]) == 0
    assert capsys.readouterr().out.strip()
    # PEFT has no place for it: our own form has the parts by name.
    given = ["export", ist.folder.name, seen[0], "--to", str(tmp_path / "p"), *flags[4:]]
    assert cli.main(given) == 0
    parts, _ = read_tensors(tmp_path / "p" / "delta.safetensors")
    assert {name: list(part.shape) for name, part in parts.items()} == {"scales": [2], "last": [1]}


def test_rows_of_one_batch_run_each_under_its_own_delta():
    """Stacked = alone; the neutral delta is the bare model; the backbone stays as it is."""
    backbone = toy_backbone()
    model = Model(backbone, LayerScale())
    data = EncodedTask.draw(backbone, toy_task("first"), 100, shots=5)
    rows = list(data.train)
    deltas = torch.randn(len(rows), model.size, dtype=torch.float64)
    before = {name: tensor.clone() for name, tensor in backbone.model.state_dict().items()}
    together = row_losses(model, deltas, range(len(rows)), rows, 0)
    for i, row in enumerate(rows):
        alone = row_losses(model, deltas[i : i + 1], [0], [row], 0)
        torch.testing.assert_close(alone[0], together[i], rtol=0, atol=1e-10)
    neutral = row_losses(model, torch.zeros(1, model.size, dtype=torch.float64), [0] * 5, rows, 0)
    bare = row_losses(model.bare, torch.zeros(1, 0, dtype=torch.float64), [0] * 5, rows, 0)
    assert torch.equal(neutral, bare) and not torch.allclose(together, bare)
    for name, tensor in backbone.model.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_an_unknown_tuner_or_setting_is_one_line(world, tmp_path, capsys):
    for text, says in (
        ("lorra", "bare, layer-scale, found 'lorra'"),
        ("layer-scale:rank=3", "expected setting=value with one of size_of_step, found 'rank=3'"),
        ("soft-prompt:prompt_length=x", "prompt_length must be of the kind int, found 'x'"),
    ):
        said = words(world, tmp_path)
        said[said.index("--tuner") + 1] = text
        assert cli.main(said) == 2
        assert says in capsys.readouterr().err


def test_a_soft_prompt_starts_from_rows_that_its_seed_alone_draws():
    model = Model(toy_backbone(), SoftPrompt(prompt_length=4))
    torch.manual_seed(1)
    first = model.initialize(3)
    torch.manual_seed(2)
    again, other = model.initialize(3), model.initialize(4)
    assert torch.equal(first, again) and not torch.equal(first, other)


@dataclass(frozen=True)
class Listed(LayerScale):
    """A tuner with a setting of several values."""

    name: ClassVar[str] = "listed"
    layers: tuple[int, ...] = (1, 2)


def test_a_setting_of_several_values_comes_back_from_a_record(monkeypatch):
    monkeypatch.setitem(TUNERS, "listed", Listed)
    record = json.loads(json.dumps(tuner_to_record(Listed(layers=(3, 4)), {})))
    assert record == {"tuner": {"name": "listed", "size_of_step": 0.0, "layers": [3, 4]}}
    assert tuner_from_record(record["tuner"]) == Listed(layers=(3, 4))
