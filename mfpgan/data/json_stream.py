"""Lists of a large JSON object, entry by entry: a file of gigabytes in the memory of one entry.

The standard library's decoder reads each entry out of a window that slides over the text. ijson does the like, but goes
through the whole file once for each list, which takes twice as long.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from mfpgan.types import InputError

WINDOW_BYTES = 1 << 22
"""Read at a time; an entry may be longer, the window then grows."""
LONGEST_CHARACTERS = 1 << 28
"""A single value above is refused, or a damaged file could take all the memory there is."""
_TAIL_CHARACTERS = 16
"""So close to the window's end a fault may come from the cut: no number, word or escape of JSON's grammar is longer, and
longer numbers end on the window's last character."""
_SPACE = " \t\n\r"


def read_lists(
    path: Path,
    names: Collection[str],
    progress: Callable[[int, int], None] | None = None,
    watch: Callable[[bytes], None] | None = None,
) -> Iterator[tuple[str, Any]]:
    """The entries of the lists that stand under `names` in the object that the file holds, in the file's order.

    Args:
        progress: called with (bytes read, bytes in all) now and then.
        watch: called with every piece of the file, for a digest.

    Yields:
        (name, entry), the entry as `json.loads` gives it.

    Raises:
        InputError: not readable, not JSON, no object, one of the lists missing, there twice, or no list.
    """
    try:
        with path.open("rb") as file:
            window = _Window(file, path.stat().st_size, progress, watch)
            yield from _lists(window, names, path)
    except OSError as error:
        raise InputError(f"{path}: not readable ({error.strerror}); give the path of an LVIS or COCO JSON.") from None
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not JSON ({error}); give an LVIS or COCO instances file, unpacked.") from None


def _lists(window: _Window, names: Collection[str], path: Path) -> Iterator[tuple[str, Any]]:
    found = set()
    if window.peek() != "{":
        window.value()  # or it is no JSON at all
        window.end()
    else:
        for key in _members(window, "{", "}"):
            if key not in names:
                window.value()
            elif key in found:
                raise InputError(f"{path}: the list {key!r} is there twice; merge them, or give another file.")
            elif window.peek() != "[":
                break  # named below
            else:
                found.add(key)
                for _ in _members(window, "[", "]"):
                    yield key, window.value()
        else:
            window.end()
    for name in names:
        if name not in found:
            raise InputError(
                f"{path}: no list {name!r} in it, which an LVIS or COCO instances JSON has; give such a file."
            )


def _members(window: _Window, opening: str, closing: str) -> Iterator[Any]:
    """Stops before each value of an object or a list; gives its key, or None in a list."""
    window.take(opening)
    first = True
    while True:
        if first and window.peek() == closing:
            break
        key = None
        if opening == "{":
            window.peek()
            key = window.value()
            if not isinstance(key, str):
                raise ValueError(f"a key is a text, got {str(key)[:40]}")
            window.take(":")
        yield key
        first = False
        if window.peek() == closing:
            break
        window.take(",")
    window.take(closing)


class _Window:
    """The text round the place where reading stands."""

    def __init__(
        self,
        file: BinaryIO,
        size: int,
        progress: Callable[[int, int], None] | None,
        watch: Callable[[bytes], None] | None,
    ) -> None:
        self._file, self._size, self._progress, self._watch = file, size, progress, watch
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._decode = json.JSONDecoder().raw_decode
        self._text = ""
        self._place = 0
        self._read = 0
        self._over = False

    def peek(self) -> str:
        """The next character that is no space, which the place then stands on; empty at the end."""
        while True:
            text, place = self._text, self._place
            while place < len(text) and text[place] in _SPACE:
                place += 1
            self._place = place
            if place < len(text) or not self._more():
                return self._text[self._place : self._place + 1]

    def take(self, character: str) -> None:
        found = self.peek()
        if found != character:
            raise ValueError(f"expected {character!r}, got {found!r}" if found else "it breaks off in the middle")
        self._place += 1

    def value(self) -> Any:
        """The value that begins here."""
        self.peek()
        while True:
            try:
                value, end = self._decode(self._text, self._place)
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated string") or error.pos >= len(self._text) - _TAIL_CHARACTERS
                if not cut or not self._more():
                    over = error.pos >= len(self._text)
                    raise ValueError("it breaks off in the middle" if over else error.msg) from None
            else:
                if end < len(self._text) or not self._more():  # a number may go on
                    self._place = end
                    return value

    def end(self) -> None:
        if self.peek():
            raise ValueError("something stands behind its end")

    def _more(self) -> bool:
        """Reads on; False at the end of the file. What is behind the place is forgotten."""
        if self._over:
            return False
        if len(self._text) - self._place > LONGEST_CHARACTERS:
            raise ValueError(f"a single value of more than {LONGEST_CHARACTERS:,} characters")
        # As much again as there is: else a long value would be decoded from its start for every piece of it.
        piece = self._file.read(max(WINDOW_BYTES, len(self._text) - self._place))
        self._over = not piece
        self._read += len(piece)
        if self._watch is not None:
            self._watch(piece)
        if self._progress is not None and piece:
            self._progress(self._read, max(self._size, self._read))
        self._text = self._text[self._place :] + self._decoder.decode(piece, self._over)
        self._place = 0
        return True
