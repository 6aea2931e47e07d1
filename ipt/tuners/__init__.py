"""What is tuned for one job, and where it acts: one file a tuner, one line here."""

from dataclasses import Field, fields
from typing import Any, cast, get_args

from ipt.config import split_tuner
from ipt.tuners.adapter import Adapter
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

# `Bare` is no entry: it tunes nothing, and no flag asks for it.
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
}


def parse_tuner(text: str) -> Tuner:
    """Return the tuner that `--tuner` describes: NAME, or NAME:setting=value,setting=value.

    Settings are the fields of the tuner's dataclass; several values of one have a + between them.
    Raises ValueError for an unknown name or setting, and for a value of another kind.
    """
    name, described = split_tuner(text)
    if name not in TUNERS:
        raise ValueError(f"--tuner must be one of {', '.join(TUNERS)}, found {name!r}")
    tuner = TUNERS[name]
    fields_by_name = {}
    for field in fields(cast(Any, tuner)):
        fields_by_name[field.name] = field

    settings = {}
    for key, value in described.items():
        if key not in fields_by_name:
            names = ", ".join(fields_by_name) or "none, as it has no settings"
            found = f"{key}={value}"
            raise ValueError(
                f"--tuner {name}: expected setting=value with one of {names}, found {found!r}"
            )
        settings[key] = _value_of(fields_by_name[key], value, name)
    return tuner(**settings)


def _value_of(field: Field[Any], text: str, name: str) -> Any:
    """Return a setting's value, of the kind that its default has."""
    default: Any = field.default
    # A text may begin with a space, as a separator does; what is chosen from a list does not.
    if field.type is not str:
        text = text.strip()
    try:
        # Before the last line: bool("false") is True.
        if isinstance(default, bool):
            return {"true": True, "false": False}[text.lower()]
        if isinstance(default, tuple):
            # tuple[int, ...] holds values of the kind int.
            of_part = get_args(field.type)[0]
            words = text.split("+") if text else []
            return tuple(of_part(word.strip()) for word in words)
        return type(default)(text)
    except (ValueError, KeyError) as error:
        kind = type(default).__name__
        raise ValueError(
            f"--tuner {name}: {field.name} must be of the kind {kind}, found {text!r}"
        ) from error
