"""Photos and masks from disk: pixels as stored, and one sentence for everything that is not a picture."""

from __future__ import annotations

import contextlib
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from mfpgan.photos import LastPhoto, read_mask, read_photo
from mfpgan.types import InputError

RED, GREY = (200, 10, 30), 77


def save(picture: Image.Image, path: Path, **options: object) -> Path:
    picture.save(path, **options)
    return path


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("RGB", RED, RED),
        ("L", GREY, (GREY,) * 3),
        ("1", 1, (255,) * 3),
        ("RGBA", (*RED, 255), RED),
        ("RGBA", (*RED, 0), (255, 255, 255)),
        ("LA", (GREY, 255), (GREY,) * 3),
        ("I;16", 65535, (255,) * 3),
        ("I;16", 257 * GREY, (GREY,) * 3),
    ],
)
def test_every_kind_of_png_becomes_rgb(tmp_path: Path, mode: str, colour: object, expected: tuple[int, ...]) -> None:
    image = read_photo(save(Image.new(mode, (5, 3), colour), tmp_path / "a.png"))
    assert image.dtype == np.uint8
    assert image.shape == (3, 5, 3)
    assert (image == expected).all()


def test_palette_and_cmyk_become_rgb(tmp_path: Path) -> None:
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, *RED])
    assert (read_photo(save(palette, tmp_path / "a.png")) == RED).all()
    assert (read_photo(save(palette, tmp_path / "b.png", transparency=1)) == 255).all()  # transparent lies on white
    white = read_photo(save(Image.new("CMYK", (4, 4), (0, 0, 0, 0)), tmp_path / "c.jpg"))
    assert white.shape == (4, 4, 3)
    assert (white > 250).all()


def test_exif_rotation_is_not_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn by 90 degrees to view"
    assert read_photo(save(Image.new("RGB", (8, 4)), tmp_path / "a.jpg", exif=exif)).shape == (4, 8, 3)


def test_truncated_jpeg_and_missing_file_name_the_file(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    path = save(Image.fromarray(noise), tmp_path / "cut.jpg")
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(InputError, match=r"cut\.jpg: not readable as a picture"):
        read_photo(path)
    with pytest.raises(InputError, match=r"gone\.jpg: no such file"):
        read_photo(tmp_path / "gone.jpg")


def test_a_picture_of_400_megapixels_is_refused(tmp_path: Path) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0))
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    for read in (read_photo, read_mask):
        with pytest.raises(InputError, match="is refused"):
            read(tmp_path / "bomb.png")


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "webp"])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1), value=st.binary(min_size=1, max_size=4), cut=st.floats(0.1, 1))
def test_damaged_files_end_in_input_error_or_in_a_photo(
    tmp_path: Path, suffix: str, place: float, value: bytes, cut: float
) -> None:
    path = tmp_path / f"a.{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    content = bytearray(save(Image.fromarray(noise), path).read_bytes())
    start = int(place * (len(content) - len(value)))
    content[start : start + len(value)] = value
    path.write_bytes(bytes(content[: int(cut * len(content))]))
    for read in (read_photo, read_mask):
        with contextlib.suppress(InputError):
            assert read(path).dtype == np.uint8


def test_masks_keep_their_numbers(tmp_path: Path) -> None:
    labels = np.array([[0, 1, 2], [3, 128, 255]], np.uint8)
    assert (read_mask(save(Image.fromarray(labels), tmp_path / "grey.png")) == labels).all()
    palette = Image.fromarray(labels, "L").convert("P")
    palette.putdata(labels.ravel().tolist())
    palette.putpalette(list(range(255, -1, -1)) * 3)
    assert (read_mask(save(palette, tmp_path / "palette.png")) == labels).all()
    one_bit = Image.fromarray(labels > 2)
    assert (read_mask(save(one_bit, tmp_path / "bit.png")) == (labels > 2)).all()
    as_rgb = Image.fromarray(np.repeat(labels[:, :, None], 3, axis=2))
    assert (read_mask(save(as_rgb, tmp_path / "rgb.png")) == labels).all()
    assert (read_mask(save(Image.fromarray(labels.astype(np.uint16)), tmp_path / "wide.png")) == labels).all()


def test_a_mask_in_colour_or_beyond_255_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="in colour"):
        read_mask(save(Image.new("RGB", (4, 4), RED), tmp_path / "a.png"))
    with pytest.raises(InputError, match="up to 300"):
        read_mask(save(Image.new("I;16", (4, 4), 300), tmp_path / "b.png"))


def test_last_photo_hands_out_copies_and_checks_the_size(tmp_path: Path) -> None:
    path = save(Image.new("RGB", (5, 3), RED), tmp_path / "a.png")
    reader = LastPhoto()
    reader.read(path, (3, 5), "a.json")[:] = 0
    assert (reader.read(path, (3, 5), "a.json") == RED).all()
    with pytest.raises(InputError, match=r"5x3 pixels but a\.json is for 3x5"):
        reader.read(path, (5, 3), "a.json")


def test_a_jpeg_is_decoded_smaller_and_stays_where_it_is(tmp_path: Path) -> None:
    rows, columns = np.mgrid[:77, :101]
    waves = np.stack([127 + 100 * np.sin(rows / 12), 127 + 100 * np.sin(columns / 15), (rows + columns) / 1.0], axis=2)
    path = save(Image.fromarray(waves.astype(np.uint8)), tmp_path / "a.jpg", quality=95, subsampling=0)
    whole = read_photo(path).astype(float)
    for reduction in (2, 4, 8):
        small = read_photo(path, reduction)
        assert small.shape == (-(-77 // reduction), -(-101 // reduction), 3)
        height, width = 77 // reduction, 101 // reduction
        squares = whole[: height * reduction, : width * reduction].reshape(height, reduction, width, reduction, 3)
        # The waves rise by up to 8 a pixel, so a shift by half a pixel would show as 4.
        assert np.abs(small[:height, :width] - squares.mean((1, 3))).mean() < 1


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.webp"])
def test_other_formats_and_tiny_photos_come_whole(tmp_path: Path, name: str) -> None:
    assert read_photo(save(Image.new("RGB", (20, 30), RED), tmp_path / name), 4).shape == (30, 20, 3)
    assert read_photo(save(Image.new("RGB", (20, 3), RED), tmp_path / "b.jpg"), 4).shape == (3, 20, 3)
    grey = read_photo(save(Image.new("L", (20, 30), GREY), tmp_path / "c.jpg"), 4)
    assert (grey.shape, grey.min(), grey.max()) == ((8, 5, 3), GREY, GREY)


@pytest.mark.parametrize("reduction", [2, 4, 8])
def test_smaller_photos_are_checked_like_whole_ones(tmp_path: Path, reduction: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 80, 3), np.uint8)
    path = save(Image.fromarray(noise), tmp_path / "cut.jpg")
    reader = LastPhoto()
    assert reader.look(path, (64, 80), "a.json", reduction).shape == (64 // reduction, 80 // reduction, 3)
    with pytest.raises(InputError, match=r"80x64 pixels but a\.json is for 64x80"):
        reader.look(path, (80, 64), "a.json", reduction)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 9 // 10])
    with pytest.raises(InputError, match=r"cut\.jpg: not readable as a picture"):
        read_photo(path, reduction)


def test_what_is_remembered_at_another_reduction_is_not_used(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    path = save(Image.fromarray(noise), tmp_path / "a.jpg")
    reader = LastPhoto()
    for reduction in (1, 2, 1, 4, 2):
        assert np.array_equal(reader.look(path, (64, 64), "a.json", reduction), read_photo(path, reduction))


def test_a_tall_transparent_photo_is_laid_on_white_without_seams(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (600, 9, 4), np.uint8)
    layer = Image.fromarray(pixels)
    whole = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    assert np.array_equal(read_photo(save(layer, tmp_path / "a.png")), np.asarray(whole))
