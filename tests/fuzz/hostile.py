"""How a file is made hostile, and what a reader owes to whoever hands it one.

Inputs grow from valid files, because random bytes seldom get past a reader's first check. `make test` tries 300 inputs a test,
always the same ones; MFPGAN_FUZZ=5000 as many new ones (`make fuzz`).
"""

from __future__ import annotations

import copy
import json
import math
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from mfpgan.types import InputError

Result = TypeVar("Result")
NIGHTLY = os.environ.get("MFPGAN_FUZZ")
FUZZ = settings(
    max_examples=int(NIGHTLY or 300),
    derandomize=not NIGHTLY,
    deadline=timedelta(seconds=10),  # a hang, not a slow machine
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
"""Decorates every fuzz test."""
MOST_BYTES = 1 << 30
"""A reader may touch so much new memory: some copies of the largest photo that is allowed."""
LONGEST_SENTENCE = 2500
"""The list of a config's keys takes a thousand characters."""


def reading(path: Path, read: Callable[[], Result]) -> Result | None:
    """What `read` gives, or None if it refuses in one sentence that names the file; all else fails the test."""
    before = _start_memory_peak()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            result: Result | None = read()
        except InputError as error:
            must_be_one_sentence(str(error), path)
            result = None
    assert not said, f"warned: {said[0].message}"
    assert _memory_peak() - before < MOST_BYTES
    return result


def must_be_one_sentence(text: str, path: Path) -> None:
    """Printable, because what a file says may be an order to the terminal; short, because people read it."""
    assert path.name in text
    assert text.isprintable(), repr(text)
    assert len(text) < LONGEST_SENTENCE, f"{len(text)} characters: {text[:200]} ..."
    assert text.endswith("."), text


def _start_memory_peak() -> int:
    """From now on `_memory_peak` counts anew; returns what is in use. Linux only, elsewhere 0."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return 0
    return _memory_peak()


def _memory_peak() -> int:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


NUMBERS = [0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1]


@st.composite
def damaged(draw: st.DrawFn, base: bytes, most: int = 3) -> bytes:
    """A valid file after one to `most` accidents."""
    content = bytearray(base)
    for _ in range(draw(st.integers(1, most))):
        size = len(content)
        place = draw(st.integers(0, max(size - 1, 0)))
        length = draw(st.integers(1, 64))
        match draw(st.sampled_from(["cut", "flip", "write", "number", "insert", "delete", "double", "splice"])):
            case "cut":
                del content[place:]
            case "flip" if size:
                content[place] ^= 1 << draw(st.integers(0, 7))
            case "write":
                piece = draw(st.binary(min_size=1, max_size=8))
                content[place : place + len(piece)] = piece
            case "number":
                order = draw(st.sampled_from(["little", "big"]))
                content[place : place + 4] = draw(st.sampled_from(NUMBERS)).to_bytes(4, order)
            case "insert":
                content[place:place] = draw(st.binary(min_size=1, max_size=16))
            case "delete":
                del content[place : place + length]
            case "double":
                content[place:place] = content[place : place + length]
            case "splice":
                start = draw(st.integers(0, len(base) - 1))
                content[place : place + length] = base[start : start + length]
    return bytes(content)


@dataclass(frozen=True)
class Raw:
    """Text that stands in a JSON document as it is."""

    text: str


STRANGE: list[Any] = [
    None, True, False, 0, -1, 1, 2, 7, 255, 2**31, -(2**31), 2**53 + 1, 2**62, 2**63, 2**64, 10**9, 10**30, 0.0, -0.0, 0.5, 1e300,
    -1e300, math.nan, math.inf, -math.inf, "", " ", "0", "nan", "r", ".", "..", "../../etc/passwd", "/etc/passwd", "a\nb", "a\0b",
    "\x1b[2J", "\ud800", "\u202e", "\U0001f600", "x" * 5000, "PPY", "05X", [], [[]], [[[]]], {}, {"": None}, [None], [0], [[0]],
    [10**9, 10**9], {"size": [6, 8], "counts": [48]}, {"size": [10**9, 10**9], "counts": "0"}, [1] * 1000,
    Raw("1e999"), Raw("-0"), Raw("1" * 4000), Raw("1" * 5000), Raw("NaN"), Raw("-Infinity"), Raw("Infinity"),
    Raw('{"id": 9, "id": 4}'), Raw('"\\ud83d"'), Raw('"\\u0000"'), Raw("[" * 90 + "]" * 90), Raw("[" * 199 + "]" * 199),
    Raw("[" * 480 + "]" * 480), Raw("[" * 900 + "]" * 900), Raw('{"a":' * 940 + "1" + "}" * 940), Raw("[" * 100_000), Raw(""), Raw("1 2"),
]  # fmt: skip
"""What a document may hold in place of what it should."""
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
VALUES = st.sampled_from(STRANGE) | st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner), max_leaves=6
)


@st.composite
def mutated(draw: st.DrawFn, document: Any, values: st.SearchStrategy[Any] = VALUES, most: int = 3) -> Any:
    """A valid document in which some nodes were replaced, removed, doubled, wrapped or exchanged."""
    whole = [copy.deepcopy(document)]
    for _ in range(draw(st.integers(1, most))):
        parent, key = draw(st.sampled_from(_nodes(whole)))
        match draw(st.sampled_from(["replace", "replace", "replace", "remove", "double", "wrap", "move"])):
            case "replace":
                parent[key] = copy.deepcopy(draw(values))  # STRANGE itself must stay as it is
            case "remove" if parent is not whole:
                del parent[key]
            case "double" if isinstance(parent, list) and parent is not whole:
                parent.insert(key, copy.deepcopy(parent[key]))
            case "double" if isinstance(parent, dict):
                parent[draw(st.sampled_from([f"{key} ", "", "id", "a\nb", "\x1b[2J"]))] = parent[key]
            case "wrap":
                parent[key] = draw(st.sampled_from([[parent[key]], {"id": parent[key]}]))
            case "move":
                source, place = draw(st.sampled_from(_nodes(whole)))
                parent[key] = copy.deepcopy(source[place])
    return whole[0]


def _nodes(node: Any) -> list[tuple[Any, Any]]:
    """(parent, key) of every value inside."""
    keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    return [found for key in keys for found in [(node, key), *_nodes(node[key])]]


def to_json(document: Any) -> bytes:
    """JSON text of a document, which may hold Raw values."""
    raw: list[str] = []

    def mark(value: Any) -> str:
        raw.append(value.text)
        return f"raw value {len(raw) - 1}."

    text = json.dumps(document, default=mark)
    for number, piece in enumerate(raw):
        text = text.replace(f'"raw value {number}."', piece)
    return text.encode("utf-8", "surrogatepass")
