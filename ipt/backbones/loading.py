"""The three families of language models behind soft prompts, and how a model is loaded.

encoder-decoder (T5, mT5, BART):   encoder reads [prompt, input], decoder writes the answer
left-to-right (GPT-2, Llama, Qwen): one sequence [prompt, input, newline, answer]
masked (BERT, RoBERTa):            one sequence [prompt, input with a mask for each token of the answer], options only
"""

from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    PretrainedConfig,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, MODEL_FOR_MASKED_LM_MAPPING_NAMES

from ipt import hub
from ipt.backbones.base import Backbone
from ipt.backbones.causal import CausalLM
from ipt.backbones.encoder_decoder import EncoderDecoder
from ipt.backbones.masked import MaskedLM

MINI = Path(__file__).parent / "mini"
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "vocab.json", "vocab.txt")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load_backbone(name: str = "mini", prompt_length: int = 0, dtype: str = "float32", device: str = "auto") -> Backbone:
    """Load `mini`, a folder in transformers' layout or a hub id; safetensors only, no remote code.

    device: "auto" takes an accelerator where there is one.
    Raises ValueError where there is no such model, it has no safetensors or tokenizer, or its family is not supported.
    """
    folder, place = folder_of(name), device_of(device)
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        config = AutoConfig.from_pretrained(folder, **local)
        family, kind = family_of(config, name)
        if "t5" in config.model_type:  # with its position bias plain attention is twice as fast on CPUs as the fused one (LOG.md)
            local["attn_implementation"] = "eager"
        model = kind.from_pretrained(folder, dtype=DTYPES[dtype], use_safetensors=True, **local)
        if not any((folder / file).is_file() for file in TOKENIZERS):
            raise OSError("no tokenizer")  # transformers would make an empty one
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, SafetensorError) as error:
        first = str(error).strip().split("\n")[0]
        needs = "it needs config.json, model.safetensors and a tokenizer"
        raise ValueError(f"--model {name}: {folder} cannot be read ({first}); {needs}: copy the model again") from error
    return family(model.to(place), tokenizer, name, prompt_length)


def folder_of(name: str) -> Path:
    """Return the folder of a model: the embedded one, the user's own, or the hub's copy, downloaded where it is missing.

    Raises ValueError at once where the hub has no such model or is out of reach, with what to download.
    """
    if name == "mini" or Path(name).is_dir():
        return MINI if name == "mini" else Path(name)
    try:
        return Path(snapshot_download(name, local_files_only=True))
    except HFValidationError as error:
        raise ValueError(f"--model must be 'mini', a folder or a hub id, found {name!r}") from error
    except LocalEntryNotFoundError:
        remedy = f"download it where there is a network (hf download {name} --local-dir FOLDER) and give --model FOLDER"
    if not hub.is_reachable():
        raise ValueError(f"--model {name}: not a folder, not downloaded yet, and the hub is out of reach; {remedy}")
    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "*.txt", "*.model"]))
    except (HfHubHTTPError, LocalEntryNotFoundError) as error:
        raise ValueError(f"--model {name}: the hub does not give it ({str(error).split(chr(10))[0]})") from error


def device_of(name: str) -> torch.device:
    """Return the device of this name; raise ValueError where it is not there."""
    found = torch.accelerator.current_accelerator(check_available=True)
    if name == "auto":
        return found or torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"--device must be auto, cpu, cuda, cuda:1 or the like, found {name!r}") from error
    if device.type != "cpu" and (found is None or device.type != found.type or (device.index or 0) >= torch.accelerator.device_count()):
        raise ValueError(f"--device {name} is not there; this machine has {found.type if found else 'cpu only'}")
    return device


def family_of(config: PretrainedConfig, name: str) -> tuple[type[Backbone], Any]:
    """Return the family of a configuration and transformers' class that loads it."""
    if config.is_encoder_decoder:
        return EncoderDecoder, AutoModelForSeq2SeqLM
    masked = config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    if config.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and (getattr(config, "is_decoder", False) or not masked):
        return CausalLM, AutoModelForCausalLM
    if masked:
        return MaskedLM, AutoModelForMaskedLM
    raise ValueError(f"--model {name}: model type {config.model_type!r} is no encoder-decoder, left-to-right or masked language model")
