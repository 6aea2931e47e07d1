"""How a tuner reaches into a model's modules: nothing is left behind, also after an error."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

# Input and output of a module to its new output.
Change = Callable[[Tensor, Tensor], Tensor]
# Input of a module to its new input.
InputChange = Callable[[Tensor], Tensor]


@contextmanager
def changed_outputs(changes: Iterable[tuple[nn.Module, Change]]) -> Iterator[None]:
    """Change the first output of these modules inside the context."""
    handles = []
    try:
        for module, change in changes:
            handles.append(module.register_forward_hook(_on_output(change), with_kwargs=True))
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def changed_inputs(changes: Iterable[tuple[nn.Module, InputChange]]) -> Iterator[None]:
    """Change the first input of these modules inside the context."""
    handles = []
    try:
        for module, change in changes:
            handles.append(module.register_forward_pre_hook(_on_input(change), with_kwargs=True))
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def replaced_weights(values: Sequence[tuple[nn.Module, str, Tensor]]) -> Iterator[None]:
    """Let modules compute with other weights inside the context, gradients flow to them."""
    before = []
    try:
        for module, name, value in values:
            before.append((module, name, module._parameters[name]))
            # Not through the module: it would refuse a tensor in the place of a parameter.
            module._parameters[name] = value  # type: ignore[assignment]
        yield
    finally:
        for module, name, weight in before:
            module._parameters[name] = weight


def _on_output(change: Change) -> Any:
    def hook(module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> Any:
        inputs = args[0] if args else kwargs["hidden_states"]
        # Blocks return a tuple in some architectures, with the hidden states first.
        if isinstance(output, tuple):
            return (change(inputs, output[0]), *output[1:])
        return change(inputs, output)

    return hook


def _on_input(change: InputChange) -> Any:
    def hook(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> Any:
        if args:
            return (change(args[0]), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": change(kwargs["hidden_states"])}

    return hook
