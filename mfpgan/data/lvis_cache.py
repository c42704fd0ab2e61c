"""The index of an LVIS or COCO JSON, built once and kept in the cache folder ($MFPGAN_CACHE, otherwise ~/.cache/mfpgan).

It is found by the JSON's path, and fits while size and time of change are the same, or else the content's digest.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from filelock import FileLock

from mfpgan.data.columns import DamagedError
from mfpgan.data.lvis_index import LvisIndex, Source, Tables, read_index, write_index
from mfpgan.data.lvis_reader import read_json
from mfpgan.data.mask_cache import cache_folder
from mfpgan.data.problem import stop_at_first
from mfpgan.data.spool import Spool
from mfpgan.files import atomic_file
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
    if index is not None and _unchanged(index, path):
        return index
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{kept}.lock"):
            index = read_index(kept)
            if index is None or not _unchanged(index, path):
                for remains in kept.parent.glob(f".{kept.name}.*.part"):
                    remains.unlink(missing_ok=True)
                _build(kept, path, index, progress)
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


def _build(kept: Path, path: Path, old: LvisIndex | None, progress: Callable[[int, int], None] | None) -> None:
    state = path.stat()
    source = Source(state.st_size, state.st_mtime_ns, "")
    with Spool(kept.parent) as spool:
        tables = _of_the_same_content(old, source, path) or _read(path, progress, spool)
        with atomic_file(kept) as file:
            write_index(file, tables)


def _of_the_same_content(old: LvisIndex | None, source: Source, path: Path) -> Tables | None:
    """What the old index says, if the file was only touched or copied over itself: a digest takes a second, an index a minute."""
    if old is None or old.source.size != source.size or _digest(path) != old.source.digest:
        return None
    with suppress(DamagedError):
        return old.tables(source._replace(digest=old.source.digest))
    return None


def _read(path: Path, progress: Callable[[int, int], None] | None, spool: Spool | None = None) -> Tables:
    tables, problems = read_json(path, progress, spool)
    stop_at_first(problems)
    return tables


def _unchanged(index: LvisIndex, path: Path) -> bool:
    state = path.stat()
    return (index.source.size, index.source.mtime_ns) == (state.st_size, state.st_mtime_ns)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
