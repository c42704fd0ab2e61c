"""Files are whole or not there, and weights cannot run code."""

from __future__ import annotations

import errno
import os
import pickle
import sys
from pathlib import Path

import pytest
import torch

from mfpgan.files import clean, read_weights, write_atomically
from mfpgan.training.checkpoint import load_checkpoint, save_checkpoint, write_safetensors
from mfpgan.types import InputError


def test_write_atomically_keeps_the_old_file_on_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def fail(number: int) -> None:
        raise OSError(errno.ENOSPC, "disk full")  # of a descriptor: it names no file

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match=rf"disk full: '{path}'"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_checkpoint_comes_back_to_the_bit(tmp_path: Path) -> None:
    parts = {"generator": {"w": torch.randn(3)}, "step": 7, "config": "a: 1"}
    save_checkpoint(tmp_path / "deep" / "last.pt", parts)
    loaded = load_checkpoint(tmp_path / "deep" / "last.pt")
    assert torch.equal(loaded["generator"]["w"], parts["generator"]["w"])
    assert (loaded["step"], loaded["config"]) == (7, "a: 1")


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files")
@pytest.mark.parametrize("room", [0, 1_000, 70_000, 200_000])
def test_a_checkpoint_that_does_not_fit_leaves_the_old_one(room: int, tmp_path: Path) -> None:
    import resource  # not on Windows

    path = tmp_path / "last.pt"
    save_checkpoint(path, {"step": 1, "generator": {"w": torch.ones(3)}})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            save_checkpoint(path, {"step": 2, "generator": {"w": torch.ones(60_000), "b": torch.ones(9)}})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert torch.equal(load_checkpoint(path)["generator"]["w"], torch.ones(3))
    assert list(tmp_path.iterdir()) == [path]


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("exploded",)


def test_nothing_in_a_file_can_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"generator": Bomb()}, "bomb.pt")
    with pytest.raises(InputError, match=r"bomb\.pt"):
        load_checkpoint(Path("bomb.pt"))
    assert not Path("exploded").exists()


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04broken", bytes(range(256)) * 9])
def test_broken_files_are_one_sentence(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_weights(tmp_path / "x.pt", "a checkpoint")
    assert "x.pt" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_files_and_missing_ones_are_refused(tmp_path: Path) -> None:
    for other in (99, torch.zeros(2), True, "2"):
        torch.save({"format": other, "step": 1, "generator": {}}, tmp_path / "new.pt")
        with pytest.raises(InputError, match="another program or version"):
            load_checkpoint(tmp_path / "new.pt")
    with pytest.raises(InputError, match="no such file"):
        load_checkpoint(tmp_path / "none.pt")


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ({"step": 1, "generator": {"w": torch.tensor([1.0, torch.nan])}}, r"NaN or infinity \('w'\)"),
        ({"step": 1, "generator": {"w": [1.0]}}, "'w' is no plain tensor"),
        ({"step": 1, "generator": {"w": torch.zeros(1).expand(2**40)}}, "'w' is no plain tensor"),
        ({"step": 1, "generator": {"w": torch.ones(3).to_sparse()}}, "'w' is no plain tensor"),
        ({"step": 1, "generator": {2: torch.ones(3)}}, "weight 2 is no plain tensor"),
        ({"step": "1", "generator": {}}, "'step' is unknown or of another type"),
        ({"step": 1, "generator": {}, "surprise": 2}, "'surprise' is unknown"),
        ({"generator": {}}, "not a checkpoint of format"),
    ],
)
def test_a_checkpoint_is_held_against_its_schema(parts: dict[str, object], problem: str, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "last.pt", parts)
    with pytest.raises(InputError, match=problem):
        load_checkpoint(tmp_path / "last.pt")


def test_safetensors_come_back_equal_and_broken_ones_are_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    weights = {"a": torch.randn(2, 3, 1, 1).to(memory_format=torch.channels_last), "b": torch.arange(3)}
    write_safetensors(path, weights, {"step": "7"})
    found = read_weights(path, "weights")
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[name], weights[name]) for name in weights)
    for content in (b"", b"hello", path.read_bytes()[:-4]):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"w\.safetensors: not readable as weights"):
            read_weights(path, "weights")


@pytest.mark.parametrize("cut", [0.1, 0.5, 0.99])
def test_a_truncated_checkpoint_is_refused(cut: float, tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"step": 1, "generator": {"w": torch.randn(1000)}})
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * cut)])
    with pytest.raises(InputError, match=r"last\.pt"):
        load_checkpoint(path)


def test_the_file_never_lacks_while_the_old_one_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed at any rename, there is a checkpoint under its usual name."""
    path, before = tmp_path / "last.pt", tmp_path / "before.pt"
    for number in range(3):
        save_checkpoint(path, {"step": number, "generator": {}}, keep=True)
    assert [load_checkpoint(one)["step"] for one in (path, before)] == [2, 1]
    steps: list[list[int]] = []
    rename = Path.replace

    def watched(self: Path, target: Path) -> Path:
        done = rename(self, target)
        steps.append([load_checkpoint(one)["step"] for one in (path, before)])
        return done

    monkeypatch.setattr(Path, "replace", watched)
    save_checkpoint(path, {"step": 3, "generator": {}}, keep=True)
    assert steps == [[2, 2], [3, 2]]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["before.pt", "last.pt"]


def test_without_hard_links_the_old_file_is_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(self: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "no hard links")

    monkeypatch.setattr(Path, "hardlink_to", none)
    for number in range(2):
        save_checkpoint(tmp_path / "last.pt", {"step": number, "generator": {}}, keep=True)
    assert [load_checkpoint(tmp_path / name)["step"] for name in ("last.pt", "before.pt")] == [1, 0]


def test_what_a_killed_process_left_is_cleaned(tmp_path: Path) -> None:
    for name in (".last.pt.x7f.part", "last.pt", "notes.part"):
        (tmp_path / name).touch()
    clean(tmp_path)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["last.pt", "notes.part"]


def test_why_a_file_of_weights_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    for content, reason in (
        (b"hello\n", "it is no file of torch"),
        (pickle.dumps(Bomb(), 2), "it holds more than tensors and plain values, which might run code and is not read"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError) as caught:
            read_weights(path, "weights")
        assert str(caught.value) == f"{path}: not readable as weights ({reason})."
