"""Checkpoints and safetensors from strangers: the same weights to the bit, or one sentence; and nothing in them runs."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hostile import FUZZ, LEAVES, damaged, mutated, reading
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from mfpgan.files import read_weights
from mfpgan.models.generator import encoder_state
from mfpgan.training.checkpoint import FORMAT, PARTS, load_checkpoint, load_last

WEIGHTS = {
    "a.weight": torch.arange(24, dtype=torch.float32).reshape(2, 3, 2, 2),
    "a.half": torch.linspace(-1, 1, 5).to(torch.bfloat16),
    "a.counter": torch.tensor(7),
}
PARTS_OF_A_RUN: dict[str, Any] = {
    "format": FORMAT,
    "step": 7,
    "config": "data: sample\n",
    "data_digest": "0123456789abcdef",
    "generator": WEIGHTS,
    "optimizer": {"state": {0: {"exp_avg": torch.ones(3), "step": torch.tensor(7.0)}}, "param_groups": [{"lr": 0.1, "params": [0]}]},
    "best": 0.5,
    "skipped": [3, 4],
    "pending": None,
    "bad_steps": 0,
}  # fmt: skip


def saved(value: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, **options)
    return file.getvalue()


CHECKPOINT = saved(PARTS_OF_A_RUN)
SAFETENSORS = save(WEIGHTS, {"step": "7"})


def same(found: Any, wanted: Any) -> bool:
    """Equal to the bit."""
    if isinstance(wanted, torch.Tensor):
        return isinstance(found, torch.Tensor) and found.dtype == wanted.dtype and torch.equal(found, wanted)
    if isinstance(wanted, dict):
        return (
            isinstance(found, dict)
            and found.keys() == wanted.keys()
            and all(same(found[key], wanted[key]) for key in wanted)
        )
    return bool(type(found) is type(wanted) and found == wanted)


def test_the_valid_files_come_back(tmp_path: Path) -> None:
    (tmp_path / "last.pt").write_bytes(CHECKPOINT)
    (tmp_path / "a.safetensors").write_bytes(SAFETENSORS)
    assert same(load_checkpoint(tmp_path / "last.pt"), PARTS_OF_A_RUN)
    assert same(read_weights(tmp_path / "a.safetensors", "weights"), WEIGHTS)


@FUZZ
@given(content=damaged(CHECKPOINT))
def test_a_damaged_checkpoint_is_the_same_or_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "last.pt"
    path.write_bytes(content)
    parts = reading(path, lambda: load_checkpoint(path))
    assert parts is None or same(parts, PARTS_OF_A_RUN)
    before = path.with_name("before.pt")
    before.write_bytes(CHECKPOINT)
    fallen_back, sentence = load_last(path)
    assert same(fallen_back, PARTS_OF_A_RUN)
    assert (sentence == "") == (parts is not None)


def test_no_flipped_bit_of_a_weight_gets_through(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    place = CHECKPOINT.index(WEIGHTS["a.weight"].numpy().tobytes())
    for bit in range(8 * 24 * 4):
        content = bytearray(CHECKPOINT)
        content[place + bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        assert reading(path, lambda: load_checkpoint(path)) is None, f"bit {bit}"


ODD = [
    torch.zeros(0), torch.zeros(3), torch.tensor(float("nan")), torch.ones(2, dtype=torch.complex64), torch.ones(2, dtype=torch.bool),
    torch.ones(2, dtype=torch.float8_e4m3fn), torch.zeros(1).expand(2**40), torch.ones(3).to_sparse(), torch.empty(2**40, device="meta"),
    torch.nn.Parameter(torch.ones(2)), torch.device("cuda:3"), torch.float32, torch.Size([2]), {}, [], (), {"a\nb\x1b[2J": torch.ones(2)},
    {1: torch.ones(1)}, {torch.float32: 3}, {"a": torch.tensor([1, float("inf")])}, "x" * 5000, 10**5000, -1, True, 1.5, None, b"x",
]  # fmt: skip
VALUES = st.sampled_from(ODD) | st.sampled_from(ODD) | LEAVES


@FUZZ
@given(parts=mutated(PARTS_OF_A_RUN, VALUES))
@pytest.mark.filterwarnings("ignore")  # torch, when it writes such things
def test_a_checkpoint_of_other_parts(tmp_path: Path, parts: Any) -> None:
    must_be_plain(tmp_path / "last.pt", parts)


@pytest.mark.parametrize("number", range(len(ODD)))
@pytest.mark.filterwarnings("ignore")
def test_every_odd_value_as_a_part_and_as_a_weight(tmp_path: Path, number: int) -> None:
    odd = ODD[number]
    for name in ("format", *PARTS):
        must_be_plain(tmp_path / "last.pt", {**PARTS_OF_A_RUN, name: odd})
    for name in ("generator", "ema"):
        must_be_plain(tmp_path / "last.pt", {**PARTS_OF_A_RUN, name: {"a": odd}})


def must_be_plain(path: Path, parts: Any) -> None:
    """What is read of these parts, if they are read, keeps what the reader promises."""
    path.write_bytes(saved(parts))
    found = reading(path, lambda: load_checkpoint(path))
    if found is None:
        return
    assert found.keys() <= {"format", *PARTS}
    assert found["format"] == FORMAT
    assert all(isinstance(found[name], PARTS[name]) for name in found if name != "format")
    for name, weight in [*found["generator"].items(), *found.get("ema", {}).items()]:
        assert isinstance(name, str)
        assert torch.isfinite(weight).all()
        assert weight.numel() * weight.element_size() <= weight.untyped_storage().nbytes()


class Gadget:
    """Calls something when it is unpickled."""

    def __init__(self, call: Any, *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call, self.arguments

    def __deepcopy__(self, memo: dict[int, Any]) -> Gadget:
        return self  # copying would call, too


GADGETS: list[Any] = [
    Gadget(os.system, "touch canary"), Gadget(os.mkdir, "canary"), Gadget(open, "canary", "w"), Gadget(exec, "open('canary', 'w')"),
    Gadget(eval, "open('canary', 'w')"), Gadget(__import__, "os"), Gadget(os.rename, "innocent", "canary"),
    Gadget(torch.save, {}, "canary"), Gadget(torch.hub.load, "canary", "canary"), Gadget(pickle.loads, pickle.dumps(Gadget(os.mkdir, "canary"))),
]  # fmt: skip


WRITTEN: dict[tuple[str, str], bytes] = {}
"""Files by format and parts. torch's old format names storages by their addresses, so a second writing of the same parts may have
another length, and Hypothesis, which repeats examples, would draw other damage."""


@FUZZ
@given(
    parts=mutated(PARTS_OF_A_RUN, st.sampled_from(GADGETS), most=1),
    how=st.sampled_from(["zip", "zip", "old", "plain", "text"]),
    damage=st.booleans(),
    data=st.data(),
)  # fmt: skip
@pytest.mark.filterwarnings("ignore")
def test_nothing_in_a_file_can_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: Any, how: str, damage: bool, data: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("innocent").touch()
    content = {
        "zip": lambda: saved(parts),
        "old": lambda: saved(parts, _use_new_zipfile_serialization=False),
        "plain": lambda: pickle.dumps(parts, 2),
        "text": lambda: pickle.dumps(parts, 0),
    }[how]()
    content = WRITTEN.setdefault((how, repr(parts)), content)
    path = tmp_path / "last.pt"
    path.write_bytes(data.draw(damaged(content, most=1)) if damage else content)
    reading(path, lambda: load_checkpoint(path))
    reading(path, lambda: encoder_state(str(path)))
    assert not Path("canary").exists()


@pytest.mark.parametrize("gadget", GADGETS)
def test_each_gadget_is_in_the_file_and_refused(gadget: Gadget, tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    path.write_bytes(saved({**PARTS_OF_A_RUN, "generator": {"w": gadget}}))
    assert reading(path, lambda: load_checkpoint(path)) is None
    with zipfile.ZipFile(path) as archive:
        assert gadget.call.__name__.encode() in archive.read("archive/data.pkl")


def test_compressed_records_are_refused(tmp_path: Path) -> None:
    """torch would unpack them: a kilobyte may become a megabyte, and a megabyte a gigabyte."""
    path = tmp_path / "last.pt"
    with zipfile.ZipFile(io.BytesIO(CHECKPOINT)) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for record in source.namelist():
            target.writestr(record, source.read(record))
    assert same(torch.load(path, weights_only=True), PARTS_OF_A_RUN)
    assert reading(path, lambda: load_checkpoint(path)) is None


@FUZZ
@given(content=damaged(SAFETENSORS))
def test_damaged_safetensors(tmp_path: Path, content: bytes) -> None:
    """The format has no checksum: other numbers may come out, but as tensors, and the file says where each of them lies."""
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    weights = reading(path, lambda: encoder_state(str(path)))
    if weights is not None:
        found = weights[0]
        assert found is not None
        assert all(isinstance(name, str) and isinstance(weight, torch.Tensor) for name, weight in found.items())
        assert sum(weight.numel() * weight.element_size() for weight in found.values()) <= len(content)
