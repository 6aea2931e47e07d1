"""What the loss is, and what is predicted: one file a head, one line here."""

from ipt.config import parse_described
from ipt.heads.base import Head, Prediction
from ipt.heads.by_kind import ByKind
from ipt.heads.choice import Choice
from ipt.heads.classification import Classification
from ipt.heads.label_embedding import LabelEmbedding
from ipt.heads.language_model import LanguageModel
from ipt.heads.span import Span
from ipt.heads.tags import Tags

# By `Head.name`.
HEADS: dict[str, type[Head]] = {
    LanguageModel.name: LanguageModel,
    Classification.name: Classification,
    Tags.name: Tags,
    Span.name: Span,
    Choice.name: Choice,
    ByKind.name: ByKind,
    LabelEmbedding.name: LabelEmbedding,
}


def parse_head(text: str) -> Head:
    """Return the head that `--head` describes; raise ValueError for any other text."""
    return parse_described(text, HEADS, "head")


__all__ = ["HEADS", "Head", "LanguageModel", "Prediction", "parse_head"]
