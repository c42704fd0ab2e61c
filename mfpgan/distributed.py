"""Several processes that work as one: each takes its share of a batch, and what they find is added up.

Every function here also means something for a process that is alone: it is all of them. So nobody else asks how many there
are. Collective calls are for all processes, in the same order; the words of a process group stand only in this file.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from textwrap import shorten
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor, distributed

from mfpgan.types import InputError

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others, who wait for the leading one's validations. One that ends is missed at once."""


class ProcessLostError(ConnectionError):
    """Another process of the run has ended or cannot be reached; what the present step has begun is worth nothing."""


@contextmanager
def joined() -> Iterator[None]:
    """Meet the other processes that torchrun, or whoever sets its environment variables, has started; part at the end.

    On a machine with CUDA each process takes the card of its LOCAL_RANK, which "cuda" then means. What lies on the CPU goes
    through gloo, which misses a process that ends at once; what lies on a card goes through NCCL.

    Raises:
        InputError: the variables are not complete, or the others are not found.
    """
    if os.environ.get("WORLD_SIZE", "1") == "1":
        yield
        return
    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    try:
        if cards:  # of fewer, if the batch system shows each process its own
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % cards)
        distributed.init_process_group("cpu:gloo,cuda:nccl" if cards else "gloo", timeout=PATIENCE)
    except (KeyError, ValueError, RuntimeError) as error:
        raise InputError(
            f"WORLD_SIZE={os.environ['WORLD_SIZE']} says that there are several processes, and they do not find each other "
            f"({_reason(error)}); start them with torchrun --standalone --nproc-per-node N -m mfpgan ..., or unset WORLD_SIZE."
        ) from None
    yield
    any_process(False)  # one that goes while another still talks to it takes it along
    distributed.destroy_process_group()


def count() -> int:
    """Number of processes."""
    return distributed.get_world_size() if _grouped() else 1


def rank() -> int:
    """Number of this one, from 0."""
    return distributed.get_rank() if _grouped() else 0


def leads() -> bool:
    """Whether this process is the one that prints, tracks, validates and saves."""
    return rank() == 0


def share(whole: int) -> range:
    """Which of `whole` samples are this process's; all have equally many, in their order."""
    size = whole // count()
    return range(rank() * size, (rank() + 1) * size)


def takes(turn: int) -> bool:
    """Whether this process takes piece number `turn` of a work; they go round."""
    return turn % count() == rank()


def check_share(batch_size: int) -> None:
    """Raise InputError if a batch cannot be shared out evenly."""
    if batch_size % count():
        possible = ", ".join(str(n) for n in range(1, batch_size + 1) if not batch_size % n)
        raise InputError(
            f"--batch-size {batch_size} is the whole batch and cannot be shared out evenly over {count()} processes; use a "
            f"multiple of {count()}, or a number of processes among {possible}."
        )


def check_device(device: torch.device) -> None:
    """Raise InputError if several processes cannot compute there together."""
    if count() > 1 and (device.type not in ("cpu", "cuda") or device.index is not None):
        raise InputError(
            f"--device {device} is no choice for {count()} processes; use cpu, or cuda, of which each takes its own card."
        )


def total(value: Tensor) -> Tensor:
    """The sum over processes; without gradient."""
    value = value.detach()
    if count() > 1:
        value = value.clone()
        with _talking():
            distributed.all_reduce(value)
    return value


def mean(value: Tensor) -> Tensor:
    """The mean over processes; without gradient."""
    return total(value) / count() if count() > 1 else value.detach()


def average(tensors: Sequence[Tensor]) -> None:
    """Replace each tensor by its mean over processes: one message, of all of them."""
    if count() == 1 or not tensors:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    with _talking():
        distributed.all_reduce(flat)
    flat /= count()
    for tensor, part in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(part.view(tensor.shape))


def gathered(value: Tensor) -> Tensor:
    """Those of all processes, of one shape, one after the other along the first axis; without gradient."""
    value = value.detach()
    if count() > 1:
        parts = [torch.empty_like(value, memory_format=torch.contiguous_format) for _ in range(count())]
        with _talking():
            distributed.all_gather(parts, value.contiguous())
        value = torch.cat(parts)
    return value


def any_process(flag: bool) -> bool:
    """Whether it is true in any process."""
    return bool(total(torch.tensor(int(flag)))) if count() > 1 else flag


def told(value: Result) -> list[Result]:
    """The values of all processes, in their order."""
    if count() == 1:
        return [value]
    values: list[Any] = [None] * count()
    with _talking():
        distributed.all_gather_object(values, value)
    return values


def together(work: Callable[[], Result]) -> Result:
    """Do something in all processes, or fail in all of them.

    Raises:
        InputError: any process found something wrong with the input, or could not read or write; the same in all.
    """
    if count() == 1:
        return work()
    found: InputError | OSError | None = None
    try:
        result = work()
    except ProcessLostError:
        raise
    except (InputError, OSError) as error:
        found = error
    if any_process(found is not None):
        sentences = told(None if found is None else str(found))
        number, sentence = next((n, text) for n, text in enumerate(sentences) if text is not None)
        raise InputError(sentence if number == 0 else f"process {number}: {sentence}") from found
    return result


def in_turn(work: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Like `together`, but the leading process goes first: the others find what it has fetched, indexed or downloaded."""

    @functools.wraps(work)
    def wrapped(*arguments: Arguments.args, **options: Arguments.kwargs) -> Result:
        if count() == 1:
            return work(*arguments, **options)
        if leads():
            result = together(lambda: work(*arguments, **options))
            together(lambda: None)
        else:
            together(lambda: None)
            result = together(lambda: work(*arguments, **options))
        return result

    return wrapped


def _grouped() -> bool:
    return distributed.is_available() and distributed.is_initialized()


@contextmanager
def _talking() -> Iterator[None]:
    """Raise ProcessLostError where gloo or NCCL say in words of their own that nobody answers."""
    try:
        yield
    except RuntimeError as error:
        raise ProcessLostError(
            "another process of this run has ended or does not answer, so this one ends too; what was saved last is whole, and "
            "a training goes on from there with --resume."
        ) from error


def _reason(error: Exception) -> str:
    return shorten(str(error).strip() or type(error).__name__, 120, placeholder=" ...").rstrip(".")
