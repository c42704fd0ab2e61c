"""Lists of a large JSON object, some entries at a time: a file of gigabytes in the memory of a few megabytes of it.

Thousands of entries are decoded in one call, by pydantic's decoder, twice as fast as the standard library's. Where they end
is guessed, from how the first entry of the list ends and the second begins; a wrong guess cannot be decoded, because a bracket
or a quotation mark stays open, and then the standard library's decoder finds the end of each entry by itself. (ijson would need
a pass through the whole file for each list, and takes five times as long.)
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from pydantic_core import from_json

from mfpgan.types import InputError, quoted, reason_of

WINDOW_BYTES = 1 << 21
"""Read at a time; an entry may be longer, the window then grows."""
LONGEST_BYTES = 1 << 28
"""A single value above is refused, or a damaged file could take all the memory there is."""
_PIECE_BYTES = 1 << 14
ALONE = 1000
"""So many entries at most that were decoded one by one come together."""
_TAIL_CHARACTERS = 16
"""So close to the end of the text a fault may come from the cut: no word or escape of JSON's grammar is longer."""
_SPACE = b" \t\n\r"
_FIRST_KEY = re.compile(rb'\{\s*"[^"\\]*"')


def read_lists(
    path: Path,
    names: Collection[str],
    progress: Callable[[int, int], None] | None = None,
    watch: Callable[[bytes], None] | None = None,
) -> Iterator[tuple[str, list[Any]]]:
    """The entries of the lists that stand under `names` in the object that the file holds, in the file's order.

    Args:
        progress: called with (bytes read, bytes in all) now and then.
        watch: called with every piece of the file, for a digest.

    Yields:
        (name, the next few entries as `json.loads` gives them).

    Raises:
        InputError: not readable, not JSON in UTF-8, no object, one of the lists missing, there twice, or no list.
    """
    try:
        with path.open("rb") as file:
            yield from _lists(_Window(file, path.stat().st_size, progress, watch), names, path)
    except OSError as error:
        raise InputError(f"{path}: not readable ({error.strerror}); give the path of an LVIS or COCO JSON.") from None
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: not JSON ({reason_of(error)}); give an LVIS or COCO instances file, unpacked and whole (a download that broke off ends like this)."
        ) from None


def _lists(window: _Window, names: Collection[str], path: Path) -> Iterator[tuple[str, list[Any]]]:
    found = set()
    if window.peek() != b"{":
        window.value()  # or it is no JSON at all
        window.end()
    else:
        for key in _keys(window):
            if key not in names:
                _pass_over(window)
            elif key in found:
                raise InputError(f"{path}: the list {key!r} is there twice; merge them, or give another file.")
            elif window.peek() != b"[":
                break  # named below
            else:
                found.add(key)
                for entries in _entries(window):
                    yield key, entries
        else:
            window.end()
    for name in names:
        if name not in found:
            raise InputError(
                f"{path}: no list {name!r} in it, which an LVIS or COCO instances JSON has; give such a file."
            )


def _pass_over(window: _Window) -> None:
    """A value that nobody wants; a list in pieces, as it may be as long as those that are wanted."""
    if window.peek() != b"[":
        window.value()
        return
    for _ in _entries(window):
        pass


def _keys(window: _Window) -> Iterator[str]:
    """The keys of the object that begins here; stops before each value, which the caller has to read."""
    window.take(b"{")
    while window.peek() != b"}":
        key = window.value()
        if not isinstance(key, str):
            raise ValueError(f"a key is a text, got {quoted(key)}")
        window.take(b":")
        yield key
        if window.peek() == b"}":
            break
        window.take(b",")
        if window.peek() == b"}":
            raise ValueError("a comma stands before the end of an object")
    window.take(b"}")


def _entries(window: _Window) -> Iterator[list[Any]]:
    """The entries of the list that begins here, some at a time."""
    window.take(b"[")
    border: tuple[bytes, int] | None = None
    alone: list[Any] = []
    if window.peek() != b"]":
        while True:
            many = window.values(*border) if border else []
            if many or len(alone) == ALONE:
                if alone:
                    yield alone
                    alone = []
                if many:
                    yield many
                    continue
            alone.append(window.value())
            end = window.place - 1
            if window.peek() == b"]":
                break
            window.take(b",")
            window.peek()
            if border is None:
                border = window.border(end)
    window.take(b"]")
    if alone:
        yield alone


class _Window:
    """The bytes round the place where reading stands."""

    def __init__(
        self,
        file: BinaryIO,
        size: int,
        progress: Callable[[int, int], None] | None,
        watch: Callable[[bytes], None] | None,
    ) -> None:
        self._file, self._size, self._progress, self._watch = file, size, progress, watch
        self._decode = json.JSONDecoder().raw_decode
        self._bytes = b""
        self.place = 0
        self._read = 0
        self._over = False
        self._one_by_one_until = 0
        self._more()
        if self._bytes.startswith(codecs.BOM_UTF8):
            self.place = len(codecs.BOM_UTF8)

    def peek(self) -> bytes:
        """The next byte that is no space, which the place then stands on; empty at the end."""
        while True:
            while self._bytes[self.place : self.place + 1] in (b" ", b"\n", b"\r", b"\t"):
                self.place += 1
            if self.place < len(self._bytes) or not self._more():
                return self._bytes[self.place : self.place + 1]

    def take(self, character: bytes) -> None:
        found = self.peek()
        if found != character:
            wanted, came = character.decode(), found.decode("utf-8", "replace")
            raise ValueError(f"expected {wanted!r}, got {came!r}" if found else "it breaks off in the middle")
        self.place += 1

    def value(self) -> Any:
        """The value that begins here."""
        self.peek()
        length = _PIECE_BYTES
        while True:
            piece = self._bytes[self.place : self.place + length]
            last = self._over and self.place + length >= len(self._bytes)
            text, _ = codecs.utf_8_decode(piece, "strict", last)
            try:
                value, end = self._decode(text)
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated string") or error.pos >= len(text) - _TAIL_CHARACTERS
                if not cut or last:
                    raise ValueError("it breaks off in the middle" if error.pos >= len(text) else error.msg) from None
            else:
                if end + 2 < len(text) or last:  # otherwise a number may go on: 1, 1e, 1e+
                    self.place += len(text[:end].encode())
                    return value
            if self.place + length < len(self._bytes) or not self._more():
                length *= 4  # from its start again, so by as much that this does not count

    def values(self, border: bytes, offset: int) -> list[Any]:
        """The entries of a list from here to the last border in the window; none if there is none, or it is a wrong one.

        Args:
            border: the last byte of an entry, and what follows up to the first key of the next.
            offset: of the next entry in it.
        """
        if self.place < self._one_by_one_until:
            return []
        if len(self._bytes) - self.place < WINDOW_BYTES // 2:
            self._more()
        last = self._bytes.rfind(border, self.place)
        if last < 0:
            return []
        try:
            entries: list[Any] = from_json(b"[%b]" % self._bytes[self.place : last + 1], cache_strings="keys")
        except ValueError:  # also where the list ends in this window
            self._one_by_one_until = last
            return []
        self.place = last + offset
        return entries

    def border(self, end: int) -> tuple[bytes, int] | None:
        """How an entry ends (with the byte at `end`) and the next one, at the place, begins: for `values`."""
        key = _FIRST_KEY.match(self._bytes, self.place)
        if key is None or not 0 <= end < self.place or self._bytes[end : self.place].translate(None, _SPACE) != b"},":
            return None
        return self._bytes[end : key.end()], self.place - end

    def end(self) -> None:
        if self.peek():
            raise ValueError("something stands behind its end")

    def _more(self) -> bool:
        """Reads on; False at the end of the file. What is behind the place is forgotten."""
        if self._over:
            return False
        waiting = len(self._bytes) - self.place
        if waiting > LONGEST_BYTES:
            raise ValueError(f"a single value of more than {LONGEST_BYTES:,} bytes")
        # As much again as there is: else a long value would be decoded from its start for every piece of it.
        piece = self._file.read(max(WINDOW_BYTES, waiting))
        self._over = not piece
        self._read += len(piece)
        if self._watch is not None:
            self._watch(piece)
        if self._progress is not None and piece:
            self._progress(self._read, max(self._size, self._read))
        self._one_by_one_until -= self.place
        self._bytes = self._bytes[self.place :] + piece
        self.place = 0
        return True
