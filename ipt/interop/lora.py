"""LoRA as PEFT has it: two matrices for each module, under the module's name."""

import math
import re
from typing import Any, ClassVar

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
    spelled,
    targets_of,
)
from ipt.training.model import Model
from ipt.tuners.base import Tuner
from ipt.tuners.lora import LoRA

OWN = re.compile(rf"{re.escape(WRAPPED)}(.+)\.lora_[AB]\.weight")
# Settings that the tensors tell, that only training knows, or that are looked at below. Any other
# that is on makes another model of the same matrices.
KNOWN = """
    auto_mapping base_model_name_or_path bias corda_config ensure_weight_tying eva_config
    exclude_modules fan_in_fan_out inference_mode init_lora_weights layers_pattern
    layers_to_transform loftq_config lora_alpha lora_dropout lora_ga_config megatron_core
    modules_to_save peft_type peft_version qalora_group_size r rank_pattern revision runtime_config
    target_modules task_type use_rslora velora_config
""".split()
# Starts that leave the model's own weights as they are.
STARTS = (None, True, False, "gaussian", "orthogonal", "eva")


class LowRank(Kind):
    """LORA: W x + scale B A x."""

    name: ClassVar[str] = "LORA"
    writes: ClassVar[type[Tuner]] = LoRA
    reads: ClassVar[tuple[type[Tuner], ...]] = (LoRA,)

    def uses(self, name: str) -> bool:
        return OWN.fullmatch(name) is not None

    def fitting(self, opened: PeftFolder, backbone: Backbone) -> Tuner:
        return self._fitting(opened, self._linears(opened, backbone), backbone)

    def _fitting(self, opened: PeftFolder, chosen: list[Linear], backbone: Backbone) -> LoRA:
        """Return the tuner with the folder's rank, scale and places."""
        _require_known(opened)
        rank = _rank(opened)
        alpha = opened.config.get("lora_alpha")
        if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not alpha > 0:
            raise ValueError(
                f"{opened.folder}: lora_alpha must be a number above 0, found {alpha!r:.40}"
            )
        # rsLoRA divides by the root of the rank.
        if opened.config.get("use_rslora"):
            alpha = alpha * math.sqrt(rank)
        targets, layers = targets_of(chosen, backbone)
        return LoRA(rank=rank, alpha=float(alpha), targets=targets, layers=layers)

    def _linears(self, opened: PeftFolder, backbone: Backbone) -> list[Linear]:
        """Return the linear layers that the folder has matrices for, of the right shapes."""
        names = []
        for name in sorted(opened.tensors):
            match = OWN.fullmatch(name)
            if match and match[1] not in names:
                names.append(match[1])
        chosen = known_linears(opened, names, backbone)
        rank = _rank(opened)
        for linear in chosen:
            for matrix, shape in (("A", (rank, linear.inputs)), ("B", (linear.outputs, rank))):
                tensor = _key(linear, matrix)
                if tensor not in opened.tensors:
                    raise ValueError(f"{opened.folder} lacks {tensor}; save the adapter again")
                require_shape(opened, tensor, shape, backbone)
        return chosen

    def read(self, opened: PeftFolder, model: Model) -> Tensor:
        backbone = model.backbone
        tuner = model.tuner
        assert isinstance(tuner, LoRA)
        chosen = self._linears(opened, backbone)
        fitting = self._fitting(opened, chosen, backbone)
        names = {linear.name for linear in chosen}
        asked_for = {linear.name for linear in tuner.linears(backbone)}
        is_scaled_alike = math.isclose(tuner.alpha / tuner.rank, fitting.alpha / fitting.rank)
        if tuner.rank != fitting.rank or names != asked_for or not is_scaled_alike:
            raise self.unlike(opened, model, fitting)
        parts = {}
        for linear in chosen:
            for matrix in ("A", "B"):
                key = _key(linear, matrix)
                numbers = numbers_of(opened.folder, key, opened.tensors[key])
                parts[f"{linear.name}.{matrix}"] = numbers
        delta = flattened(parts, model)
        if tuner.matrices == "b":
            _require_frozen(opened, delta, model, fitting)
        return delta

    def write(self, delta: Tensor, model: Model) -> Written:
        tuner = model.tuner
        assert isinstance(tuner, LoRA)
        tensors = {}
        names = []
        is_turned = False
        for linear, down, up in tuner.low_rank(model.backbone, delta[None]):
            names.append(linear.name)
            tensors[_key(linear, "A")] = down[0]
            tensors[_key(linear, "B")] = up[0]
            is_turned = is_turned or isinstance(linear.module, Conv1D)
        config: dict[str, Any] = {
            "r": tuner.rank,
            "lora_alpha": int(tuner.alpha) if tuner.alpha.is_integer() else tuner.alpha,
            "lora_dropout": 0.0,
            "bias": "none",
            # Whole names: their ends may be those of others.
            "target_modules": names,
            "fan_in_fan_out": is_turned,
            "task_type": PEFT_TASKS.get(type(model.backbone)),
        }
        return Written(config, tensors)


def _key(linear: Linear, matrix: str) -> str:
    return f"{WRAPPED}{linear.name}.lora_{matrix}.weight"


def _rank(opened: PeftFolder) -> int:
    """Return the one rank of all matrices A [r, in]."""
    ranks = set()
    for name, tensor in opened.tensors.items():
        if OWN.fullmatch(name) and name.endswith("lora_A.weight"):
            ranks.add(len(tensor) if tensor.ndim == 2 else 0)
    if len(ranks) != 1 or 0 in ranks:
        raise ValueError(
            f"{opened.folder} holds a PEFT adapter of the kind LORA of the ranks "
            f"{sorted(ranks)}; those of one rank above 0 in all layers can be read"
        )
    return ranks.pop()


def _require_known(opened: PeftFolder) -> None:
    """Raise ValueError where the same matrices are used in another way than ours."""
    problem = ""
    for name, value in sorted(opened.config.items()):
        if value and name not in KNOWN:
            problem = f"{name} = {value!r:.60}"
    start = opened.config.get("init_lora_weights", True)
    if start not in STARTS:
        problem = f"init_lora_weights = {start!r:.60}, which changes the model's own weights"
    if problem:
        raise ValueError(
            f"{opened.folder} holds a PEFT adapter of the kind LORA with {problem}; plain LoRA can "
            "be read (rsLoRA too): save it as such, or merge it into the folder of --model"
        )


def _require_frozen(opened: PeftFolder, delta: Tensor, model: Model, fitting: Tuner) -> None:
    """Raise ValueError where A is not the one that is frozen with matrices=b."""
    tuner = model.tuner
    assert isinstance(tuner, LoRA)
    for linear, down, _ in tuner.low_rank(model.backbone, delta[None]):
        key = _key(linear, "A")
        if not down[0].allclose(opened.tensors[key].to(down), atol=1e-6):
            raise ValueError(
                f"{opened.folder}: {key} is another A than --tuner lora:matrices=b freezes; set "
                f"--tuner {spelled(fitting)}, which trains both matrices"
            )
