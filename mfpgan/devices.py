"""Where the networks compute, and in which number format and memory layout: by capability, so that a machine always decides alike."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from textwrap import shorten
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from mfpgan.types import InputError

Network = TypeVar("Network", bound=nn.Module)


def pick_device(name: str) -> torch.device:
    """`auto`, or a device of torch.

    Raises:
        InputError: there is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"--device {name}: not usable on this machine ({_reason(error)}); use auto or cpu.") from None
    return device


def precision_on(device: torch.device, name: str = "auto") -> Literal["fp32", "bf16"]:
    """What `precision` means on a device: `auto` is bfloat16 autocast where the hardware multiplies bfloat16.

    On a CPU with AVX-512 BF16 a training step at 256 px, batch 4, is 1.8 times as fast at width 1 and 1.4 times at width
    .25 (experiments/speed/precision.py); a CPU without emulates it, more slowly than float32.
    """
    if name != "auto":
        return "bf16" if name == "bf16" else "fp32"
    if device.type == "cuda":  # torch.cuda.is_bf16_supported asks the current card, which may be another
        native = torch.version.hip is not None or torch.cuda.get_device_capability(device) >= (8, 0)
        return "bf16" if native else "fp32"
    if device.type == "cpu" and hasattr(torch.cpu, "get_capabilities"):  # not in every torch that will do
        return "bf16" if torch.cpu.get_capabilities().get("avx512_bf16") else "fp32"
    return "fp32"


def layout_on(device: torch.device) -> torch.memory_format:
    """Channels last on a CPU, where a step is 1.1 to 1.6 times as fast with it, and on the tensor cores of CUDA cards (from
    compute capability 7.0), which read no other layout; otherwise torch's own."""
    if device.type == "cuda":
        return torch.channels_last if torch.cuda.get_device_capability(device) >= (7, 0) else torch.contiguous_format
    return torch.channels_last if device.type == "cpu" else torch.contiguous_format


def place(network: Network, device: torch.device) -> Network:
    """The network on its device, in the layout that suits it."""
    return network.to(device).to(memory_format=layout_on(device))


def stored_in(network: Network, precision: str) -> Network:
    """A network that only answers, in the number format that it computes in: for "bf16" a copy whose convolutions keep their
    weights in bfloat16, otherwise the network itself.

    Under autocast the answers are the same to the bit, because autocast rounds the weights alike, but at every pass: that is 28 %
    of the time for one picture of 256x256 pixels at width 1 (torch's profiler, one thread).
    """
    if precision != "bf16" or not any(isinstance(module, nn.Conv2d) for module in network.modules()):
        return network
    copy = deepcopy(network)
    for module in copy.modules():
        if isinstance(module, nn.Conv2d):
            module.to(torch.bfloat16)
    return copy


@contextmanager
def denormals_flushed() -> Iterator[None]:
    """Numbers below 1.2e-38 count as zero meanwhile: many CPUs take ten to a hundred times as long for them.

    To be entered before torch computes anything in this process: its threads inherit this when they start.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """Meanwhile torch uses only algorithms that add up in one order, so that a GPU gives the same bits each time, if `wanted`.

    On a CPU with one number of threads ours are such anyway. To be entered before CUDA computes anything in this process:
    cuBLAS asks its variable once.

    Raises:
        InputError: torch has no such algorithm for something that is computed in the block.
    """
    if not wanted:
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False  # it picks by a measurement
    try:
        yield
    except RuntimeError as error:
        if "deterministic" not in str(error):
            raise
        raise InputError(f"--deterministic: {_reason(error)} Leave it out on this device.") from None
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]


def check_compiler(device: torch.device, precision: str) -> None:
    """Compile a small network with torch.compile, and train it.

    Raises:
        InputError: it cannot be done here.
    """
    network = place(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()), device)
    try:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            answer: Tensor = torch.compile(network)(torch.zeros(1, 3, 8, 8, device=device))
        torch.autograd.backward(answer.float().sum())
    except Exception as error:  # whatever torch's compiler, a C++ compiler or Triton may say
        raise InputError(
            f"--compile: torch.compile does not work on this machine ({_reason(error)}); leave it out, or install a C++ "
            "compiler (on a GPU: Triton)."
        ) from None


def _reason(error: Exception) -> str:
    return shorten(str(error), 120, placeholder=" ...")
