"""What the loss is, and what is predicted: one file a head, one line here."""

from ipt.heads.base import Head, Prediction
from ipt.heads.language_model import LanguageModel

# By `Head.name`.
HEADS: dict[str, type[Head]] = {
    LanguageModel.name: LanguageModel,
}

__all__ = ["HEADS", "Head", "LanguageModel", "Prediction"]
