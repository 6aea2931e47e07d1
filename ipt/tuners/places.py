"""Which places of a model a tuner asked for, or one line that says why there are none."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ipt.backbones.base import Backbone
from ipt.backbones.sites import BLOCK, ROLES, Attention, Linear
from ipt.tuners.base import Tuner

# What works in every model that can be loaded.
ANYWHERE = "soft-prompt, p-tuning, deep-prompt, partial-k and full"


class AtLinears(Tuner):
    """A tuner at the linear layers that its settings `targets` and `layers` choose."""

    if TYPE_CHECKING:
        # Declared by each tuner, with its own defaults.
        targets: tuple[str, ...]
        layers: tuple[int, ...]

    def linears(self, backbone: Backbone) -> list[Linear]:
        """Return them in running order; raise ValueError where a target is nowhere."""
        return linears(self.name, backbone, self.targets, self.layers)

    def lowest(self, backbone: Backbone) -> int:
        return first_block(backbone, [linear.name for linear in self.linears(backbone)])


def require_layers(tuner: str, backbone: Backbone, layers: Sequence[int]) -> None:
    """Raise ValueError where a layer is asked for that no stack of the model has."""
    depth = backbone.sites.depth()
    wrong = [layer for layer in layers if not 0 <= layer < depth]
    if wrong:
        raise ValueError(
            f"--tuner {tuner}: layers must be from 0 to {depth - 1} in {backbone.name}, "
            f"found {wrong[0]}"
        )


def linears(
    tuner: str,
    backbone: Backbone,
    targets: Sequence[str],
    layers: Sequence[int] = (),
) -> list[Linear]:
    """Return the linear layers with these roles, or with these last parts of their names.

    layers: numbers in their stack; all, if not given.
    Raises ValueError where a target is nowhere in the model.
    """
    require_layers(tuner, backbone, layers)
    if not targets:
        raise ValueError(f"--tuner {tuner}: targets must name linear layers, found nothing")
    found = []
    missing = set(targets)
    for linear in backbone.sites.linears:
        # PEFT's way: c_attn is every layer whose name ends with it.
        own = {target for target in targets if f".{linear.name}".endswith(f".{target}")}
        own |= linear.roles.intersection(targets)
        missing -= own
        if own and (not layers or linear.layer in layers):
            found.append(linear)
    if missing:
        raise _no_target(tuner, backbone, sorted(missing)[0])
    if not found:
        raise ValueError(f"--tuner {tuner}: no layer of {list(layers)} has {', '.join(targets)}")
    return found


def _no_target(tuner: str, backbone: Backbone, target: str) -> ValueError:
    """Return that a target is nowhere in the model, why, and what is there."""
    names = set()
    roles: set[str] = set()
    for linear in backbone.sites.linears:
        names.add(linear.name.rsplit(".", 1)[-1])
        roles |= linear.roles
    reason = f"there is no linear layer of the kind {target!r}"
    if target in ROLES and not backbone.sites.attentions:
        reason = (
            f"which linear layer is the {target} is not known, as the model does not use "
            "transformers' attention interface"
        )
    elif target in ("up", "down"):
        reason += " that reads each row by itself, as experts do not"
    known = [role for role in ROLES if role in roles]
    listed = ", ".join(known + sorted(names)) or "none"
    return ValueError(
        f"--tuner {tuner}: {backbone.name} cannot take it: {reason}; targets there: {listed}; "
        f"{ANYWHERE} work in every model"
    )


def first_block(backbone: Backbone, names: Iterable[str]) -> int:
    """Return the first block, in running order, that has a module of these names.

    0 where one is in no block.
    """
    blocks = [block.name for block in backbone.sites.blocks]
    first = len(blocks)
    for name in names:
        found = BLOCK.match(f"{name}.")
        if found is None or found[1] not in blocks:
            return 0
        first = min(first, blocks.index(found[1]))
    return first


def attentions(
    tuner: str,
    backbone: Backbone,
    stacks: Sequence[str],
    layers: Sequence[int],
) -> list[Attention]:
    """Return the attention modules of these stacks and layers.

    Raises ValueError where the model does not use transformers' attention interface, or attends
    otherwise than by softmax(q k^T).
    """
    require_layers(tuner, backbone, layers)
    if not backbone.sites.attentions:
        raise ValueError(
            f"--tuner {tuner}: {backbone.name} cannot take it: the model does not use "
            f"transformers' attention interface; {ANYWHERE} work in every model"
        )
    if backbone.sites.own_attention:
        raise ValueError(
            f"--tuner {tuner}: {backbone.name} cannot take it: {backbone.sites.own_attention}; "
            f"{ANYWHERE} work in every model, and lora, ia3, adapter where it has their layers"
        )
    found = []
    for attention in backbone.sites.attentions:
        is_asked_for = not layers or attention.layer in layers
        if attention.stack in stacks and is_asked_for:
            found.append(attention)
    if not found:
        present = sorted({attention.stack for attention in backbone.sites.attentions})
        raise ValueError(
            f"--tuner {tuner}: {backbone.name} has no attention in {'+'.join(stacks)} of the "
            f"layers asked for; it has {', '.join(present)}"
        )
    return found
