"""Photos and mask files from disk, read so that a damaged or hostile file ends in one sentence.

Pixels stay where they are stored: no EXIF rotation, because annotations refer to the stored pixels. PIL opens every file:
OpenCV takes a truncated JPEG without a word, unpacks pictures of any size and rotates. Only the pixels of a JPEG that PIL
has measured, and that does not break off, are OpenCV's: the same to the bit in half the time.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from mfpgan.types import Image, InputError

MAX_PIXELS = 89_478_485
"""Pictures above are refused as decompression bombs; PIL's own limit."""
PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
_SIXTEEN_BIT = {"I", "I;16", "I;16B", "I;16L", "I;16N"}
_END_OF_IMAGE = b"\xff\xd9"
"""A JPEG's last marker. Its compressed pixels never hold these two bytes, so that no cut through them ends so."""
_REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
"""OpenCV's flags."""


def read_photo(path: Path, reduction: int = 1) -> Image:
    """(H, W, 3) uint8 RGB of a photo of any common kind; not to be written to.

    Grey, palette and CMYK become RGB, transparency is laid on white, 16-bit grey is scaled to 8.

    Args:
        reduction: 2, 4 or 8 makes a JPEG smaller while it is decoded, each pixel about the mean of a square of so many: the
            result is (ceil(H / reduction), ceil(W / reduction), 3). Other formats, and photos below `reduction` pixels,
            come whole.

    Raises:
        InputError: missing, truncated, no picture, above MAX_PIXELS, or of floating point.
    """
    return _read(path, reduction)[0]


def _read(path: Path, reduction: int) -> tuple[Image, tuple[int, int]]:
    """What `read_photo` says, and the photo's full height and width."""
    with _opened(path) as (file, picture):
        full = picture.height, picture.width
        if picture.format == "JPEG":
            reduction = reduction if 1 < reduction <= min(full) else 1
            if picture.mode in {"RGB", "L"}:
                image = _decode_whole_jpeg(file, reduction)
                if image is not None:
                    return image, full
            if reduction > 1:
                # Asked for the floor, it takes exactly this reduction and rounds the size up.
                picture.draft(None, (full[1] // reduction, full[0] // reduction))
        picture.load()
        return _rgb(picture, path), full


def _decode_whole_jpeg(file: BinaryIO, reduction: int) -> Image | None:
    """(H, W, 3) uint8 RGB; None if the file may be cut short, or OpenCV cannot read it: PIL then finds out what it is."""
    file.seek(0)
    content = file.read()
    if not content.endswith(_END_OF_IMAGE):
        return None
    flags = _REDUCED[reduction] | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error:
        return None
    return None if image is None else cv2.cvtColor(image, cv2.COLOR_BGR2RGB, image)


def _rgb(picture: PillowImage.Image, path: Path) -> Image:
    if picture.mode in _SIXTEEN_BIT:
        grey = np.clip(np.asarray(picture).astype(np.int64), 0, 65535)
        return np.repeat(((grey + 128) // 257).astype(np.uint8)[:, :, None], 3, axis=2)
    if picture.mode == "F":
        raise InputError(
            f"{path}: a photo of floating-point numbers has no agreed scale; save it as 8-bit PNG or JPEG."
        )
    if picture.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        picture = PillowImage.alpha_composite(PillowImage.new("RGBA", layer.size, "white"), layer)
    return np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))


def read_mask(path: Path) -> NDArray[np.uint8]:
    """(H, W) uint8 of a mask file: grey values, palette indices, or 0 and 1 of a 1-bit picture.

    A colour file whose channels are all equal counts as grey; 16 bits are fine as long as the values fit into 8.

    Raises:
        InputError: missing, truncated, no picture, above MAX_PIXELS, in colour, or with values above 255.
    """
    with _opened(path) as (_, picture):
        mode, values = picture.mode, np.asarray(picture)
    if mode == "1":
        return values.astype(np.uint8)
    if mode in {"L", "P"}:
        return values.astype(np.uint8)
    if mode in _SIXTEEN_BIT:
        if values.min() >= 0 and values.max() <= 255:
            return values.astype(np.uint8)
        raise InputError(f"{path}: mask values go up to {values.max()}, at most 255 are possible; save it with 8 bits.")
    if mode in {"LA", "RGB", "RGBA"}:
        colour = values[:, :, :1] if mode == "LA" else values[:, :, :3]
        if bool((colour == colour[:, :, :1]).all()):
            return np.ascontiguousarray(colour[:, :, 0])
    raise InputError(
        f"{path}: the mask is in colour (mode {mode}), expected one channel with 0 for background and one value "
        "an object; save it as a grey or palette PNG."
    )


class LastPhoto:
    """Remembers one decoded photo, because the objects of an image are mostly read in a row."""

    def __init__(self) -> None:
        self._last: tuple[tuple[Path, int], Image, tuple[int, int]] | None = None

    def read(self, path: Path, size: tuple[int, int], annotation: str) -> Image:
        """As `look`, the caller's own copy."""
        return self.look(path, size, annotation).copy()

    def look(self, path: Path, size: tuple[int, int], annotation: str, reduction: int = 1) -> Image:
        """(H, W, 3) uint8 RGB, or smaller as `read_photo` makes it; shared, not to be written to.

        Args:
            path: the photo.
            size: (height, width) that the annotation is made for.
            annotation: who says so, for the message.
            reduction: of the decoding; what is remembered at another one is not used, so that the answer does not depend
                on what was read before.

        Raises:
            InputError: not readable, or not of that size.
        """
        if self._last is None or self._last[0] != (path, reduction):
            self._last = (path, reduction), *_read(path, reduction)
        _, image, full = self._last
        if full != size:
            raise InputError(
                f"{path}: the photo is {full[1]}x{full[0]} pixels but {annotation} is for {size[1]}x{size[0]}; "
                "use the photo that was annotated, not a resized or rotated copy."
            )
        return image


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, PillowImage.Image]]:
    """The file and what PIL sees in it, not decoded yet; whatever goes wrong with it inside is an InputError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", PillowImage.DecompressionBombWarning)
            with path.open("rb") as file, PillowImage.open(file) as picture:
                if picture.width * picture.height > MAX_PIXELS:
                    raise PillowImage.DecompressionBombError("too large")
                yield file, picture
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; put the picture there or mend the path.") from None
    except (PillowImage.DecompressionBombError, PillowImage.DecompressionBombWarning):
        raise InputError(
            f"{path}: the picture claims more than {MAX_PIXELS // 10**6} million pixels and is refused; shrink it first."
        ) from None
    except Exception as error:  # decoders of hostile files raise whatever comes to hand
        reason = " ".join(str(error).replace(str(path), "").split()) or type(error).__name__
        raise InputError(f"{path}: not readable as a picture ({reason}); replace the file.") from None
