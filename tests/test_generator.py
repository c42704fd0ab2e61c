"""MFPResNetUNet: a ResNet-34 under the names of torchvision, any input size, honest loading."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from torchvision.models import ResNet34_Weights, resnet34

from mfpgan.models.generator import IMAGENET_MEAN, IMAGENET_STD, MFPResNetUNet, encoder_state
from mfpgan.types import InputError


@pytest.fixture(scope="module")
def full() -> MFPResNetUNet:
    torch.manual_seed(0)
    return MFPResNetUNet().eval()


def test_full_width_has_the_parameters_of_resnet34_with_a_unet_decoder(full: MFPResNetUNet) -> None:
    encoder = sum(p.numel() for p in full.encoder.parameters())
    # torchvision's resnet34 has 21,797,672, its head 513,000; two more input channels add 2 * 64 * 7 * 7.
    assert encoder == 21_797_672 - 513_000 + 2 * 64 * 49
    assert sum(p.numel() for p in full.parameters()) == 24_442_641


@pytest.mark.parametrize("size", [(64, 64), (33, 47), (1, 1), (50, 128)])
def test_any_size_comes_back_as_one_channel_of_that_size(size: tuple[int, int]) -> None:
    generator = MFPResNetUNet(width=0.1).eval()
    assert generator(torch.rand(2, 3, *size), torch.zeros(2, 2, *size)).shape == (2, 1, *size)


NARROW_BACKWARD = """
import torch
from mfpgan.models.generator import MFPResNetUNet

torch.set_num_threads(1)
torch.manual_seed(0)
projection = MFPResNetUNet(width=0.1).encoder.layer2[0].downsample[0].to(memory_format=torch.channels_last)
for _ in range(16):
    x = torch.rand(4, 6, 64, 64)
    exact = projection.weight.detach().double().requires_grad_()
    torch.nn.functional.conv2d(x.double(), exact, stride=2).square().mean().backward()
    projection.zero_grad()
    projection(x.contiguous(memory_format=torch.channels_last)).square().mean().backward()
    freed = [torch.rand(length) for length in range(1, 4000, 7)]
    print(((projection.weight.grad - exact.grad).norm() / exact.grad.norm()).item())
"""


def test_a_narrow_network_survives_its_backward_pass_on_a_cpu() -> None:
    """In a process of its own: oneDNN's strided 1x1 convolution ended it by a signal (its issue 6035)."""
    result = subprocess.run([sys.executable, "-c", NARROW_BACKWARD], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert max(map(float, result.stdout.split())) < 1e-5


def test_encoder_computes_what_torchvision_computes(full: MFPResNetUNet) -> None:
    reference = resnet34(weights=None).eval()
    full.load_encoder(reference.state_dict(), "test")
    image = torch.rand(1, 3, 64, 64)
    normal = (image - torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1)) / torch.tensor(IMAGENET_STD).view(1, 3, 1, 1)
    stem = reference.maxpool(reference.relu(reference.bn1(reference.conv1(normal))))
    expected = reference.layer4(reference.layer3(reference.layer2(reference.layer1(stem))))
    with torch.inference_mode():
        deepest = full.encoder(torch.cat([normal, torch.zeros(1, 2, 64, 64)], 1))[-1]
    assert torch.allclose(deepest, expected, atol=1e-5)


def test_a_click_changes_the_answer_and_leaves_the_rgb_filters_alone(full: MFPResNetUNet) -> None:
    reference = resnet34(weights=None)
    before = full.encoder.conv1.weight[:, 3:].clone()
    full.load_encoder(reference.state_dict(), "test")
    assert torch.equal(full.encoder.conv1.weight[:, :3], reference.conv1.weight)
    assert torch.equal(full.encoder.conv1.weight[:, 3:], before)
    image, maps = torch.rand(1, 3, 64, 64), torch.zeros(1, 2, 64, 64)
    with torch.inference_mode():
        empty = full(image, maps)
        maps[0, 0, 20:30, 20:30] = 1
        assert not torch.equal(full(image, maps), empty)


def test_a_local_file_is_loaded_and_named(tmp_path: Path) -> None:
    torch.save(resnet34(weights=None).state_dict(), tmp_path / "resnet34.pth")
    state, origin = encoder_state(str(tmp_path / "resnet34.pth"))
    assert state is not None
    MFPResNetUNet().load_encoder(state, origin)
    assert origin == "file resnet34.pth"


def test_imagenet_takes_torchvisions_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = resnet34(weights=None).state_dict()
    monkeypatch.setattr(ResNet34_Weights, "get_state_dict", lambda self, **_: weights)
    for source in ("imagenet", "auto"):
        state, origin = encoder_state(source)
        assert state is not None
        assert torch.equal(state["conv1.weight"], weights["conv1.weight"])
        assert "IMAGENET1K_V1" in origin


def test_without_network_imagenet_names_the_other_choices_and_auto_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(self: object, **_: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr(ResNet34_Weights, "get_state_dict", unreachable)
    with pytest.raises(InputError, match="FILE with a local copy, none to start from scratch, or auto"):
        encoder_state("imagenet")
    state, origin = encoder_state("auto")
    assert state is None
    assert origin.startswith("none")
    assert "no network" in origin


def test_wrong_files_are_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "text.pth").write_text("hello")
    torch.save([1, 2], tmp_path / "list.pth")
    for name in ("text.pth", "list.pth", "missing.pth"):
        with pytest.raises(InputError, match=name):
            encoder_state(str(tmp_path / name))
    with pytest.raises(InputError, match=r"conv1\.weight"):
        MFPResNetUNet(width=0.5).load_encoder(resnet34(weights=None).state_dict(), "resnet34.pth")
    with pytest.raises(InputError, match="not the weights of a ResNet-34"):
        MFPResNetUNet().load_encoder({"weight": torch.zeros(1)}, "other.pth")
