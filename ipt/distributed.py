"""Processes that share one run: `accelerate launch -m ipt ...` starts them, on one machine or several.

Prompt tuning, IST and scoring split the tasks over the processes and do not talk until they end. MSF splits the rows of each step
and sums the gradient at its prompts [U, n, h]: fewer numbers than the autoencoder's gradient, which every rank then makes from
that sum by itself, so all hold the same autoencoder. The first rank alone writes files and prints.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, distributed

T = TypeVar("T")
PATIENCE = timedelta(days=7)  # processes end a stage at different times; one that is killed ends the launch, not this


@dataclass(frozen=True)
class Processes:
    """One process's place among those of a run; the default is a process alone, for which nothing is sent.

    device: what `--device` means for this process.
    """

    index: int = 0
    count: int = 1
    device: str = "auto"

    @property
    def is_main(self) -> bool:
        """Whether this process writes and prints."""
        return self.index == 0

    def name(self, stage: str) -> str:
        """Return the name of this rank's own part of a stage."""
        return stage if self.count == 1 else f"{stage}-{self.index + 1}of{self.count}"

    def shard(self, items: Sequence[T]) -> list[T]:
        """Return this rank's part: every `count`-th item."""
        return list(items[self.index :: self.count])

    def gather(self, own: Sequence[T]) -> list[T]:
        """Return all processes' items in the order they were shared out; every rank calls it and gets them all."""
        if self.count == 1:
            return list(own)
        parts: list[list[T]] = [[] for _ in range(self.count)]
        distributed.all_gather_object(parts, list(own))
        whole: list[T] = [item for part in parts for item in part]
        for index, part in enumerate(parts):
            whole[index :: self.count] = part
        return whole

    def gather_rows(self, own: Tensor) -> Tensor:
        """Return the rows of all processes' tensors as one, in the order they were shared out."""
        rows = self.gather(list(own.cpu()))
        return torch.stack(rows).to(own.device) if rows else own

    def on_main_process(self, make: Callable[[], T]) -> T:
        """Let the first rank make something, and return it (or raise its error) in every rank: also a meeting point."""
        if self.count == 1:
            return make()
        box: list[tuple[T | None, Exception | None]] = [(None, None)]
        if self.is_main:
            try:
                box = [(make(), None)]
            except Exception as error:  # whatever it is, the others would wait for ever: all raise it below
                box = [(None, error)]
        distributed.broadcast_object_list(box, 0)
        made, failure = box[0]
        if failure is not None:
            raise failure
        return made  # type: ignore[return-value]

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum over processes, bit by bit the same in each."""
        return self._sent(tensor, distributed.all_reduce)

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Give every rank the first one's values, in place."""
        for tensor in tensors:
            tensor.copy_(self._sent(tensor, lambda t: distributed.broadcast(t, 0)))

    def _sent(self, tensor: Tensor, send: Callable[[Tensor], object]) -> Tensor:
        if self.count == 1:
            return tensor
        message = tensor.detach().clone().to(self.device)
        send(message)
        return message.to(tensor.device)


def join_processes(device: str) -> Processes:
    """Return this process's place; joins the others where a launcher started several.

    Raises ValueError where accelerate is missing, and where the launcher started more processes than there are devices.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Processes(device=device)
    try:
        from accelerate import PartialState
    except ImportError:
        raise ValueError("several processes need accelerate: pip install 'intrinsic-prompt-tuning[launch]'") from None
    there = torch.accelerator.current_accelerator(check_available=True)
    cpu = device == "cpu" or there is None or os.environ.get("ACCELERATE_USE_CPU", "").lower() == "true"
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if not cpu and device not in ("auto", str(there and there.type)):
        raise ValueError(f"--device {device} is one device, {os.environ['WORLD_SIZE']} processes were launched; leave it out")
    if not cpu and local >= torch.accelerator.device_count():
        raise ValueError(f"process {local} has no device of its own: launch {torch.accelerator.device_count()} processes on this machine")
    state = PartialState(cpu=cpu, timeout=PATIENCE)
    return Processes(state.process_index, state.num_processes, str(state.device))


def shutdown() -> None:
    """Part from the other processes at the end of a command."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
