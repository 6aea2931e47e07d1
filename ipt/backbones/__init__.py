"""The frozen models, and how examples are fed to them: one file a family, one line here."""

from ipt.backbones.base import Backbone
from ipt.backbones.causal import CausalLM
from ipt.backbones.encoder_decoder import EncoderDecoder
from ipt.backbones.masked import MaskedLM

# A model is of the first family that reads its configuration.
BACKBONES: dict[str, type[Backbone]] = {
    "encoder-decoder": EncoderDecoder,
    "causal": CausalLM,
    "masked": MaskedLM,
}
