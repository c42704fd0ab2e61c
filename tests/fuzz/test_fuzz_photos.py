"""Photos and masks of every kind that PIL writes, whole and damaged: the pixels, or one sentence."""

from __future__ import annotations

import functools
import io
import itertools
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
from PIL import EpsImagePlugin, Image

from mfpgan.data.folder import FolderDataSet
from mfpgan.photos import MAX_PIXELS, LastPhoto, read_mask, read_photo
from mfpgan.types import InputError

HEIGHT, WIDTH = 12, 16
KINDS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "a.jpg": (("L", "RGB", "CMYK"), {"quality": 90}),
    "progressive.jpg": (("L", "RGB", "CMYK"), {"progressive": True}),
    "a.png": (("1", "L", "LA", "P", "PT", "RGB", "RGBA", "I;16"), {}),
    "small.png": (("1", "P"), {"bits": 2}),
    "a.bmp": (("1", "L", "P", "RGB", "RGBA"), {}),
    "a.webp": (("RGB", "RGBA"), {"lossless": True}),
    "lossy.webp": (("RGB", "RGBA"), {}),
    "a.gif": (("1", "L", "P", "PT"), {}),
    "a.ppm": (("1", "L", "RGB", "I;16"), {}),
    "a.tif": (("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I;16B", "I", "F"), {}),
    "deflate.tif": (("1", "L", "P", "RGB", "I;16"), {"compression": "tiff_adobe_deflate"}),
    "lzw.tif": (("1", "L", "P", "RGB", "I;16"), {"compression": "tiff_lzw"}),
    "jpeg.tif": (("L", "RGB", "YCbCr"), {"compression": "jpeg"}),
    "packbits.tif": (("1", "L", "P", "RGB"), {"compression": "packbits"}),
}
"""File, modes ("PT" is a palette with a transparent colour) and options; the name also names the case."""
CASES = [(name, mode) for name, (modes, _) in KINDS.items() for mode in modes]
LOSSLESS = {"a.png", "a.bmp", "a.webp", "a.ppm", "a.tif", "deflate.tif", "lzw.tif", "packbits.tif"}


def drawn(mode: str) -> Image.Image:
    """A picture with a few values, as label maps have them."""
    rng = np.random.default_rng(5)
    labels = np.kron(rng.integers(0, 4, (3, 4)), np.ones((4, 4), np.int64)).astype(np.uint8)
    if mode in ("P", "PT", "PA"):
        palette = Image.fromarray(labels)
        palette.putpalette(rng.integers(0, 256, 768).tolist())
        return palette.convert("PA") if mode == "PA" else palette
    if mode == "I;16B":
        return Image.frombytes("I;16B", (WIDTH, HEIGHT), labels.astype(">u2").tobytes())
    if mode in ("I;16", "I", "F"):
        return Image.fromarray(labels.astype({"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]) * 40)
    if mode == "1":
        return Image.fromarray(labels > 1)
    if mode == "L":
        return Image.fromarray(labels * 40)
    bands = len(Image.new(mode, (1, 1)).getbands())
    channels = [Image.fromarray((labels * 40 + 17 * band).astype(np.uint8)) for band in range(bands)]
    return Image.merge(mode, channels)


@functools.cache
def content_of(name: str, mode: str, orientation: int = 0) -> bytes:
    options = dict(KINDS[name][1])
    if mode == "PT":
        options["transparency"] = 1
    if orientation:
        exif = Image.Exif()
        exif[0x0112] = orientation
        options["exif"] = exif
    file = io.BytesIO()
    drawn(mode).save(file, {"jpg": "JPEG", "tif": "TIFF"}.get(name.split(".")[1], name.split(".")[1]), **options)
    return file.getvalue()


def as_rgb(picture: Image.Image, mode: str) -> NDArray[np.float64]:
    """(H, W, 3): what a viewer shows, by arithmetic instead of PIL's conversions where that is possible."""
    values = np.asarray(picture).astype(np.float64)
    if mode in ("P", "PT"):
        palette = np.reshape(picture.getpalette(), (-1, 3)).astype(np.float64)
        rgb = palette[np.asarray(picture)]
        if mode == "PT":
            rgb[np.asarray(picture) == 1] = 255
        return rgb
    if mode in ("LA", "RGBA"):
        colour = np.repeat(values[:, :, :1], 3, axis=2) if mode == "LA" else values[:, :, :3]
        alpha = values[:, :, -1:] / 255
        return colour * alpha + 255 * (1 - alpha)
    if mode == "CMYK":
        return (255 - values[:, :, :3]) * (255 - values[:, :, 3:]) / 255
    if mode == "RGB":
        return values
    scale = {"1": 255.0, "L": 1.0, "I;16": 1 / 257, "I;16B": 1 / 257, "I": 1 / 257}[mode]
    return np.repeat(values[:, :, None] * scale, 3, axis=2)


def must_be_a_photo(image: NDArray[np.uint8]) -> None:
    assert image.dtype == np.uint8
    assert image.ndim == 3
    assert image.shape[2] == 3
    assert 0 < image.shape[0] * image.shape[1] <= MAX_PIXELS


@pytest.mark.parametrize(("name", "mode"), CASES)
def test_every_kind_of_photo_shows_what_a_viewer_shows(name: str, mode: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content_of(name, mode))
    image = reading(path, lambda: read_photo(path))
    if mode == "F":
        assert image is None
        return
    assert image is not None
    assert image.shape == (HEIGHT, WIDTH, 3)
    if (
        name in LOSSLESS and mode not in ("YCbCr", "PA", "LAB") and (name, mode) != ("a.bmp", "RGBA")
    ):  # PIL takes no alpha there
        assert np.abs(image - as_rgb(drawn(mode), mode)).max() <= 1


@pytest.mark.parametrize(("name", "mode"), CASES)
def test_a_mask_keeps_its_numbers_or_is_refused(name: str, mode: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content_of(name, mode))
    labels = reading(path, lambda: read_mask(path))
    if mode in ("1", "L", "P", "PT", "I;16", "I;16B", "I") and (name in LOSSLESS or name == "a.gif"):
        assert labels is not None
        original = np.asarray(drawn(mode))
        if name == "a.gif" and mode == "1":  # a GIF has a palette of two
            assert len(np.unique(labels)) == 2
        elif name != "a.gif":
            assert np.array_equal(labels, original)
    elif mode in ("CMYK", "YCbCr", "LAB", "F", "RGB", "RGBA"):
        assert labels is None


@pytest.mark.parametrize(("name", "mode"), [("a.jpg", "RGB"), ("a.png", "RGB"), ("a.webp", "RGB"), ("a.tif", "RGB")])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pixels_stay_where_they_are_stored(name: str, mode: str, orientation: int, tmp_path: Path) -> None:
    path, plain = tmp_path / name, tmp_path / f"plain {name}"
    path.write_bytes(content_of(name, mode, orientation))
    plain.write_bytes(content_of(name, mode))
    with Image.open(path) as picture:
        assert picture.getexif()[0x0112] == orientation
    assert np.array_equal(read_photo(path), read_photo(plain))


CONTENTS = st.sampled_from([*CASES, *(case for case in CASES if case[0] in ("a.jpg", "a.png"))]).flatmap(
    lambda case: st.tuples(
        st.just(case[0]), st.sampled_from([0, 0, 6]).flatmap(lambda turn: damaged(content_of(*case, turn)))
    )
)


@FUZZ
@given(case=CONTENTS, reduction=st.sampled_from([1, 1, 2, 4, 8]))
def test_a_damaged_photo(tmp_path: Path, case: tuple[str, bytes], reduction: int) -> None:
    path = tmp_path / case[0]
    path.write_bytes(case[1])
    image = reading(path, lambda: LastPhoto().look(path, (HEIGHT, WIDTH), "a.json", reduction))
    if image is not None:
        must_be_a_photo(image)
        smaller = (-(-HEIGHT // reduction), -(-WIDTH // reduction), 3)
        assert image.shape in ((HEIGHT, WIDTH, 3), smaller)
    whole = reading(path, lambda: read_photo(path))
    if whole is not None:
        must_be_a_photo(whole)


@FUZZ
@given(case=CONTENTS)
def test_a_damaged_mask(tmp_path: Path, case: tuple[str, bytes]) -> None:
    path = tmp_path / case[0]
    path.write_bytes(case[1])
    labels = reading(path, lambda: read_mask(path))
    if labels is not None:
        assert (labels.dtype, labels.ndim) == (np.uint8, 2)
        assert 0 < labels.size <= MAX_PIXELS


@FUZZ
@given(
    photo=CONTENTS,
    mask=CONTENTS,
    whole=st.sampled_from([None, "photo", "mask"]),
    ignore=st.sampled_from([None, 1, 3, 255]),
)
def test_a_folder_of_a_photo_and_a_mask(
    tmp_path: Path, photo: tuple[str, bytes], mask: tuple[str, bytes], whole: str | None, ignore: int | None
) -> None:
    for place, content in (
        ("images/a.jpg", content_of("a.jpg", "RGB") if whole == "photo" else photo[1]),
        ("masks/a.png", content_of("a.png", "P") if whole == "mask" else mask[1]),
    ):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_bytes(content)
    mask_path, photo_path = tmp_path / "masks" / "a.png", tmp_path / "images" / "a.jpg"
    data = reading(mask_path, lambda: FolderDataSet(tmp_path, ignore_value=ignore))
    if data is None:
        return
    labels, values = read_mask(mask_path), []
    for index in range(len(data)):
        sample = reading(photo_path, lambda index=index: data[index])
        if sample is None:
            continue
        must_be_a_photo(sample.image)
        assert sample.image.shape[:2] == labels.shape == sample.target.shape
        values += np.unique(labels[sample.target]).tolist()
        assert sample.target.sum() == (labels == values[-1]).sum() == data.facts().area_px[index]
        assert (sample.ignore is None) == (ignore is None)
        assert ignore is None or (sample.ignore == (labels == ignore)).all()
    assert values in ([], [value for value in np.unique(labels).tolist() if value not in (0, ignore)])


def test_no_flipped_bit_turns_a_png_into_another_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    content = content_of("a.png", "L")
    path.write_bytes(content)
    truth, readable = read_mask(path), 0
    for place, bit in itertools.product(range(len(content)), range(8)):
        flipped = bytearray(content)
        flipped[place] ^= 1 << bit
        path.write_bytes(flipped)
        try:
            labels = read_mask(path)
        except InputError:
            continue
        readable += 1
        assert np.array_equal(labels, truth), f"byte {place}, bit {bit}"
    assert readable == 64  # the length and the sum of the last, empty chunk


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, depth: int = 8, colour: int = 0, data: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


BOMBS = {
    "png": png,
    "bmp": lambda width, height: b"BM" + struct.pack("<IHHIIiiHHIIiiII", 60, 0, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0),
    "ppm": lambda width, height: f"P6 {width} {height} 255\n".encode(),
    "gif": lambda width, height: b"GIF89a" + struct.pack("<HHBBB", min(width, 65535), min(height, 65535), 0xF0, 0, 0)
    + bytes(6) + b"," + struct.pack("<HHHHB", 0, 0, min(width, 65535), min(height, 65535), 0) + b"\x02\x01\x00\x00;",
    "jpg": lambda width, height: content_of("a.jpg", "RGB").replace(
        struct.pack(">HH", HEIGHT, WIDTH), struct.pack(">HH", min(height, 65535), min(width, 65535)), 1
    ),
    "tif": lambda width, height: b"II*\x00\x08\x00\x00\x00" + struct.pack(
        "<H" + "HHII" * 8, 8, 256, 4, 1, width, 257, 4, 1, height, 258, 3, 1, 8, 259, 3, 1, 1, 262, 3, 1, 1, 273, 4, 1, 8, 278, 4, 1, height,
        279, 4, 1, 1,
    ) + bytes(4),
}  # fmt: skip
"""Files of some bytes that claim to be huge pictures."""


@pytest.mark.parametrize("kind", BOMBS)
@pytest.mark.parametrize("side", [20_000, 65_500, 10**9])
def test_a_claim_of_gigapixels_is_refused_before_memory_is_taken(kind: str, side: int, tmp_path: Path) -> None:
    path = tmp_path / f"bomb.{kind}"
    path.write_bytes(BOMBS[kind](side, side))
    for read in (read_photo, read_mask):
        assert reading(path, lambda read=read: read(path)) is None
        with pytest.raises(InputError, match="more than 89 million pixels"):
            read(path)


def test_a_picture_that_would_start_a_program_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PIL hands EPS to Ghostscript, whatever the file is called."""
    started: list[object] = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *arguments, **options: started.append(arguments))
    path = tmp_path / "a.jpg"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 12\n%%EndComments\nshowpage\n%%EOF\n")
    with Image.open(path) as picture:
        assert picture.format == "EPS"  # PIL alone would take it
    for read in (read_photo, read_mask):
        assert reading(path, lambda read=read: read(path)) is None
    assert not started
