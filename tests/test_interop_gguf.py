"""A GGUF file becomes a folder that transformers loads; what transformers reads is stood in for."""

import json
import struct

import pytest
import torch
from conftest import toy_tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel

from ipt.interop import gguf


@pytest.fixture
def installed(monkeypatch):
    """Let the packages of the extra seem to be installed."""
    monkeypatch.setattr(gguf.importlib.util, "find_spec", lambda name: name)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf.HEADER.pack(b"GGUF", 3, 0, 0) + b"and more")
    return path


def small_model():
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=300, n_positions=64, n_embd=16, n_layer=2, n_head=2)
    return GPT2LMHeadModel(config)


def test_the_folder_has_the_files_weights_in_the_type_asked_for(
    file, tmp_path, installed, monkeypatch
):
    model = small_model()
    model.config.quantization_config = {"quant_method": "gguf"}
    asked = []

    def read_model(folder, **settings):
        asked.append((folder, settings))
        return model

    def read_tokenizer(folder, **settings):
        asked.append((folder, settings))
        return toy_tokenizer()

    with monkeypatch.context() as replaced:
        replaced.setattr(gguf.AutoModelForCausalLM, "from_pretrained", read_model)
        replaced.setattr(gguf.AutoTokenizer, "from_pretrained", read_tokenizer)
        gguf.convert(file, tmp_path / "out")

    source = {"gguf_file": "model.gguf", "local_files_only": True}
    assert asked == [(tmp_path, {"dtype": torch.float32, **source}), (tmp_path, source)]
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["model_type"] == "gpt2" and config["dtype"] == "bfloat16"
    assert config["n_embd"] == 16 and "quantization_config" not in config
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.bfloat16)
    expected = model.state_dict()
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, expected[name].bfloat16()), name
    text = AutoTokenizer.from_pretrained(tmp_path / "out")("red")["input_ids"]
    assert text == toy_tokenizer()("red")["input_ids"]


def test_without_the_extra_it_says_what_to_install(file, tmp_path, monkeypatch):
    monkeypatch.setattr(gguf.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match='gguf and accelerate missing; needs the extra "gguf"'):
        gguf.convert(file, tmp_path / "out")


def test_another_file_is_refused(tmp_path, installed):
    other = tmp_path / "other.gguf"
    for content in (b"GGU", b"another format"):
        other.write_bytes(content)
        with pytest.raises(ValueError, match="other.gguf is no GGUF file"):
            gguf.convert(other, tmp_path / "out")
    with pytest.raises(ValueError, match="none.gguf is no GGUF file"):
        gguf.convert(tmp_path / "none.gguf", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"GGUF", "ends within its header"),
        (b"GGUF and more", "ends within its header"),
        (gguf.HEADER.pack(b"GGUF", 3, 2**60, 0), "names 1152921504606846976 tensors"),
        (gguf.HEADER.pack(b"GGUF", 3, 1, 2**60), "1152921504606846976 settings"),
    ],
)
def test_a_header_that_the_file_cannot_fill_is_refused(tmp_path, installed, content, text):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(content)
    with pytest.raises(ValueError, match=f"^convert {broken}: .*{text}.*copy it again$"):
        gguf.convert(broken, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "error", [struct.error("unpack requires\na buffer"), KeyError("arch"), MemoryError()]
)
def test_whatever_the_reader_raises_becomes_one_line(
    file, tmp_path, installed, monkeypatch, error
):
    def broken(folder, **settings):
        raise error

    monkeypatch.setattr(gguf.AutoModelForCausalLM, "from_pretrained", broken)
    with pytest.raises(ValueError, match=f"^convert {file}: it cannot be read") as told:
        gguf.convert(file, tmp_path / "out")
    assert type(error).__name__ in str(told.value) and "\n" not in str(told.value)
