"""Tiny models of many architectures with random weights, and one toy tokenizer for all of them."""

import copy
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import CONFIG_MAPPING, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

CORPUS = [
    "the red bird sang , and the cold tall tree did n't move .",
    "is it low or high ? yes ! no ; maybe",
    "0 1 2 3 4 5 6 7 8 9 true false",
    "word number other text question answer a much longer input of many words and more words",
]
# The ids of RoBERTa: MPNet's are fixed in transformers.
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
START, PAD, END = 0, 1, 2
# Which special tokens stand around a text, by family.
TEMPLATES = {"encoder-decoder": "$A </s>", "causal": "<s> $A", "masked": "<s> $A </s>"}


def _trained() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS * 3, trainer)
    return tokenizer


_TRAINED = _trained()


def tokenizer(family: str) -> PreTrainedTokenizerFast:
    """Return the toy tokenizer with the special tokens that the family's models have."""
    backend = copy.deepcopy(_TRAINED)
    backend.post_processor = processors.TemplateProcessing(
        single=TEMPLATES[family],
        special_tokens=[("<s>", START), ("</s>", END)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
        cls_token="<s>",
        sep_token="</s>",
    )


VOCABULARY = _TRAINED.get_vocab_size()
# Taken by a configuration that has a setting of the name.
HIDDEN = "hidden_size d_model n_embd dim emb_dim embedding_size d_embed".split()
INNER = """intermediate_size d_ff ffn_dim encoder_ffn_dim decoder_ffn_dim hidden_dim n_inner
    ffn_hidden_size dff""".split()
LAYERS = """num_hidden_layers num_layers n_layer n_layers encoder_layers decoder_layers
    num_decoder_layers num_encoder_layers""".split()
HEADS = """num_attention_heads num_heads n_head n_heads encoder_attention_heads
    decoder_attention_heads num_encoder_attention_heads num_decoder_attention_heads""".split()
POSITIONS = """max_position_embeddings n_positions n_ctx max_seq_len max_encoder_position_embeddings
    max_decoder_position_embeddings""".split()
EXPERTS = "num_experts num_local_experts n_routed_experts".split()
OTHERS = {
    "num_key_value_heads": 2,
    "d_kv": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32,
    "type_vocab_size": 2,
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "state_size": 4,
    "mamba_d_state": 4,
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
}
TOKENS = {
    "vocab_size": VOCABULARY,
    "bos_token_id": START,
    "pad_token_id": PAD,
    "eos_token_id": END,
    "decoder_start_token_id": END,
}
SIZES: dict[str, Any] = {
    **dict.fromkeys(HIDDEN, 32),
    **dict.fromkeys(INNER, 64),
    **dict.fromkeys(LAYERS, 2),
    **dict.fromkeys(HEADS, 4),
    **dict.fromkeys(POSITIONS, 256),
    **dict.fromkeys(EXPERTS, 4),
    **OTHERS,
}


def config(kind: str, **settings: Any) -> PretrainedConfig:
    """Return a tiny configuration of a model type; a setting of None is left at its default."""
    kind_of_config = CONFIG_MAPPING[kind]
    default = kind_of_config()
    taken = {}
    for name, value in SIZES.items():
        # Some names are other words for a setting that has its own.
        is_alias = name in kind_of_config.attribute_map
        if name not in settings and not is_alias and hasattr(default, name):
            taken[name] = value
    given = {name: value for name, value in settings.items() if value is not None}
    return kind_of_config(**{**taken, **TOKENS, **given})


def spread(model: PreTrainedModel, std: float = 0.15) -> PreTrainedModel:
    """Give the weights random values, larger than usual: rows and prompts must make a difference.

    The same each time.
    """
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=std, generator=generator)
    return model.eval()


def save(model: PreTrainedModel, words: Any, folder: Path) -> str:
    """Write a folder for `--model`."""
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return str(folder)
