"""BSDS500's .mat files, whole and damaged: label maps, or one sentence."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile import FUZZ, damaged, reading
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from scipy.io import savemat

from mfpgan.data import mat_file
from mfpgan.data.bsds500 import Bsds500DataSet, read_segmentations
from mfpgan.photos import MAX_PIXELS
from mfpgan.types import InputError

HEIGHT, WIDTH = 10, 12
MAPS = [
    np.where(np.arange(WIDTH) < column, 1, 2)[None].repeat(HEIGHT, axis=0).astype(np.uint16) for column in (6, 6, 7)
]


def mat(maps: list[Any], field: str = "Segmentation", name: str = "groundTruth", **options: Any) -> bytes:
    """A cell of structs, as BSDS500 has them."""
    cells = np.empty((1, len(maps)), object)
    for number, labels in enumerate(maps):
        cells[0, number] = {field: labels, "Boundaries": np.zeros((2, 2), np.uint8)}
    file = io.BytesIO()
    savemat(file, {name: cells}, **options)
    return file.getvalue()


BASES = [mat(MAPS), mat(MAPS, do_compression=True), mat([labels.astype(float) for labels in MAPS])]


def read(path: Path) -> list[NDArray[np.int64]] | None:
    """What the reader gives, held against its contract."""
    maps = reading(path, lambda: read_segmentations(path))
    if maps is not None:
        assert maps
        assert {labels.shape for labels in maps} == {maps[0].shape}
        assert all(labels.ndim == 2 and labels.dtype == np.int64 for labels in maps)
        assert 0 < maps[0].size <= MAX_PIXELS
    return maps


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bsds500")
    for name in ("groundTruth", "images"):
        (folder / name / "test").mkdir(parents=True)
    Image.new("RGB", (WIDTH, HEIGHT), (1, 2, 3)).save(folder / "images" / "test" / "a.jpg")
    return folder


@pytest.mark.parametrize("base", BASES)
def test_the_valid_files_give_their_maps(base: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    path.write_bytes(base)
    maps = read(path)
    assert maps is not None
    assert np.array_equal(maps, MAPS)


@FUZZ
@given(case=st.sampled_from(BASES).flatmap(lambda base: st.tuples(st.just(base), damaged(base))))
def test_a_damaged_file(root: Path, case: tuple[bytes, bytes]) -> None:
    path = root / "groundTruth" / "test" / "a.mat"
    path.write_bytes(case[1])
    maps = read(path)
    if maps is not None and case[0] == BASES[1]:  # compressed, as BSDS500's are, and so with a checksum
        assert np.array_equal(maps, MAPS)
    data = reading(path, lambda: Bsds500DataSet(root, "test"))
    assert (data is None) == (maps is None)
    for index in range(len(data or [])):
        sample = reading(root / "images" / "test" / "a.jpg", lambda index=index: data[index])
        assert (sample is None) == (maps[0].shape != (HEIGHT, WIDTH))
        if sample is not None:
            assert sample.image.shape == (HEIGHT, WIDTH, 3)
            assert sample.target.shape == (HEIGHT, WIDTH)
            assert any(len(np.unique(labels[sample.target])) == 1 for labels in maps), (
                "an object is one region of somebody's"
            )


SHAPES = st.lists(st.integers(0, 6), min_size=0, max_size=3).map(tuple)
DTYPES = ["u1", "i1", "u2", "i4", "i8", "u8", "f4", "f8", "c16", "?"]


@st.composite
def odd_maps(draw: st.DrawFn) -> Any:
    """What may stand in place of a label map."""
    shape = draw(SHAPES | st.just((HEIGHT, WIDTH)))
    kind = np.dtype(draw(st.sampled_from(DTYPES)))
    fill = draw(
        st.sampled_from([0, 1, 2, 7, 255]) | st.sampled_from([-1, 0.5, float("nan"), float("inf"), 1e300, 2**63])
    )
    with np.errstate(all="ignore"):
        array = np.full(shape, 1).astype(kind)
        if array.size and np.can_cast(np.min_scalar_type(fill), kind):
            array.flat[0] = fill
    return draw(st.sampled_from([array, array, array, "text", {"a": array}, [], np.array([{}, 3], object)]))


@FUZZ
@given(
    maps=st.lists(st.sampled_from(MAPS) | odd_maps(), max_size=4),
    field=st.sampled_from(["Segmentation"] * 6 + ["segmentation"]),
    name=st.sampled_from(["groundTruth"] * 6 + ["truth"]),
    options=st.sampled_from([{}, {"do_compression": True}]),
)
def test_odd_contents(tmp_path: Path, maps: list[Any], field: str, name: str, options: dict[str, Any]) -> None:
    path = tmp_path / "a.mat"
    path.write_bytes(mat(maps, field, name, **options))
    found = read(path)
    if found is not None:
        assert (field, name) == ("Segmentation", "groundTruth")
        for labels, original in zip(found, maps, strict=True):
            assert np.array_equal(labels, np.atleast_2d(original))


@pytest.mark.parametrize(
    ("maps", "words"),
    [
        ([np.full((2, 3), 0.5)], "whole numbers"),
        ([np.full((2, 3), np.nan)], "whole numbers"),
        ([np.full((2, 3), 1j)], "else than real numbers"),
        ([np.zeros((0, 3))], "one size"),
        ([np.zeros((2, 3)), np.zeros((3, 2))], "one size"),
        ([np.zeros((2, 3, 4))], "one size"),
        ([], "one size"),
    ],
)
def test_what_is_no_label_map_is_refused(maps: list[Any], words: str, tmp_path: Path) -> None:
    (tmp_path / "a.mat").write_bytes(mat(maps))
    with pytest.raises(InputError, match=rf"a\.mat: .*{words}"):
        read_segmentations(tmp_path / "a.mat")


def test_a_variable_that_breaks_off_or_unpacks_to_gigabytes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first ends the process in SciPy 1.17."""
    monkeypatch.setattr(mat_file, "LARGEST_BYTES", 1 << 20)
    packed = zlib.compress(bytes(2 << 20))
    for body in (BASES[1][136:-20], packed):
        (tmp_path / "a.mat").write_bytes(BASES[1][:128] + struct.pack("<II", 15, len(body)) + body)
        with pytest.raises(InputError, match=r"a\.mat: .*breaks off or has more than"):
            read_segmentations(tmp_path / "a.mat")


def test_files_of_machines_that_write_the_high_byte_first(tmp_path: Path) -> None:
    def element(kind: int, body: bytes) -> bytes:
        return struct.pack(">II", kind, len(body)) + body + bytes(-len(body) % 8)

    def array(kind: int, shape: tuple[int, int], name: bytes, *inner: bytes) -> bytes:
        head = element(6, struct.pack(">II", kind, 0)) + element(5, struct.pack(">ii", *shape)) + element(1, name)
        return element(14, head + b"".join(inner))

    labels = array(11, (2, 3), b"", element(4, struct.pack(">6H", 1, 4, 2, 5, 3, 600)))  # column by column
    fields = element(5, struct.pack(">i", 16)), element(1, b"Segmentation".ljust(16, b"\0"))
    cells = array(1, (1, 1), b"groundTruth", array(2, (1, 1), b"", *fields, labels))
    (tmp_path / "a.mat").write_bytes(bytes(124) + b"\x01\x00MI" + cells)
    assert read_segmentations(tmp_path / "a.mat")[0].tolist() == [[1, 2, 3], [4, 5, 600]]
