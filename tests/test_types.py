"""What a message shows of strangers' files."""

from __future__ import annotations

from typing import Any

import pytest

from mfpgan.types import quoted, reason_of


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("cup", "'cup'"),
        ("a\nb\x1b[2J", r"'a\nb\x1b[2J'"),
        ([1, "two", {"a": 3.5}], "[1, 'two', {'a': 3.5}]"),
        ([1 << 20_000], "a list with a number of thousands of digits"),
        (None, "None"),
    ],
)
def test_a_value_is_quoted(value: object, text: str) -> None:
    assert quoted(value) == text


def test_a_value_of_a_billion_parts_is_quoted_at_once() -> None:
    bomb: list[Any] = []
    for _ in range(30):
        bomb = [bomb, bomb]
    assert len(quoted(bomb)) <= 100
    assert len(quoted("x" * 10**6)) <= 100


def test_the_reason_is_one_printable_line_without_the_path() -> None:
    assert reason_of(ValueError("a/b.png: it\n  is\x1b[2J cut."), without="a/b.png: ") == "it is [2J cut"
    assert reason_of(KeyError()) == "KeyError"
    assert len(reason_of(ValueError("x" * 999))) == 200
