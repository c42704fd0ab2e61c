"""Files that are whole or not there, and weights that cannot run code."""

from __future__ import annotations

import os
import pickle
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from mfpgan.types import InputError, reason_of


def write_atomically(path: Path, data: bytes | memoryview) -> None:
    """The file with this content, see `atomic_file`."""
    with atomic_file(path) as file:
        file.write(data)


@contextmanager
def atomic_file(path: Path, keep: Path | None = None) -> Iterator[BinaryIO]:
    """Written beside `path`, flushed to the disk and renamed at the end of the block: a reader sees the old file or the new
    one, never half of one. After an exception in the block the old one stays.

    Args:
        keep: what the old file is called from then on. Where the file system has no hard links, who is killed between the two
            renames leaves that one alone.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(beside).chmod(0o644)
        if keep is not None and path.exists():
            _keep(path, keep)
        Path(beside).replace(path)
        _settle(path.parent)
    except OSError as error:  # a full disk is reported of a descriptor, which has no name
        error.filename = error.filename or str(path)
        raise
    finally:
        Path(beside).unlink(missing_ok=True)


def _keep(path: Path, keep: Path) -> None:
    """The file under a second name too, in place of what had it."""
    beside = keep.with_name(f".{keep.name}.{os.getpid()}.part")
    try:
        beside.unlink(missing_ok=True)
        beside.hardlink_to(path)
        beside.replace(keep)
    except OSError:
        path.replace(keep)


def clean(folder: Path) -> None:
    """Remove what `atomic_file` left in a folder when its process was killed; for who alone writes there."""
    for path in folder.glob(".*.part"):
        path.unlink(missing_ok=True)


def _settle(folder: Path) -> None:
    """The names in the folder reach the disk too: after a power loss the new file is there, not the old one."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read_weights(path: Path, what: str) -> Any:
    """What `torch.save` wrote, or a file of safetensors, on the CPU. Only tensors and plain types are read: nothing in the
    file can run.

    Args:
        what: the kind of file, for the error.

    Raises:
        InputError: the file is missing, broken, or does not fit its checksums (safetensors has none).
    """
    import torch

    try:
        if path.suffix == ".safetensors":
            import safetensors.torch

            return safetensors.torch.load_file(path)
        _check_sums(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, of what no checkpoint holds
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file, expected {what}.") from None
    except pickle.UnpicklingError as error:
        holds = "it holds more than tensors and plain values, which might run code and is not read"
        reason = holds if str(error).startswith("Weights only load failed") else reason_of(error)
        raise InputError(f"{path}: not readable as {what} ({reason}).") from None
    except Exception as error:  # a broken pickle raises whatever its bytes happen to trigger
        raise InputError(f"{path}: not readable as {what} ({reason_of(error, without=str(path))}).") from None


def _check_sums(path: Path) -> None:
    """Every record of what `torch.save` wrote against its CRC-32, which torch leaves out: a wrong bit on the disk would be another
    weight without a word. A tenth of a second for 300 MB. The format before torch 1.6 has no sums.

    Raises:
        Exception: whatever zipfile finds.
    """
    with path.open("rb") as file:
        head = file.read(4)
        if head[:1] not in (b"P", b"\x80"):  # torch would take any byte for an order
            raise ValueError("it is no file of torch")
        if head != b"PK\x03\x04":  # torch's own test
            return
    with zipfile.ZipFile(path) as records:
        for record in records.infolist():
            if record.compress_type != zipfile.ZIP_STORED:  # torch writes none; a few kilobytes might become gigabytes
                raise ValueError(f"its record {record.filename} is compressed")
        wrong = records.testzip()
        if wrong is not None:
            raise ValueError(f"its record {wrong} does not fit its checksum")
