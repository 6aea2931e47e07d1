"""Biases as PEFT has them: a vector [1, out] added to the output of each `nn.Linear`."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from ipt.backbones.base import Backbone
from ipt.interop.folder import (
    PEFT_TASKS,
    WRAPPED,
    Kind,
    NotInPeft,
    PeftFolder,
    Written,
    flattened,
    known_linears,
    numbers_of,
    require_shape,
)
from ipt.training.model import Model
from ipt.tuners.base import Tuner
from ipt.tuners.bias import Bias

END = ".beft_bias"


class Biases(Kind):
    """BEFT: the biases of some linear layers; those of the others stay as they are."""

    name: ClassVar[str] = "BEFT"
    writes: ClassVar[type[Tuner]] = Bias
    reads: ClassVar[tuple[type[Tuner], ...]] = (Bias,)

    def uses(self, name: str) -> bool:
        return name.startswith(WRAPPED) and name.endswith(END)

    def fitting(self, opened: PeftFolder, backbone: Backbone) -> Tuner:
        return Bias(at="linears")

    def read(self, opened: PeftFolder, model: Model) -> Tensor:
        backbone = model.backbone
        tuner = model.tuner
        assert isinstance(tuner, Bias)
        names = []
        for name in filter(self.uses, sorted(opened.tensors)):
            names.append(name.removeprefix(WRAPPED).removesuffix(END))
        # By the module: the model's own biases are named from its body on.
        own_names = {}
        parts = {}
        for name, (module, size) in tuner.places(backbone).items():
            own_names[module] = name
            parts[name] = torch.zeros(size)
        for linear in known_linears(opened, names, backbone):
            if linear.module not in own_names:
                raise self.unlike(opened, model, self.fitting(opened, backbone))
            key = f"{WRAPPED}{linear.name}{END}"
            require_shape(opened, key, (1, linear.outputs), backbone)
            numbers = numbers_of(opened.folder, key, opened.tensors[key])
            parts[own_names[linear.module]] = numbers.flatten()
        return flattened(parts, model)

    def write(self, delta: Tensor, model: Model) -> Written:
        tuner = model.tuner
        assert isinstance(tuner, Bias)
        tensors = {}
        names = []
        parts = tuner.parts(model.backbone, delta)
        for name, (module, _) in tuner.places(model.backbone).items():
            # PEFT's takes no normalizations, and no Conv1D of GPT-2.
            if tuner.at != "linears" or not isinstance(module, nn.Linear):
                raise NotInPeft("PEFT has biases of nn.Linear alone (bias:at=linears)")
            names.append(name)
            tensors[f"{WRAPPED}{name}{END}"] = parts[name].unsqueeze(0)
        config = {
            # Whole names: their ends may be those of others.
            "target_modules": names,
            "task_type": PEFT_TASKS.get(type(model.backbone)),
        }
        return Written(config, tensors)
