"""Which model types are supported: one table, and the page of the docs that is made from it.

`python tests/architectures.py` writes the page; `tests/test_architectures.py` checks each line
against transformers.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import toys

from ipt.backbones import BACKBONES
from ipt.backbones.base import Backbone
from ipt.backbones.loading import family_of

PAGE = Path(__file__).parent.parent / "docs" / "models.md"
BEGIN = "<!-- model types -->"
END = "<!-- end of model types -->"

BESIDE = "a row's loss depends on the rows beside it"
EMBEDS = "it reads embeddings otherwise than the tokens they are of"
ORDER = "it sees an answer's later tokens before it writes them"
WRITES = "transformers writes no answers behind embeddings for it"
OTHER = "transformers reads no embeddings for it"


@dataclass(frozen=True)
class Architecture:
    """A model type, how a tiny one is made, and what is expected of it."""

    kind: str
    family: str
    settings: dict[str, Any] = field(default_factory=dict)
    refused: str = ""
    """The reason, or empty where it is supported."""
    rereads: bool = False
    """Whether the input is read again for each option."""


def _of(family: str, kinds: str) -> list[Architecture]:
    return [Architecture(kind, family) for kind in kinds.split()]


MLA = {"num_key_value_heads": 4}
HEAD = {"head_dim": 8}
# It pads to whole windows, and the padding has positions too.
LONG = {"attention_window": 8, "max_position_embeddings": 600}
HYBRID = {"layer_types": ["linear_attention", "full_attention"]}
ENCODER_DECODERS = [
    *_of("encoder-decoder", "bart bigbird_pegasus blenderbot blenderbot-small longt5"),
    *_of("encoder-decoder", "m2m_100 marian mbart mt5 mvp pegasus pegasus_x plbart"),
    *_of("encoder-decoder", "t5 umt5"),
    Architecture("led", "encoder-decoder", {"attention_window": 8}),
    Architecture("fsmt", "encoder-decoder", refused=BESIDE),
    Architecture("prophetnet", "encoder-decoder", {"num_hidden_layers": None}, refused=WRITES),
    Architecture("switch_transformers", "encoder-decoder", refused=OTHER),
    Architecture("nllb-moe", "encoder-decoder", refused=OTHER),
]
CAUSALS = [
    *_of("causal", "afmoe apertus arcee biogpt bitnet bloom cohere cohere2 cwm"),
    *_of("causal", "diffllama doge ernie4_5 exaone4 flex_olmo gemma gemma2 gemma3_text glm"),
    *_of("causal", "glm4 glm4_moe gpt2 gpt_bigcode gpt_neox gpt_oss granite granitemoe"),
    *_of("causal", "jetmoe lfm2 llama minimax mistral mixtral"),
    *_of("causal", "modernbert-decoder mpt nemotron olmo olmo2 olmo3 olmoe opt persimmon phi phi3"),
    *_of("causal", "phimoe qwen2 qwen2_moe qwen3 qwen3_moe seed_oss smollm3 stablelm starcoder2"),
    *_of("causal", "xglm"),
    Architecture("deepseek_v2", "causal", MLA),
    Architecture("deepseek_v3", "causal", MLA),
    Architecture("minicpm3", "causal", MLA),
    Architecture("codegen", "causal", {"rotary_dim": 4}),
    Architecture("gptj", "causal", {"rotary_dim": 4}),
    Architecture("helium", "causal", HEAD),
    Architecture("hunyuan_v1_dense", "causal", HEAD),
    Architecture("ministral", "causal", HEAD),
    Architecture("falcon", "causal"),
    Architecture("gpt_neo", "causal", {"attention_types": [[["global", "local"], 1]]}),
    Architecture("qwen3_next", "causal", HYBRID),
    Architecture("qwen3_5_text", "causal", HYBRID),
    Architecture("jamba", "causal", {"attn_layer_period": 2, "attn_layer_offset": 1}, rereads=True),
    Architecture("mamba", "causal", rereads=True),
    Architecture("falcon_mamba", "causal", rereads=True),
    Architecture("mamba2", "causal", {"num_heads": 8, "head_dim": 8, "n_groups": 1}, rereads=True),
    Architecture("bert-generation", "causal", refused=ORDER),
    Architecture("cpmant", "causal", refused=OTHER),
    Architecture("ctrl", "causal", refused=WRITES),
    Architecture("falcon_h1", "causal", refused=WRITES),
    Architecture("openai-gpt", "causal", refused=WRITES),
    Architecture("recurrent_gemma", "causal", refused=BESIDE),
    Architecture("rwkv", "causal", refused=BESIDE),
    Architecture("xlnet", "causal", {name: None for name in toys.POSITIONS}, refused=ORDER),
]
MASKED = [
    *_of("masked", "albert bert big_bird camembert data2vec-text deberta deberta-v2 distilbert"),
    *_of("masked", "electra ernie eurobert flaubert layoutlm megatron-bert modernbert mpnet"),
    *_of("masked", "nomic_bert rembert roberta roberta-prelayernorm roformer squeezebert xlm"),
    *_of("masked", "xlm-roberta xlm-roberta-xl"),
    Architecture("longformer", "masked", LONG),
    Architecture("convbert", "masked", refused=BESIDE),
    Architecture("esm", "masked", {"mask_token_id": 4}, refused=EMBEDS),
    Architecture("fnet", "masked", refused=BESIDE),
    Architecture("ibert", "masked", refused=OTHER),
    Architecture("mobilebert", "masked", refused=BESIDE),
    Architecture("nystromformer", "masked", refused=BESIDE),
    Architecture("yoso", "masked", refused=BESIDE),
]
ARCHITECTURES = [*ENCODER_DECODERS, *CAUSALS, *MASKED]


def make(architecture: Architecture, added_tokens: int = 3) -> Backbone:
    """Return a tiny model of the architecture, not checked yet."""
    config = toys.config(architecture.kind, **architecture.settings)
    loader = BACKBONES[architecture.family].loader
    model = toys.spread(loader.from_config(config))
    words = toys.tokenizer(architecture.family)
    family = family_of(model.config, architecture.kind)
    return family(model, words, architecture.kind, added_tokens)


def table() -> str:
    """Return the list of model types as the docs have it."""
    lines = ["| model type | family | options are ranked |", "|---|---|---|"]
    refused = ["| model type | family | it is refused, as |", "|---|---|---|"]
    for architecture in sorted(ARCHITECTURES, key=lambda item: (item.family, item.kind)):
        begin = f"| `{architecture.kind}` | {architecture.family} |"
        if architecture.refused:
            refused.append(f"{begin} {architecture.refused} |")
            continue
        ranking = "with the input read once"
        if architecture.rereads or architecture.family == "masked":
            ranking = "with the input read for each option"
        lines.append(f"{begin} {ranking} |")
    return "\n".join([*lines, "", *refused])


def page(text: str) -> str:
    """Return the page with its list made anew."""
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf8")), encoding="utf8")
