"""Processes that share one run: `accelerate launch -m ipt ...` starts them on one or more machines.

Tuning, IST and scoring shard the tasks over the processes and do not communicate until they end.
MSF shards the rows of each step and sums the gradient at its deltas [U, P]. That is fewer numbers
than the autoencoder's gradient, which each process then computes from the sum by itself, so that
all hold the same autoencoder. Only the main process writes files and prints.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple, TypeVar, cast

import torch
from torch import Tensor, distributed

T = TypeVar("T")

# Processes reach the end of a stage at very different times. One that is killed ends the launch
# by itself, so that waiting this long never hides a failure.
TIMEOUT = timedelta(days=7)


class _Outcome(NamedTuple):
    """What a function of the main process returned, or the error that it raised."""

    value: object
    error: Exception | None


@dataclass(frozen=True)
class Processes:
    """The place of this process among those of a run; by default it is the only one.

    index: number of this process, from 0.
    count: how many processes share the run; with one, nothing is ever sent.
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
        """Return the name of this process's part of a stage, which names its checkpoint."""
        if self.count == 1:
            return stage
        return f"{stage}-{self.index + 1}of{self.count}"

    def shard(self, items: Sequence[T]) -> list[T]:
        """Return this process's part: every `count`-th item."""
        # By turns and not in blocks: neighbours in a list of tasks are often alike in length.
        return list(items[self.index :: self.count])

    def gather(self, shard: Sequence[T]) -> list[T]:
        """Return the items of all shards, in their order before `shard`.

        Every process must call it, and gets them all.
        """
        if self.count == 1:
            return list(shard)
        # Pickled objects: shards may differ in length, which tensors of one collective may not.
        shards: list[list[T]] = [[] for _ in range(self.count)]
        distributed.all_gather_object(shards, list(shard))

        # The inverse of `shard`: item i of process p stood at place p + i * count.
        items: list[T] = []
        for part in shards:
            items += part
        for index, part in enumerate(shards):
            items[index :: self.count] = part
        return items

    def gather_rows(self, shard: Tensor) -> Tensor:
        """Return the rows of all processes' tensors as one, in their order before `shard`."""
        # Through the CPU, as another process's device is not this one's.
        rows = self.gather(list(shard.cpu()))
        if not rows:
            return shard
        # Rows with a head are as long as the widest head of their process.
        filled_up = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        return filled_up.to(shard.device)

    def on_main_process(self, function: Callable[[], T]) -> T:
        """Call a function in the main process only, and return its value in every process.

        An error that it raises is raised in every process. No process goes on before the main
        one is done.
        """
        if self.count == 1:
            return function()

        outcome = _Outcome(value=None, error=None)
        if self.is_main:
            try:
                outcome = _Outcome(value=function(), error=None)
            except Exception as error:
                # Whatever it is: if it were raised here, the others would wait for ever.
                outcome = _Outcome(value=None, error=error)

        # broadcast_object_list replaces the items in place.
        messages = [outcome]
        distributed.broadcast_object_list(messages, 0)
        received = messages[0]
        if received.error is not None:
            raise received.error
        return cast(T, received.value)

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum over processes, bit by bit the same in each."""
        # all_reduce adds in one order for all, so the autoencoders of the processes stay equal.
        return self._send(tensor, distributed.all_reduce)

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Give every process the values of the main one, in place."""
        for tensor in tensors:
            values = self._send(tensor, _broadcast_from_main)
            tensor.copy_(values)

    def _send(self, tensor: Tensor, operation: Callable[[Tensor], object]) -> Tensor:
        """Return a tensor after an operation of all processes on copies of it."""
        if self.count == 1:
            return tensor
        # NCCL sends only what lies on the process's device, wherever the tensor is.
        message = tensor.detach().clone().to(self.device)
        operation(message)
        return message.to(tensor.device)


def join_processes(device: str) -> Processes:
    """Return this process's place; joins the others where a launcher started several.

    device: value of `--device`.
    Raises ValueError where accelerate is missing, and where the launcher started more processes
    than there are devices.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        return Processes(device=device)
    # An extra of the package: a process alone does without.
    try:
        from accelerate import PartialState
    except ImportError:
        raise ValueError(
            "several processes need accelerate: pip install 'intrinsic-prompt-tuning[launch]'"
        ) from None

    use_cpu = _uses_cpu(device)
    if not use_cpu:
        _check_device(device, world_size)
    # This call waits for all processes of the launch.
    state = PartialState(cpu=use_cpu, timeout=TIMEOUT)
    return Processes(
        index=state.process_index,
        count=state.num_processes,
        device=str(state.device),
    )


def shutdown() -> None:
    """Leave the group of processes at the end of a command."""
    # Without it torch warns of leaked resources at exit.
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def _uses_cpu(device: str) -> bool:
    """Say whether the processes compute on the CPU: asked for, or the machine has nothing else."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    # Set by `accelerate launch --cpu`.
    launched_on_cpu = os.environ.get("ACCELERATE_USE_CPU", "").lower() == "true"
    return device == "cpu" or accelerator is None or launched_on_cpu


def _check_device(device: str, world_size: int) -> None:
    """Raise ValueError where the processes of this machine would share a device."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    kind = accelerator.type if accelerator else ""
    if device not in ("auto", kind):
        raise ValueError(
            f"--device {device} is one device, {world_size} processes were launched; leave it out"
        )
    # Processes of one machine are numbered from 0, and each takes the device of its number.
    local_index = int(os.environ.get("LOCAL_RANK", "0"))
    devices = torch.accelerator.device_count()
    if local_index >= devices:
        raise ValueError(
            f"process {local_index} has no device of its own: "
            f"launch {devices} processes on this machine"
        )


def _broadcast_from_main(message: Tensor) -> None:
    distributed.broadcast(message, 0)
