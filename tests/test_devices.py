"""Number format and layout by capability; denormal numbers; a compiler that is there or not."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from typing import Any

import pytest
import torch

from mfpgan.devices import check_compiler, deterministic, layout_on, pick_device, place, precision_on, stored_in
from mfpgan.inference import predict
from mfpgan.models.generator import MFPResNetUNet
from mfpgan.types import Click, ClickEncoding, InputError

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_a_device_that_is_not_there() -> None:
    for name in ("cuda:99", "quantum"):
        with pytest.raises(InputError, match=f"--device {name}: not usable on this machine"):
            pick_device(name)
    assert pick_device("cpu") == CPU


@pytest.mark.parametrize(
    ("capabilities", "expected"), [({"avx512_bf16": True}, "bf16"), ({"avx512_f": True}, "fp32"), ({}, "fp32")]
)
def test_auto_is_bfloat16_where_the_cpu_multiplies_it(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], expected: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert precision_on(CPU) == precision_on(CPU, "auto") == expected
    assert precision_on(CPU, "fp32") == "fp32"
    assert precision_on(CPU, "bf16") == "bf16"
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert precision_on(CPU) == "fp32", "an older torch does not say"


def test_auto_is_bfloat16_on_a_cuda_card_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The card that is asked for: an A100 beside a T4."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: ((8, 0), (7, 5))[device.index])
    assert [precision_on(torch.device("cuda", number)) for number in (0, 1)] == ["bf16", "fp32"]
    assert precision_on(torch.device("mps")) == "fp32"


def test_channels_last_on_a_cpu_and_on_tensor_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    assert place(torch.nn.Conv2d(3, 4, 3), CPU).weight.is_contiguous(memory_format=torch.channels_last)
    for capability, layout in (
        ((6, 1), torch.contiguous_format),
        ((7, 0), torch.channels_last),
        ((9, 0), torch.channels_last),
    ):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _, found=capability: found)
        assert layout_on(CUDA) == layout
    assert layout_on(torch.device("mps")) == torch.contiguous_format


DENORMAL = """
import torch
from mfpgan.devices import denormals_flushed

torch.set_num_threads(2)
with denormals_flushed():
    inside = (torch.full((2**20,), 1e-20) * 1e-20).count_nonzero().item()
print(inside, (torch.full((4,), 1e-20) * 1e-20).count_nonzero().item())
"""


def test_denormals_are_zero_in_all_threads_and_numbers_again_afterwards() -> None:
    """In a process of its own: threads that have already started keep what they had."""
    result = subprocess.run([sys.executable, "-c", DENORMAL], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["0", "4"]


def test_without_a_compiler_it_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("no working C++ compiler found in torch._inductor.config.cpp.cxx: (None, 'g++')")

    compiler = torch.compile
    monkeypatch.setattr(torch, "compile", partial(compiler, backend="eager"))
    check_compiler(CPU, "bf16")
    monkeypatch.setattr(torch, "compile", partial(compiler, backend=broken))
    with pytest.raises(InputError, match=r"--compile: torch.compile does not work .* leave it out") as caught:
        check_compiler(CPU, "bf16")
    assert "\n" not in str(caught.value)


ORDER = """
import os, sys
from mfpgan.cli.process import computing

os.environ.pop("OMP_WAIT_POLICY", None)
assert "torch" not in sys.modules
computing(lambda: print(os.environ["OMP_WAIT_POLICY"], "torch" in sys.modules))()
os.environ["OMP_WAIT_POLICY"] = "active"
computing(lambda: print(os.environ["OMP_WAIT_POLICY"]))()
"""


def test_openmp_is_told_before_torch_starts_it() -> None:
    result = subprocess.run([sys.executable, "-c", ORDER], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["passive", "True", "active"]


def test_deterministic_algorithms_meanwhile_and_a_sentence_where_there_is_none() -> None:
    for wanted in (True, False):
        with deterministic(wanted):
            assert torch.are_deterministic_algorithms_enabled() == wanted
    with (
        pytest.raises(InputError, match=r"^--deterministic: put_ .*Leave it out on this device\.$") as caught,
        deterministic(True),
    ):
        torch.zeros(3).put_(torch.tensor([0]), torch.ones(1))
    assert "\n" not in str(caught.value)
    assert not torch.are_deterministic_algorithms_enabled()
    with pytest.raises(RuntimeError, match="another"), deterministic(True):
        raise RuntimeError("another")


def test_weights_kept_in_bfloat16_answer_as_autocast_does_to_the_bit() -> None:
    torch.manual_seed(0)
    network = place(MFPResNetUNet(0.25, ClickEncoding(memory="modulated")), torch.device("cpu"))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    kept = stored_in(network, "bf16")
    image = torch.rand(1, 3, 75, 130)
    clicks = [[Click(30, 40, True), Click(5, 100, False)]]
    assert torch.equal(predict(kept, image, clicks, "bf16"), predict(network, image, clicks, "bf16"))
    assert kept.head.weight.dtype == torch.bfloat16
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items()), "the original stays"
    assert stored_in(network, "fp32") is network
