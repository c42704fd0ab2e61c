"""The index of an LVIS or COCO JSON, built once and kept in the cache folder ($MFPGAN_CACHE, otherwise ~/.cache/mfpgan).

It is found by the JSON's path, and fits while the file's size and both times of change are the same, or else the digest of its
content. So a change is noticed even if it keeps the size and somebody sets the time of change back (rsync and tar do). Of a
file that was only touched, or has a copy on each machine, the digest is taken once: NAME.seen notes its times.

Beside an index lies its lock, an empty file that stays: whoever removed it could split those who wait for it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from filelock import FileLock

from mfpgan.data.lvis_index import LvisIndex, Source, Tables, read_index, write_index
from mfpgan.data.lvis_reader import read_json
from mfpgan.data.mask_cache import cache_folder
from mfpgan.data.problem import stop_at_first
from mfpgan.data.spool import Spool
from mfpgan.files import atomic_file, write_atomically
from mfpgan.types import InputError

KEPT_FROM_BYTES = 4 << 20
"""Smaller files are read anew each time, in less than half a second."""


def open_index(path: Path, progress: Callable[[int, int], None] | None = None) -> LvisIndex:
    """The index of the JSON file `path`, from the cache where one fits.

    Of several processes one builds and the others wait for it. One that is killed leaves at most a hidden file, which the
    next build removes.

    Args:
        progress: called with (bytes read, bytes in all) while the JSON is read.

    Raises:
        InputError: the JSON is missing or wrong, or there is no room for the index.
    """
    try:
        large = path.stat().st_size >= KEPT_FROM_BYTES
    except OSError as error:
        raise InputError(f"{path}: not readable ({error.strerror}); give the path of an LVIS or COCO JSON.") from None
    if not large:
        return LvisIndex.of(_read(path, progress))
    kept = index_path(path)
    index = read_index(kept)
    if index is not None and _fits(index, kept, path):
        return index
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{kept}.lock"):
            index = read_index(kept)
            if index is None or not (_fits(index, kept, path) or _fits_by_digest(index, kept, path)):
                for remains in kept.parent.glob(f".{kept.name}.*.part"):
                    remains.unlink(missing_ok=True)
                with Spool(kept.parent) as spool:
                    tables = _read(path, progress, spool)
                    with atomic_file(kept) as file:
                        write_index(file, tables)
                index = read_index(kept)
    except OSError as error:
        raise InputError(
            f"{kept.parent}: the index of {path.name} cannot be kept there ({error.strerror or error}); make room, or name "
            "another folder with MFPGAN_CACHE."
        ) from None
    if index is None:
        raise InputError(
            f"{kept}: the index has gone as soon as it was written; name another folder with MFPGAN_CACHE."
        )
    return index


def index_path(path: Path) -> Path:
    """Where the index of the JSON file `path` is kept."""
    place = hashlib.sha256(str(path.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return cache_folder() / f"{re.sub(r'[^A-Za-z0-9_.-]', '_', path.stem)[:60]}-{place}.index"


def _fits(index: LvisIndex, kept: Path, path: Path) -> bool:
    state = Source.of(path, index.source.digest)
    return state == index.source or state in _seen(kept)


def _fits_by_digest(index: LvisIndex, kept: Path, path: Path) -> bool:
    """A digest takes a second, another index a minute."""
    state = Source.of(path)
    if state.size != index.source.size or _digest(path) != index.source.digest:
        return False
    seen = [*_seen(kept)[-99:], state._replace(digest=index.source.digest)]
    with suppress(OSError):  # no room for it: then the digest is taken again
        write_atomically(_seen_path(kept), json.dumps(seen).encode())
    return True


def _seen(kept: Path) -> list[Source]:
    """Files of the path that were found to have the content that the digest says."""
    try:
        return [Source(*state) for state in json.loads(_seen_path(kept).read_bytes())]
    except (OSError, ValueError, TypeError):
        return []


def _seen_path(kept: Path) -> Path:
    return kept.with_suffix(".seen")


def _read(path: Path, progress: Callable[[int, int], None] | None, spool: Spool | None = None) -> Tables:
    tables, problems = read_json(path, progress, spool)
    stop_at_first(problems)
    return tables


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
