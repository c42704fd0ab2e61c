"""The index of an LVIS JSON: says what the JSON says, fits it, and is never half there."""

from __future__ import annotations

import errno
import json
import os
import pickle
import struct
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from test_lvis import CONTENT, SQUARE, TWO_PARTS, UNCOMPRESSED, write

from mfpgan.data import lvis_cache, lvis_index
from mfpgan.data.columns import DamagedError
from mfpgan.data.lvis import LvisDataSet
from mfpgan.data.lvis_cache import index_path, open_index
from mfpgan.data.lvis_index import MAGIC, VERSION, LvisIndex, read_index
from mfpgan.data.lvis_reader import read_json
from mfpgan.data.segmentation import DOUBTFUL, FINE, draw, hits_a_pixel, segmentation_problem, verdicts
from mfpgan.types import InputError


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A JSON that is large enough to be kept, with a cache of its own."""
    monkeypatch.setattr(lvis_cache, "KEPT_FROM_BYTES", 0)
    monkeypatch.setenv("MFPGAN_CACHE", str(tmp_path / "cache"))
    return write(tmp_path, CONTENT)


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every time that a JSON is read."""
    done: list[Path] = []
    monkeypatch.setattr(lvis_cache, "read_json", lambda path, *more: (done.append(path), read_json(path, *more))[1])
    return done


def contents(index: LvisIndex) -> Any:
    objects = [index.object(number) for number in range(index.object_count)]
    return (
        [index.image(number) for number in range(index.image_count)],
        [(item.id, item.image, item.category, item.area_px) for item in objects],
        [[np.asarray(part).tolist() for part in item.segmentation] for item in objects],
        index.categories, index.frequencies, index.left_out, index.group_start.tolist(),
    )  # fmt: skip


def test_it_says_what_the_json_says(path: Path) -> None:
    images, objects, segmentations, categories, frequencies, left_out, groups = contents(open_index(path))
    assert [(image.id, image.names, image.height, image.width) for image in images] == [
        (9, ("train2017/000000000009.jpg", "000000000009.jpg"), 6, 8),
        (4, ("four.png",), 6, 8),
        (5, ("never_looked_at.png",), 6, 8),
    ]
    # Areas of the polygons; of the run lengths [0, 6, 36, 6] the marked ones.
    assert objects == [(12, 0, "cup", 8.0), (13, 0, "cup", 8.0), (11, 1, "dog", 12.0)]
    assert segmentations == [SQUARE, TWO_PARTS, UNCOMPRESSED["counts"]]
    assert (categories, frequencies) == (("cup", "dog"), ("", ""))
    assert [where for where, _ in left_out] == ["annotation 15"]
    assert groups == [0, 2, 3]


def test_the_order_of_the_lists_does_not_matter(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text(json.dumps({key: CONTENT[key] for key in ("annotations", "categories", "images")}))
    assert contents(open_index(other)) == contents(open_index(path))


def test_area_and_frequency_are_the_jsons(path: Path) -> None:
    content = json.loads(path.read_text())
    content["categories"][1]["frequency"] = "r"
    content["annotations"][1]["area"] = 7.5
    path.write_text(json.dumps(content))
    index = open_index(path)
    assert index.frequencies == ("", "r")
    assert index.object_area.tolist() == [7.5, 8, 12]
    assert index.object_category.tolist() == [0, 0, 1]


NUMBERS = st.integers(-100, 900).map(lambda value: value / 100) | st.floats(-2, 10) | st.integers(-2, 9)
PARTS = st.lists(
    st.lists(NUMBERS, min_size=6, max_size=10).filter(lambda part: len(part) % 2 == 0), min_size=1, max_size=3
)
RLE = st.lists(st.booleans(), min_size=48, max_size=48).map(
    lambda bits: coco_mask.encode(np.asfortranarray(np.array(bits, np.uint8).reshape(6, 8)))
)


@settings(max_examples=150, deadline=None)
@given(st.lists(PARTS | RLE.map(lambda rle: {"size": rle["size"], "counts": rle["counts"].decode()}), max_size=6))
def test_every_coordinate_comes_back_and_every_verdict_is_the_checks(
    tmp_path_factory: pytest.TempPathFactory, segmentations: list[Any]
) -> None:
    """To the bit, so the masks are those of the JSON."""
    folder = tmp_path_factory.mktemp("one")
    annotations = [
        {"id": number, "image_id": 9, "category_id": 1, "segmentation": item}
        for number, item in enumerate(segmentations)
    ]
    tables, problems = read_json(write(folder, {**CONTENT, "annotations": annotations}))
    index = LvisIndex.of(tables)
    expected = {number: segmentation_problem(item, 6, 8) for number, item in enumerate(segmentations)}
    kept = [number for number, problem in expected.items() if problem is None]
    assert [index.object(place).id for place in range(index.object_count)] == kept
    assert [problem.sentence for problem in problems] == [f"{why}." for why in expected.values() if why]
    for place, number in enumerate(kept):
        found, item = index.segmentation(place), segmentations[number]
        if isinstance(item, list):
            assert [part.tolist() for part in found] == [[float(value) for value in part] for part in item]
        assert (draw(found, 6, 8) == draw(item, 6, 8)).all()


@settings(max_examples=300, deadline=None)
@given(st.lists(PARTS, min_size=1, max_size=4), st.integers(1, 40), st.integers(1, 40))
def test_verdicts_are_those_of_the_check(outlines: list[Any], height: int, width: int) -> None:
    values = np.array([value for parts in outlines for part in parts for value in part], np.float64)
    lengths = np.array([len(part) for parts in outlines for part in parts], np.int32)
    counts = np.array([len(parts) for parts in outlines], np.int32)
    sides = [np.full(len(outlines), side, np.int32) for side in (height, width)]
    found, _ = verdicts(values, lengths, counts, *sides)
    for verdict, parts in zip(found, outlines, strict=True):
        fine = verdict == FINE or (verdict == DOUBTFUL and hits_a_pixel(parts, height, width))
        assert fine == (segmentation_problem(parts, height, width) is None)


def test_a_second_opening_reads_no_json(path: Path, readings: list[Path]) -> None:
    first = contents(open_index(path))
    assert contents(open_index(path)) == first
    assert len(readings) == 1
    assert LvisDataSet(path).digest() == LvisDataSet(path, strict=False).digest()


def test_a_json_that_changes_while_it_is_read_is_refused(path: Path) -> None:
    text = path.read_text()

    def change(done: int, size: int) -> None:
        path.with_suffix(".new").write_text(text.replace('"dog"', '"mouse"'))
        path.with_suffix(".new").replace(path)  # who has it open reads the old one to its end

    with pytest.raises(InputError, match="changed while it was read"):
        open_index(path, change)
    assert not index_path(path).exists()
    assert open_index(path).categories == ("cup", "mouse")


def test_names_that_no_file_can_have_and_sizes_in_floats_are_sentences(path: Path) -> None:
    content = json.loads(path.read_text())
    content["images"][0]["coco_url"] = "x" * 300 + ".jpg"
    content["annotations"][0]["segmentation"]["size"] = [6.0, 8.0]
    path.write_text(json.dumps(content))
    data = LvisDataSet(path)
    assert ("annotation 11", "the RLE size is [6.0, 8.0], expected [6, 8] as the image says.") in data.index.left_out
    with pytest.raises(InputError, match="was not found"):
        data[0]


def test_small_files_are_not_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lvis_cache, "KEPT_FROM_BYTES", path.stat().st_size + 1)
    kept = open_index(path)
    assert not index_path(path).exists()
    monkeypatch.setattr(lvis_cache, "KEPT_FROM_BYTES", path.stat().st_size)
    assert contents(open_index(path)) == contents(kept)
    assert index_path(path).exists()


def test_it_is_built_anew_when_the_json_changes(path: Path, readings: list[Path]) -> None:
    open_index(path)
    text = path.read_text()
    path.write_text(text.replace('"dog"', '"cat"'))  # as long as before
    assert open_index(path).categories == ("cup", "cat")
    path.write_text(text.replace('"dog"', '"mouse"'))
    assert open_index(path).categories == ("cup", "mouse")
    assert len(readings) == 3


def test_a_change_that_keeps_size_and_time_is_noticed(path: Path) -> None:
    """As rsync and tar leave it: the system's own time of the last change tells."""
    open_index(path)
    before = path.stat()
    time.sleep(0.02)  # of which it has no finer notion
    path.write_text(path.read_text().replace('"dog"', '"cat"'))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert open_index(path).categories == ("cup", "cat")


def test_a_json_that_was_only_touched_is_not_read_again(
    path: Path, readings: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    digests: list[Path] = []
    digest = lvis_cache._digest
    monkeypatch.setattr(lvis_cache, "_digest", lambda path: (digests.append(path), digest(path))[1])
    first = contents(open_index(path))
    assert not digests
    copies = [path.with_suffix(f".{number}") for number in range(3)]
    for copy in copies:
        time.sleep(0.02)
        copy.write_bytes(path.read_bytes())
    for place in (0, 1, 2, 1, 0):  # say, each machine has a copy of its own at this place, and they share the cache
        path.unlink()
        path.hardlink_to(copies[place])
        assert contents(open_index(path)) == first
        assert contents(open_index(path)) == first
    assert len(readings) == 1
    index_path(path).with_suffix(".seen").write_text("[[1, 2")
    assert contents(open_index(path)) == first
    assert len(readings) == 1


def test_an_index_of_another_json_is_not_taken(path: Path, tmp_path: Path, readings: list[Path]) -> None:
    first = contents(open_index(path))
    (tmp_path / "other").mkdir()
    other = write(tmp_path / "other", {**CONTENT, "annotations": CONTENT["annotations"][:2]})
    open_index(other)
    index_path(path).write_bytes(index_path(other).read_bytes())
    assert contents(open_index(path)) == first
    assert len(readings) == 3


def test_two_files_of_one_name_have_an_index_each(path: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = write(tmp_path / "other", {**CONTENT, "annotations": []})
    assert (open_index(path).object_count, open_index(other).object_count, open_index(path).object_count) == (3, 0, 3)


def beginning(version: int, length: int) -> bytes:
    """Of an index, as far as every version has it."""
    words = MAGIC + struct.pack("<IQI", version, length, 0)
    return words + struct.pack("<I", zlib.crc32(words))


def test_a_damaged_index_is_built_anew(path: Path, readings: list[Path]) -> None:
    first = contents(open_index(path))
    kept = index_path(path)
    whole = kept.read_bytes()
    assert whole.startswith(MAGIC + struct.pack("<IQ", VERSION, 4096 - len(beginning(0, 0))))
    spoilt = [whole[:length] for length in (0, 5, len(MAGIC) + 3, len(MAGIC) + 12, 200, 4096, 5000, len(whole) - 1)]
    spoilt += [
        whole.replace(b'"cup"', b'"cap"'),
        b"x" + whole[1:],
        whole + b"x",
        whole.replace(b'"lengths"', b'"lentghs"'),
    ]
    spoilt += [beginning(VERSION, 2**60) + whole[len(beginning(0, 0)) :]]
    spoilt += [beginning(VERSION - 1, 9) + whole[len(beginning(0, 0)) :]]
    spoilt += [MAGIC + struct.pack("<I", VERSION + 1) + whole[len(MAGIC) + 4 :]]  # no newer version: a damaged number
    spoilt += [MAGIC + struct.pack("<IQ", 1, 9) + b"00000000{}"]  # as the first version had it
    for number, content in enumerate(spoilt, start=2):
        kept.write_bytes(content)
        assert contents(open_index(path)) == first
        assert len(readings) == number
        assert kept.read_bytes() == whole


@pytest.fixture
def pages(path: Path) -> Path:
    """A JSON whose index takes a dozen pages, most of them not needed for opening it."""
    rng = np.random.default_rng(0)
    outlines = [[rng.integers(0, 500, 90).tolist()], [rng.uniform(0, 5, 40).tolist()] * 2, UNCOMPRESSED]
    images = [
        {"id": number, "height": 6, "width": 8, "file_name": f"a folder/photo {number}.jpg"} for number in range(40)
    ]
    annotations = [
        {"id": number, "image_id": number % 40, "category_id": 1, "area": 5.5, "segmentation": outlines[number % 3]}
        for number in range(120)
    ]
    for entry in annotations:  # coordinates in hundredths, in all digits, and run lengths
        if entry["segmentation"] is outlines[0]:
            entry["segmentation"] = [[value / 100 for value in outlines[0][0]]]
    path.write_text(json.dumps({**CONTENT, "images": images, "annotations": annotations}))
    return path


def damaged(whole: bytes, rng: np.random.Generator) -> bytes:
    """One bit or one byte changed, a page lost, or two of them exchanged."""
    content = bytearray(whole)
    kind, place = rng.integers(4), int(rng.integers(len(whole)))
    if kind < 2:
        content[place] ^= int(rng.integers(1, 256)) if kind else 1 << int(rng.integers(8))
    elif kind == 2:
        page = place - place % 4096
        content[page : page + 4096] = bytes(len(content[page : page + 4096]))
    else:
        first, second = (4096 * int(number) for number in rng.permutation(len(whole) // 4096)[:2])
        content[first : first + 4096], content[second : second + 4096] = (
            content[second : second + 4096],
            content[first : first + 4096],
        )
    return bytes(content)


def test_damage_anywhere_is_built_anew_or_a_sentence_and_never_a_wrong_object(
    pages: Path, readings: list[Path]
) -> None:
    first = contents(open_index(pages))
    kept = index_path(pages)
    whole = kept.read_bytes()
    assert len(whole) > 12 * 4096
    outcomes = Counter[str]()
    rng = np.random.default_rng(0)
    while outcomes.total() < 150:
        content = damaged(whole, rng)
        if content == whole:  # two pages of nothing, exchanged
            continue
        kept.write_bytes(content)
        before = len(readings)
        try:
            found = contents(open_index(pages))
        except DamagedError:
            assert not kept.exists()
            outcomes["a sentence"] += 1
        else:
            assert found == first
            outcomes["built anew" if len(readings) > before else "not noticed"] += 1
    assert outcomes["not noticed"] == 0
    assert min(outcomes["built anew"], outcomes["a sentence"]) > 20
    assert contents(open_index(pages)) == first


def test_damage_hides_from_no_first_look(pages: Path) -> None:
    """Each way to look into the index by itself: nothing else has summed up the damaged page before."""
    open_index(pages)
    kept = index_path(pages)
    whole = kept.read_bytes()
    numbers = range(120)
    looks: list[Callable[[LvisIndex], Any]] = [
        lambda index: [index.object(number) for number in numbers],
        lambda index: [index.segmentation(number) for number in numbers],
        lambda index: [index.image_of(number) for number in numbers],
        lambda index: [index.image(number) for number in range(40)],
        lambda index: [index.group(number) for number in range(40)],
        lambda index: index.object_area.tolist(),
        lambda index: index.object_category.tolist(),
    ]
    expected = [repr(look(open_index(pages))) for look in looks]
    noticed = Counter[int]()
    for page in range(4096, len(whole) - 4096, 4096):
        for place, look in enumerate(looks):
            kept.write_bytes(
                whole[:page] + bytes(byte ^ 255 for byte in whole[page : page + 4096]) + whole[page + 4096 :]
            )
            index = read_index(kept)
            if index is None:  # a page that opening looks at
                continue
            try:
                assert repr(look(index)) == expected[place]
            except DamagedError:
                noticed[place] += 1
    assert all(noticed[place] for place in range(len(looks)))


def test_whoever_finds_the_damage_removes_no_index_but_his_own(pages: Path) -> None:
    open_index(pages)
    kept = index_path(pages)
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-6000] + bytes(1000) + whole[-5000:])
    index = open_index(pages)
    kept.unlink()
    kept.write_bytes(whole)  # another process has built it anew
    with pytest.raises(
        InputError, match=r"index: the index is damaged and was removed; start again, and it is built anew\.$"
    ):
        contents(index)
    assert kept.read_bytes() == whole


def test_damage_in_a_folder_that_cannot_be_written_to_is_the_users_to_remove(
    pages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_index(pages)
    kept = index_path(pages)
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-6000] + bytes(1000) + whole[-5000:])

    def refuse(self: Path, missing_ok: bool = False) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(
        InputError, match=r"damaged and cannot be removed \(Permission denied\); delete it and start again"
    ):
        contents(open_index(pages))


def test_an_index_of_a_newer_version_is_refused_and_left(path: Path) -> None:
    open_index(path)
    kept = index_path(path)
    newer = beginning(VERSION + 1, 9) + b"whatever"
    kept.write_bytes(newer)
    with pytest.raises(
        InputError, match=rf"index of version {VERSION + 1}, this mfpgan reads {VERSION}; update mfpgan"
    ):
        open_index(path)
    assert kept.read_bytes() == newer


def test_a_wrong_or_cut_json_leaves_nothing(path: Path) -> None:
    text = path.read_text()
    for broken in (text[: len(text) // 2], text.replace('"image_id": 4', '"image_id": 77')):
        path.write_text(broken)
        with pytest.raises(InputError, match=r"lvis_v1_train\.json"):
            open_index(path)
        assert [item.suffix for item in index_path(path).parent.iterdir()] == [".lock"]


@pytest.mark.parametrize("fault", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_build_that_breaks_off_leaves_nothing(
    fault: BaseException, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(file: BinaryIO, tables: Any) -> None:
        file.write(MAGIC)
        raise fault

    with monkeypatch.context() as patch:
        patch.setattr(lvis_cache, "write_index", half)
        expected = InputError if isinstance(fault, OSError) else KeyboardInterrupt
        with pytest.raises(expected) as caught:
            open_index(path)
    if isinstance(fault, OSError):
        assert "cannot be kept there (No space left on device); make room" in str(caught.value)
    assert [item.suffix for item in index_path(path).parent.iterdir()] == [".lock"]
    # What a killed process could not clear away, the next build does.
    remains = index_path(path).parent / f".{index_path(path).name}.abc.part"
    remains.write_bytes(MAGIC)
    open_index(path)
    assert not remains.exists()


def test_a_build_that_is_killed_hurts_nobody_who_waits(path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from mfpgan.data import lvis_cache as c; c.KEPT_FROM_BYTES = 0\n"
        "write = c.write_index\n"
        "def slow(file, tables): write(file, tables); file.flush(); print('written', flush=True); time.sleep(60)\n"
        "c.write_index = slow; c.open_index(Path(sys.argv[1]))"
    )
    words = [sys.executable, "-c", script, str(path)]
    kept = index_path(path)
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as builder, ThreadPoolExecutor(1) as pool:
        assert builder.stdout is not None
        assert builder.stdout.readline() == "written\n"
        assert not kept.exists()
        waiting = pool.submit(open_index, path)
        with pytest.raises(FutureTimeoutError):
            waiting.result(timeout=0.2)
        builder.kill()
        assert waiting.result(timeout=30).object_count == 3
    assert {item.name for item in kept.parent.iterdir()} == {kept.name, f"{kept.name}.lock"}


def test_processes_that_build_at_once_do_not_hurt_each_other(path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from mfpgan.data import lvis_cache as c; c.KEPT_FROM_BYTES = 0\n"
        "read = c.read_json\n"
        "def slow(*a): print('read', flush=True); time.sleep(.5); return read(*a)\n"
        "c.read_json = slow; print(c.open_index(Path(sys.argv[1])).object_count)"
    )
    words = [sys.executable, "-c", script, str(path)]
    started = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = sorted(process.communicate(timeout=60)[0].split() for process in started)
    assert answers == [["3"], ["read", "3"]], "one builds, the other waits"


def test_an_unwritable_cache_is_a_sentence(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MFPGAN_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match=r"index of lvis_v1_train\.json cannot be kept there .*MFPGAN_CACHE"):
        open_index(path)


def test_another_process_gets_a_path_and_not_a_copy(path: Path) -> None:
    index = open_index(path)
    packed = pickle.dumps(index)
    assert len(packed) < 1000
    assert contents(pickle.loads(packed)) == contents(index)
    text = path.read_text()
    path.write_text(text.replace('"dog"', '"mouse"'))
    open_index(path)
    with pytest.raises(InputError, match="removed or replaced"):
        pickle.loads(packed)
    path.write_text(text)
    index = open_index(path)
    index_path(path).unlink()
    with pytest.raises(InputError, match="removed or replaced"):
        pickle.loads(packed)
    in_memory = LvisIndex.of(read_json(path)[0])
    assert contents(pickle.loads(pickle.dumps(in_memory))) == contents(index)


def test_every_array_has_a_fixed_type(path: Path) -> None:
    index = open_index(path)
    for name, kind in lvis_index.ARRAYS.items():
        array = index._columns.part(name)
        assert array.dtype == kind
        assert not array.flags.writeable
