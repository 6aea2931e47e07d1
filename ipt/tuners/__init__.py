"""What is tuned for one job, and where it acts: one file a tuner, one line here."""

from ipt.tuners.base import Tuner
from ipt.tuners.soft_prompt import SoftPrompt

TUNERS: dict[str, type[Tuner]] = {
    SoftPrompt.name: SoftPrompt,
}
