"""IA3 as PEFT has it: a vector of factors for each module; ours are differences from 1."""

from typing import ClassVar

from torch import Tensor
from transformers.pytorch_utils import Conv1D

from ipt.backbones.base import Backbone
from ipt.backbones.sites import Linear
from ipt.interop.folder import (
    PEFT_TASKS,
    WRAPPED,
    Kind,
    PeftFolder,
    Written,
    flattened,
    known_linears,
    numbers_of,
    require_shape,
    targets_of,
)
from ipt.training.model import Model
from ipt.tuners.base import Tuner
from ipt.tuners.ia3 import IA3

END = ".ia3_l"


class Rescaling(Kind):
    """IA3: outputs [out, 1] or, of feed-forward modules, inputs [1, in] are rescaled."""

    name: ClassVar[str] = "IA3"
    writes: ClassVar[type[Tuner]] = IA3
    reads: ClassVar[tuple[type[Tuner], ...]] = (IA3,)

    def uses(self, name: str) -> bool:
        return name.startswith(WRAPPED) and name.endswith(END)

    def fitting(self, opened: PeftFolder, backbone: Backbone) -> Tuner:
        targets, layers = targets_of(self._linears(opened, backbone), backbone)
        return IA3(targets=targets, layers=layers)

    def _linears(self, opened: PeftFolder, backbone: Backbone) -> list[Linear]:
        """Return the linear layers that the folder has factors for, of the right shapes."""
        names = []
        for name in filter(self.uses, sorted(opened.tensors)):
            names.append(name.removeprefix(WRAPPED).removesuffix(END))
        chosen = known_linears(opened, names, backbone)
        for linear in chosen:
            key = f"{WRAPPED}{linear.name}{END}"
            # The one of the two shapes that ours is not: PEFT lets its user choose.
            other = [linear.outputs, 1] if _is_of_inputs(linear) else [1, linear.inputs]
            if list(opened.tensors[key].shape) == other:
                ours = "input" if _is_of_inputs(linear) else "output"
                raise ValueError(
                    f"{opened.folder}: {key} {other} rescales the other side of {linear.name} than "
                    f"--tuner ia3, which rescales its {ours}; such a folder cannot be read"
                )
            require_shape(opened, key, _shape(linear), backbone)
        return chosen

    def read(self, opened: PeftFolder, model: Model) -> Tensor:
        chosen = self._linears(opened, model.backbone)
        shapes = model.tuner.shapes(model.backbone)
        if {linear.name for linear in chosen} != shapes.keys():
            raise self.unlike(opened, model, self.fitting(opened, model.backbone))
        parts = {}
        for linear in chosen:
            key = f"{WRAPPED}{linear.name}{END}"
            factors = numbers_of(opened.folder, key, opened.tensors[key])
            parts[linear.name] = factors.flatten() - 1
        return flattened(parts, model)

    def write(self, delta: Tensor, model: Model) -> Written:
        tuner = model.tuner
        assert isinstance(tuner, IA3)
        parts = tuner.parts(model.backbone, delta)
        tensors = {}
        of_inputs = []
        is_turned = False
        for linear in tuner.linears(model.backbone):
            factors = 1 + parts[linear.name]
            tensors[f"{WRAPPED}{linear.name}{END}"] = factors.view(_shape(linear))
            if _is_of_inputs(linear):
                of_inputs.append(linear.name)
            is_turned = is_turned or isinstance(linear.module, Conv1D)
        config = {
            # Whole names: their ends may be those of others.
            "target_modules": list(parts),
            "feedforward_modules": of_inputs,
            "fan_in_fan_out": is_turned,
            "task_type": PEFT_TASKS.get(type(model.backbone)),
        }
        return Written(config, tensors)


def _is_of_inputs(linear: Linear) -> bool:
    return "down" in linear.roles


def _shape(linear: Linear) -> tuple[int, int]:
    """Return the shape that PEFT gives the factors that we have for a layer."""
    return (1, linear.inputs) if _is_of_inputs(linear) else (linear.outputs, 1)
