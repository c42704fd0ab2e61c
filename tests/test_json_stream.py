"""Lists out of a large JSON: whatever the layout, the entries are those that json.loads gives."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mfpgan.data import json_stream
from mfpgan.data.json_stream import read_lists
from mfpgan.types import InputError

NAMES = ("images", "annotations")
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(['}, {"id"', '"]}', "\\"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "a", '}, {"id"']), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
ENTRIES = st.lists(ANYTHING | st.fixed_dictionaries({"id": st.integers(), "a": ANYTHING}), max_size=6)


def read(path: Path, **more: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {name: [] for name in NAMES}
    for name, entries in read_lists(path, NAMES, **more):
        assert entries, "a turn without entries"
        found[name] += entries
    return found


def same(first: Any, second: Any) -> bool:
    return repr(first) == repr(second)  # nan is nan, 1 is not 1.0, True is not 1


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.permutations(["images", "annotations", "info"]),
    ENTRIES,
    ENTRIES,
    ANYTHING,
    st.sampled_from([None, 0, 2]),
    st.sampled_from([(", ", ": "), (",", ":"), (" ,\n", " :\t")]),
    st.integers(1, 60),
    st.booleans(),
)
@example(
    ["images", "annotations", "info"],
    [{"id": 1, "a": [{"id": 2}, {"id": 3}]}] * 3,
    [],
    None,
    None,
    (", ", ": "),
    9,
    True,
)
def test_entries_are_those_of_json_loads(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    order: list[str],
    images: list[Any],
    annotations: list[Any],
    info: Any,
    indent: int | None,
    separators: tuple[str, str],
    window: int,
    ascii_only: bool,
) -> None:
    monkeypatch.setattr(json_stream, "WINDOW_BYTES", window)
    monkeypatch.setattr(json_stream, "_PIECE_BYTES", 4)
    content = {"images": images, "annotations": annotations, "info": info}
    text = json.dumps(
        {key: content[key] for key in order}, indent=indent, separators=separators, ensure_ascii=ascii_only
    )
    path = tmp_path / "a.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass" if ascii_only else "replace"))
    pieces: list[bytes] = []
    found = read(path, watch=pieces.append)
    expected = json.loads(path.read_bytes())
    assert same(found, {name: expected[name] for name in NAMES})
    assert b"".join(pieces) == path.read_bytes()


WHOLE = {
    "annotations": [{"id": number, "a": [number / 7, {"id": 'x}, {"id"'}]} for number in range(30)],
    "images": [{"id": 1, "name": "\u00e4"}, {"id": 2}],
}


@pytest.mark.parametrize("window", [7, 64, 1 << 21])
def test_a_file_cut_anywhere_is_refused(window: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "WINDOW_BYTES", window)
    text = json.dumps(WHOLE, ensure_ascii=False).encode()
    path = tmp_path / "a.json"
    for length in range(0, len(text), 11 if window == 64 else 37):
        path.write_bytes(text[:length])
        with pytest.raises(InputError, match=r"a\.json: (not JSON|no list)"):
            read(path)
    path.write_bytes(text + b" \n")
    assert read(path) == WHOLE
    path.write_bytes(b"\xef\xbb\xbf" + text)
    assert read(path) == WHOLE


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "breaks off"),
        ("[]", "no list 'images'"),
        ('{"images": [], "annotations": [1,]}', "not JSON"),
        ('{"images": [], "annotations": [],}', "comma"),
        ('{"images": [] "annotations": []}', "expected ','"),
        ('{"images": [], "annotations": []} x', "behind its end"),
        ('{"images": [], "images": [], "annotations": []}', "there twice"),
        ('{"images": [], "annotations": {}}', "no list 'annotations'"),
        ('{"images": [], 5: []}', "a key is a text"),
        ('{"images": [1, 2 3]}', "expected ','"),
        ('{"images": [{"id": 1}, {"id": tru}, {"id": 3}]' + " " * 99, "not JSON"),
    ],
)
def test_each_fault_is_a_sentence(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        read(path)


def test_most_entries_come_by_the_thousand(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    entries = [{"id": number, "a": [number / 7] * 20} for number in range(20_000)]
    path.write_text(json.dumps({"annotations": entries, "images": []}))
    turns = [len(turn) for _, turn in read_lists(path, NAMES)]
    assert sum(turns) == 20_000
    assert max(turns) > 1000
    assert sum(turn for turn in turns if turn > 1000) > 15_000


def test_the_memory_is_that_of_a_window(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    entry = json.dumps({"id": 1, "text": "x" * 1000})
    path.write_text('{"images": [], "annotations": [' + ", ".join([entry] * 24_000) + "]}")
    size = path.stat().st_size
    seen: list[tuple[int, int]] = []
    tracemalloc.start()
    count = sum(len(turn) for _, turn in read_lists(path, NAMES, progress=lambda *done: seen.append(done)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 24_000
    assert peak < 16e6 < size
    assert seen == sorted(seen)
    assert seen[-1] == (size, size)


def test_a_value_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "LONGEST_BYTES", 1 << 12)
    monkeypatch.setattr(json_stream, "WINDOW_BYTES", 1 << 10)
    path = tmp_path / "a.json"
    path.write_text('{"images": ["' + "x" * (1 << 14))
    with pytest.raises(InputError, match="more than 4,096 bytes"):
        read(path)
