"""Files of clicks: photos with clicks that are pixels, or one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hostile import FUZZ, LONGEST_SENTENCE, STRANGE, damaged, mutated, reading, to_json
from hypothesis import given
from hypothesis import strategies as st

from mfpgan.apps import click_file
from mfpgan.apps.click_file import click_of, read_click_file
from mfpgan.apps.output import Output
from mfpgan.types import Click, InputError

DOCUMENT: list[dict[str, Any]] = [
    {"image": "a.png", "clicks": [{"x": 12, "y": 8}, {"x": 3, "y": 4, "positive": False}]},
    {"image": "b.png", "objects": [{"clicks": [{"x": 0, "y": 0, "positive": True}]}, {"clicks": [{"x": 7, "y": 7}], "mask": "m.png"}]},
    {"image": "c.png", "clicks": [{"x": 1, "y": 2}], "mask": "m.png"},
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png", "c.png", "m.png"):
        (tmp_path / name).touch()  # looked for, not opened
    return tmp_path


def check(folder: Path, content: bytes) -> None:
    path = folder / "clicks.json"
    path.write_bytes(content)
    photos = reading(path, lambda: read_click_file(path))
    if photos is None:
        return
    assert photos
    for photo in photos:
        assert photo.photo.is_file()
        assert photo.objects
        for one in photo.objects:
            assert one.clicks
            assert one.mask is None or one.mask.is_file()
            for y, x, positive in one.clicks:
                assert (type(y), type(x), type(positive)) == (int, int, bool)
                assert min(y, x) >= 0
    for path in Output(photos, folder / "out")._masks:
        assert (folder / "out") in path.resolve().parents


def test_the_valid_document_is_read(folder: Path) -> None:
    (folder / "clicks.json").write_text("\ufeff" + json.dumps(DOCUMENT))
    first, second, third = read_click_file(folder / "clicks.json")
    assert first.objects[0].clicks == (Click(y=8, x=12, positive=True), Click(y=4, x=3, positive=False))
    assert (first.name, first.photo) == ("a.png", folder / "a.png")
    assert [one.clicks for one in second.objects] == [(Click(0, 0, True),), (Click(7, 7, True),)]
    assert [one.mask for one in second.objects] == [None, folder / "m.png"]
    assert third.objects[0].mask == folder / "m.png"


@FUZZ
@given(document=mutated(DOCUMENT))
def test_a_mutated_document(folder: Path, document: Any) -> None:
    check(folder, to_json(document))


@FUZZ
@given(content=damaged(json.dumps(DOCUMENT).encode()))
def test_a_damaged_document(folder: Path, content: bytes) -> None:
    check(folder, content)


@pytest.mark.parametrize("number", range(len(STRANGE)))
def test_every_strange_value_in_every_place(folder: Path, number: int) -> None:
    value = STRANGE[number]
    click, one = {"x": 1, "y": 2}, {"clicks": [{"x": 1, "y": 2}]}
    check(folder, to_json(value))
    check(folder, to_json([value]))
    for key in ("image", "clicks", "mask", "objects"):
        check(folder, to_json([{**DOCUMENT[2], key: value}]))
    for key in ("clicks", "mask"):
        check(folder, to_json([{"image": "a.png", "objects": [one, {**one, key: value}]}]))
    for key in ("x", "y", "positive"):
        check(folder, to_json([{"image": "a.png", "clicks": [click, {**click, key: value}]}]))


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ([], "expected a list of entries"),
        ({"image": "a.png"}, "expected a list of entries"),
        ([{"clicks": []}], "entry 1: image must be the path of a picture, got None"),
        ([DOCUMENT[0], {"image": "z.png", "clicks": []}], r"entry 2: image 'z\.png' is no file in .*; put it there or mend the path"),
        ([{"image": "a.png"}], r"entry 1, 'a\.png': clicks must be a list of at least one .*, got None"),
        ([{"image": "a.png", "clicks": []}], r"clicks must be a list of at least one .*, got \[\]"),
        ([{"image": "a.png", "click": []}], "the key 'click' means nothing here; possible are image, objects, clicks, mask"),
        ([{"image": "a.png", "objects": []}], r"objects must be a list of 1 to 65535, each like .*, got \[\]"),
        ([{**DOCUMENT[1], "clicks": []}], "it has objects, which have the clicks and masks, and one beside them"),
        ([{"image": "b.png", "objects": [*DOCUMENT[1]["objects"], {}]}], r"entry 1, 'b\.png', object 3: clicks must be a list"),
        ([{"image": "a.png", "clicks": [{"x": 1}]}], r"click 1: y must be a whole number of pixels from the top left, got None"),
        ([{"image": "a.png", "clicks": [{"x": 1, "y": -1}]}], r"y must be a whole number .*, got -1"),
        ([{"image": "a.png", "clicks": [{"x": 1.5, "y": 1}]}], r"x must be a whole number .*, got 1\.5"),
        ([{"image": "a.png", "clicks": [{"x": True, "y": 1}]}], r"x must be a whole number .*, got True"),
        ([{"image": "a.png", "clicks": [{"x": 1, "y": 1, "positive": 1}]}], "positive must be true or false, got 1"),
        ([{"image": "a.png", "clicks": [{"x": 1, "y": 1, "postive": False}]}], "the key 'postive' means nothing here"),
        ([{"image": "a.png", "clicks": [{"x": 1, "y": 1}], "mask": 7}], "mask must be the path of a picture, got 7"),
        ([DOCUMENT[0], {**DOCUMENT[0], "image": "./a.png"}], r"entry 2, '\./a\.png': the photo has an entry before, 'a\.png'; put all"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_of_its_entry(folder: Path, document: Any, sentence: str) -> None:
    (folder / "clicks.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match=sentence):
        read_click_file(folder / "clicks.json")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b'[{"image": "a.png", "image": "b.png", "clicks": []}]', "the key 'image' is there twice"),
        (b'[{"image": "a.png", "clicks": [{"x": NaN, "y": 1}]}]', "NaN is no number of JSON"),
        (b"[" * 10**6, "nested too deeply"),
        (b"", "not readable as JSON"),
    ],
)
def test_what_is_no_json(folder: Path, content: bytes, sentence: str) -> None:
    (folder / "clicks.json").write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        read_click_file(folder / "clicks.json")


def test_a_huge_file_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "clicks.json"
    path.write_text(json.dumps(DOCUMENT))
    read_click_file(path)
    monkeypatch.setattr(click_file, "MOST_BYTES", path.stat().st_size - 1)
    with pytest.raises(InputError, match=r"it has more than 0 MiB; split it"):
        read_click_file(path)


@FUZZ
@given(text=st.from_regex(r"[0-9]{1,12},[0-9]{1,3},[+-]", fullmatch=True) | st.text(max_size=20))
def test_clicks_of_a_command_line(text: str) -> None:
    sentence = ""
    try:
        y, x, positive = click_of(text)
    except InputError as error:
        sentence = str(error)
    if sentence:
        assert sentence.isprintable()
        assert len(sentence) < LONGEST_SENTENCE
    else:
        assert [int(part) for part in text.split(",")[:2]] == [x, y]
        assert text.split(",")[2].strip() == ("+" if positive else "-")
