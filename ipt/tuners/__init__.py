"""What is tuned for one job, and where it acts: one file a tuner, one line here."""

from ipt.config import parse_described
from ipt.tuners.adapter import Adapter
from ipt.tuners.bare import Bare
from ipt.tuners.base import Tuner
from ipt.tuners.bias import Bias
from ipt.tuners.deep_prompt import DeepPrompt
from ipt.tuners.fine_tuning import Full, PartialK
from ipt.tuners.ia3 import IA3
from ipt.tuners.lora import LoRA
from ipt.tuners.p_tuning import PTuning
from ipt.tuners.prefix import Prefix
from ipt.tuners.side import Side
from ipt.tuners.soft_prompt import SoftPrompt

TUNERS: dict[str, type[Tuner]] = {
    SoftPrompt.name: SoftPrompt,
    PTuning.name: PTuning,
    DeepPrompt.name: DeepPrompt,
    Prefix.name: Prefix,
    LoRA.name: LoRA,
    IA3.name: IA3,
    Adapter.name: Adapter,
    Bias.name: Bias,
    Side.name: Side,
    PartialK.name: PartialK,
    Full.name: Full,
    Bare.name: Bare,
}


def parse_tuner(text: str) -> Tuner:
    """Return the tuner that `--tuner` describes; raise ValueError for any other text."""
    return parse_described(text, TUNERS, "tuner")
