"""Soft prompts as PEFT has them: `prompt_embeddings` [n, h], whatever made them."""

from typing import Any, ClassVar

from torch import Tensor

from ipt.backbones.base import Backbone
from ipt.interop.folder import PEFT_TASKS, Kind, NotInPeft, PeftFolder, Written, numbers_of
from ipt.training.model import Model
from ipt.tuners.base import Tuner
from ipt.tuners.p_tuning import PTuning
from ipt.tuners.soft_prompt import SoftPrompt

KEY = "prompt_embeddings"


class Prompts(Kind):
    """PROMPT_TUNING: the vectors themselves."""

    name: ClassVar[str] = "PROMPT_TUNING"
    writes: ClassVar[type[Tuner]] = SoftPrompt
    # P_TUNING's folders hold what its network has made, which is a prompt like any other.
    reads: ClassVar[tuple[type[Tuner], ...]] = (SoftPrompt, PTuning)

    def uses(self, name: str) -> bool:
        return name == KEY

    def fitting(self, opened: PeftFolder, backbone: Backbone) -> Tuner:
        return SoftPrompt(prompt_length=_declared(opened))

    def read(self, opened: PeftFolder, model: Model) -> Tensor:
        tuner = model.tuner
        assert isinstance(tuner, SoftPrompt | PTuning)
        # PEFT's prompts stand before the input.
        if isinstance(tuner, PTuning) and len(tuner.template) > 1:
            raise self.unlike(opened, model, PTuning(template=(_declared(opened),)))
        prompt = prompt_of(opened, tuner.prompt_length, model.backbone.hidden_size)
        return prompt.flatten()

    def write(self, delta: Tensor, model: Model) -> Written:
        if type(model.backbone) not in PEFT_TASKS:
            raise NotInPeft(
                f"PEFT has no prompt tuning for masked models such as {model.backbone.name}"
            )
        if isinstance(model.tuner, PTuning) and len(model.tuner.template) > 1:
            raise NotInPeft("PEFT has no prompts between the parts of an input")
        # PEFT has the vectors in rows where we have one flat delta.
        prompt = model.tuner.parts(model.backbone, delta)["prompt"]  # [n, h]
        length, width = prompt.shape
        config = {
            "num_virtual_tokens": length,
            # PEFT's prompt tuning reads only the encoder's side of an encoder-decoder.
            "num_transformer_submodules": 1,
            "token_dim": width,
            **self.settings(width),
        }
        return Written(config, {KEY: prompt})

    def settings(self, width: int) -> dict[str, Any]:
        """Return what the kind's configuration has beside that of plain prompts."""
        return {}


class MadePrompts(Prompts):
    """P_TUNING: what a network has made of embeddings."""

    name: ClassVar[str] = "P_TUNING"
    writes: ClassVar[type[Tuner]] = PTuning

    def fitting(self, opened: PeftFolder, backbone: Backbone) -> Tuner:
        return PTuning(template=(_declared(opened),))

    def settings(self, width: int) -> dict[str, Any]:
        # Of a network that is no longer there.
        return {"encoder_reparameterization_type": "MLP", "encoder_hidden_size": width}


def prompt_of(opened: PeftFolder, length: int, width: int) -> Tensor:
    """Return the prompt [n, h]; raise ValueError where it is of another size, or no numbers."""
    folder = opened.folder
    prompt = opened.tensors.get(KEY)
    declared = opened.config.get("num_virtual_tokens")
    # Rows that the file may have: n, or n for each of two submodules.
    accepted = [declared]
    if isinstance(declared, int):
        accepted.append(2 * declared)
    is_prompt = prompt is not None and prompt.ndim == 2 and len(prompt) > 0
    if prompt is None or not is_prompt or len(prompt) not in accepted:
        shapes = {name: list(tensor.shape) for name, tensor in opened.tensors.items()}
        raise ValueError(f"{folder}: expected {KEY} of {declared} rows, found {shapes}")
    if declared != length:
        raise ValueError(
            f"{folder} holds a prompt of {declared} vectors, {length} were asked for: set the "
            f"prompt length to {declared}"
        )
    # The name is said and not compared: the same weights may lie under another name or path.
    if prompt.shape[1] != width:
        raise ValueError(
            f"{folder} holds vectors of {prompt.shape[1]} numbers (for {opened.tuned_for}), "
            f"--model reads {width}; use the model it is for"
        )
    return numbers_of(folder, KEY, prompt[:length])


def _declared(opened: PeftFolder) -> int:
    """Return how many vectors the folder says it has."""
    declared = opened.config.get("num_virtual_tokens")
    if not isinstance(declared, int) or declared < 1:
        raise ValueError(
            f"{opened.folder}: num_virtual_tokens must be a number above 0, found {declared!r:.40}"
        )
    return declared
