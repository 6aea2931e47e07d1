"""How a model is found and loaded: its folder, device, family and type, and what is refused."""

import fnmatch
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import toy_backbone
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from soft_prompts import losses
from test_families import ANSWERS, LENGTH, MODELS, TEXTS, WORDS, make, prompts
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    BertConfig,
    GPT2Config,
    ModernBertConfig,
    Qwen3Config,
    RobertaConfig,
    ViTConfig,
    XLMConfig,
)

from ipt import hub
from ipt.backbones import loading as families
from ipt.backbones.causal import CausalLM
from ipt.backbones.encoder_decoder import EncoderDecoder
from ipt.backbones.loading import MINI, device_of, family_of, folder_of, load_backbone
from ipt.backbones.masked import MaskedLM


@pytest.mark.parametrize(
    ("config", "family", "kind"),
    [
        (MODELS["t5"][1](), EncoderDecoder, AutoModelForSeq2SeqLM),
        (MODELS["bart"][1](), EncoderDecoder, AutoModelForSeq2SeqLM),
        (GPT2Config(), CausalLM, AutoModelForCausalLM),
        (Qwen3Config(), CausalLM, AutoModelForCausalLM),
        (BertConfig(), MaskedLM, AutoModelForMaskedLM),
        (ModernBertConfig(), MaskedLM, AutoModelForMaskedLM),  # there is no decoder of this kind
        (XLMConfig(), MaskedLM, AutoModelForMaskedLM),  # it may be either
        (BertConfig(is_decoder=True), CausalLM, AutoModelForCausalLM),
        (RobertaConfig(is_decoder=True), CausalLM, AutoModelForCausalLM),
    ],
)
def test_a_configuration_has_one_family(config, family, kind):
    found = family_of(config, "it")
    assert (found, found.loader) == (family, kind)


def test_a_model_of_no_family_is_named():
    with pytest.raises(
        ValueError,
        match="--model it: model type 'vit' is no encoder-decoder, causal or masked language model",
    ):
        family_of(ViTConfig(), "it")


class Accelerators:
    """A machine with so many devices of a type, or none."""

    def __init__(self, monkeypatch, kind, count):
        found = torch.device(kind) if kind else None
        monkeypatch.setattr(
            torch.accelerator,
            "current_accelerator",
            lambda check_available=False: found if check_available else "any",
        )
        monkeypatch.setattr(torch.accelerator, "device_count", lambda: count)


def test_the_device_is_an_accelerator_where_there_is_one(monkeypatch):
    Accelerators(monkeypatch, "cuda", 2)
    assert device_of("auto") == torch.device("cuda")
    assert [str(device_of(name)) for name in ("cpu", "cuda", "cuda:0", "cuda:1")] == [
        "cpu",
        "cuda",
        "cuda:0",
        "cuda:1",
    ]
    for name in ("cuda:2", "cuda:9", "mps", "xpu:0"):
        with pytest.raises(ValueError, match=f"--device {name} is not there; .* has cuda$"):
            device_of(name)


def test_without_an_accelerator_the_device_is_the_cpu(monkeypatch):
    Accelerators(monkeypatch, None, 0)
    assert device_of("auto") == device_of("cpu") == torch.device("cpu")
    for name in ("cuda", "cuda:0", "mps"):
        with pytest.raises(ValueError, match=f"{name} is not there; this machine has cpu only"):
            device_of(name)
    for name in ("gpu", "cuda:x", ""):
        with pytest.raises(
            ValueError,
            match=f"--device must be auto, cpu, cuda, cuda:1 or the like, found '{name}'",
        ):
            device_of(name)


class Hub:
    """Stands in for the hub: what was downloaded before, if it answers, what a download does."""

    def __init__(self, monkeypatch, cached, answers=True, fails=None):
        self.cached, self.fails, self.asked = cached, fails, []
        monkeypatch.setattr(families, "snapshot_download", self.download)
        monkeypatch.setattr(hub, "is_reachable", lambda: answers)

    def download(self, name, local_files_only=False, allow_patterns=None):
        self.asked.append((name, local_files_only, allow_patterns))
        if local_files_only and not self.cached:
            raise LocalEntryNotFoundError("not here")
        if not local_files_only and self.fails:
            raise self.fails
        return "/copies/" + name


def test_a_folder_comes_before_the_hub_and_mini_before_both(tmp_path, monkeypatch):
    there = Hub(monkeypatch, cached=True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mini").mkdir()
    (tmp_path / "org" / "name").mkdir(parents=True)
    assert folder_of("mini") == MINI == Path(families.__file__).parent / "mini"
    assert folder_of("org/name") == Path("org/name") and folder_of(str(tmp_path)) == tmp_path
    assert not there.asked


def test_a_downloaded_model_is_taken_without_asking_the_hub(monkeypatch):
    there = Hub(monkeypatch, cached=True, answers=False)
    assert folder_of("org/other") == Path("/copies/org/other")
    assert there.asked == [("org/other", True, None)]


def test_a_missing_model_is_downloaded_without_what_is_not_read(monkeypatch):
    there = Hub(monkeypatch, cached=False)
    assert folder_of("org/other") == Path("/copies/org/other")
    (_, (name, local, patterns)) = there.asked
    assert name == "org/other" and not local
    taken = lambda file: any(fnmatch.fnmatch(file, pattern) for pattern in patterns)
    assert all(
        taken(file)
        for file in (
            "tokenizer.json",
            "tokenizer.model",
            "spiece.model",
            "sentencepiece.bpe.model",
            "spm.model",
            "source.spm",
            "vocab.json",
            "vocab.txt",
            "merges.txt",
            "bpe.codes",
            "qwen.tiktoken",
            "config.json",
            "model.safetensors",
            "model-00001-of-00002.safetensors",
        )
    )
    left = ("pytorch_model.bin", "model.py", "flax_model.msgpack", "model.onnx")
    assert not any(taken(file) for file in left)


def test_a_model_that_is_nowhere_says_what_to_do(monkeypatch):
    Hub(monkeypatch, cached=False, answers=False)
    with pytest.raises(
        ValueError,
        match="--model org/other: not a folder, not downloaded yet, and the hub is out of reach",
    ) as told:
        folder_of("org/other")
    assert "(hf download org/other --local-dir FOLDER) and give --model FOLDER" in str(told.value)


def test_a_model_that_the_hub_refuses_is_named_with_the_first_line_of_its_answer(monkeypatch):
    refusal = SimpleNamespace(headers={}, request=None)
    for error in (
        HfHubHTTPError("no such model\nmore lines", response=refusal),
        LocalEntryNotFoundError("gone away\nmore"),
    ):
        Hub(monkeypatch, cached=False, fails=error)
        with pytest.raises(ValueError, match="--model org/other: the hub does not give it") as told:
            folder_of("org/other")
        assert str(error).split("\n")[0] in str(told.value) and "more" not in str(told.value)


def test_what_is_no_name_of_a_model_is_named():
    with pytest.raises(ValueError, match="must be 'mini', a folder or a hub id, found 'no//model'"):
        folder_of("no//model")


def saved(folder, name="t5", dtype=torch.float32):
    backbone = make(name, dtype)
    backbone.model.save_pretrained(folder)
    WORDS.save_pretrained(folder)
    return backbone


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_loaded_model_has_the_type_the_name_and_the_prompts_place_asked_for(tmp_path, dtype):
    saved(tmp_path, "gpt2")
    found = load_backbone(str(tmp_path), 7, dtype, "cpu")
    assert found.dtype == dtype
    assert {p.dtype for p in found.model.parameters()} == {getattr(torch, dtype)}
    assert found.name == str(tmp_path) and found.max_input == 200 - 7 - 64
    found = load_backbone(str(tmp_path), device="cpu")
    assert found.max_input == 200 - 64 and found.dtype == "float32"  # no prompt, where none is said


def test_t5_alone_has_the_plain_attention_which_is_the_faster_one_there(tmp_path):
    kinds = {}
    for name in ("t5", "mt5", "gpt2"):
        saved(tmp_path / name, name)
        found = load_backbone(str(tmp_path / name), device="cpu")
        kinds[name] = found.model.config._attn_implementation
    assert kinds == {"t5": "eager", "mt5": "eager", "gpt2": "sdpa"}


def test_the_device_is_the_one_asked_for(tmp_path, monkeypatch):
    saved(tmp_path)
    asked = []
    device_of = lambda name: asked.append(name) or torch.device("meta")
    monkeypatch.setattr(families, "device_of", device_of)
    monkeypatch.setattr(families, "check", lambda backbone: None)  # nothing is computed there
    assert load_backbone(str(tmp_path)).device.type == "meta" and asked == ["auto"]


def test_mini_is_loaded_where_nothing_is_said():
    found = load_backbone()
    assert (found.name, type(found), found.hidden_size, found.dtype) == (
        "mini",
        EncoderDecoder,
        192,
        "float32",
    )


def test_the_weights_of_a_folder_are_the_ones_that_run(tmp_path):
    backbone = saved(tmp_path)
    leads, rows = prompts(3, torch.float32), backbone.encode(TEXTS, ANSWERS)
    found = load_backbone(str(tmp_path), LENGTH, device="cpu")
    assert torch.allclose(losses(found, leads, rows), losses(backbone, leads, rows), rtol=1e-5)
    backbone.weight.data *= 1.1
    backbone.model.save_pretrained(tmp_path)
    other = load_backbone(str(tmp_path), LENGTH, device="cpu")
    assert not torch.allclose(losses(other, leads, rows), losses(found, leads, rows), rtol=1e-3)


CODE = """
import pathlib
from transformers import GPT2Config, GPT2LMHeadModel
pathlib.Path({marker!r}).touch()
class Config(GPT2Config):
    pass
class Model(GPT2LMHeadModel):
    config_class = Config
"""


def test_code_in_a_models_folder_is_never_run(tmp_path):
    saved(tmp_path, "gpt2")
    marker, config = tmp_path / "it ran", json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "own.py").write_text(CODE.format(marker=str(marker)))
    config["auto_map"] = {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = load_backbone(str(tmp_path), device="cpu")
    assert type(found.model).__name__ == "GPT2LMHeadModel" and not marker.exists()
    (tmp_path / "config.json").write_text(json.dumps(config | {"model_type": "of its own"}))
    with pytest.raises(
        ValueError, match="type 'of its own' comes with code of its own, and ipt runs no code"
    ):
        load_backbone(str(tmp_path), device="cpu")
    assert not marker.exists()


def test_a_tokenizer_of_special_tokens_alone_is_none(tmp_path, monkeypatch):
    saved(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "tokenizer_config.json").unlink()
    with pytest.raises(ValueError, match=r"cannot be read \(no tokenizer\)"):
        load_backbone(str(tmp_path), device="cpu")
    asked = []
    read = lambda folder, **local: asked.append(local) or WORDS
    monkeypatch.setattr(families.AutoTokenizer, "from_pretrained", read)
    assert load_backbone(str(tmp_path), device="cpu").tokenizer is WORDS  # control
    assert asked == [{"local_files_only": True, "trust_remote_code": False}]


def test_a_broken_folder_is_named_with_the_errors_first_line_and_the_cure(tmp_path, monkeypatch):
    saved(tmp_path)

    def broken(*given, **local):
        raise OSError("\n  the disk is worn \nsecond line")

    monkeypatch.setattr(families.AutoConfig, "from_pretrained", broken)
    needs = "it needs config.json, model.safetensors and a tokenizer: copy the model again"
    with pytest.raises(ValueError) as told:
        load_backbone(str(tmp_path), device="cpu")
    place = f"--model {tmp_path}: {tmp_path}"
    assert str(told.value) == f"{place} cannot be read (config.json: the disk is worn ); {needs}"


def test_weights_in_another_format_are_refused_though_they_could_be_read(tmp_path):
    backbone = saved(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(backbone.model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="cannot be read"):
        load_backbone(str(tmp_path), device="cpu")


def test_a_tokenizer_is_read_from_the_folder_too(tmp_path):
    saved(tmp_path)
    toy_backbone().tokenizer.save_pretrained(tmp_path)
    found = load_backbone(str(tmp_path), device="cpu")
    expected = toy_backbone().tokenizer("red")["input_ids"]
    assert found.tokenizer("red")["input_ids"] == expected != WORDS("red")["input_ids"]
