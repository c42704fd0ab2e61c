"""Photos and mask files from disk, read so that a damaged or hostile file ends in one sentence.

Pixels stay where they are stored: no EXIF rotation, because annotations refer to the stored pixels. PIL reads them and not
OpenCV, which takes a truncated JPEG without a word, unpacks pictures of any size and rotates.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from mfpgan.types import Image, InputError

MAX_PIXELS = 89_478_485
"""Pictures above are refused as decompression bombs; PIL's own limit."""
PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
_SIXTEEN_BIT = {"I", "I;16", "I;16B", "I;16L", "I;16N"}


def read_photo(path: Path) -> Image:
    """(H, W, 3) uint8 RGB of a photo of any common kind.

    Grey, palette and CMYK become RGB, transparency is laid on white, 16-bit grey is scaled to 8.

    Raises:
        InputError: missing, truncated, no picture, above MAX_PIXELS, or of floating point.
    """
    picture = _load(path)
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
    return np.array(picture.convert("RGB"))


def read_mask(path: Path) -> NDArray[np.uint8]:
    """(H, W) uint8 of a mask file: grey values, palette indices, or 0 and 1 of a 1-bit picture.

    A colour file whose channels are all equal counts as grey; 16 bits are fine as long as the values fit into 8.

    Raises:
        InputError: missing, truncated, no picture, above MAX_PIXELS, in colour, or with values above 255.
    """
    picture = _load(path)
    values = np.asarray(picture)
    if picture.mode == "1":
        return values.astype(np.uint8)
    if picture.mode in {"L", "P"}:
        return values.astype(np.uint8)
    if picture.mode in _SIXTEEN_BIT:
        if values.min() >= 0 and values.max() <= 255:
            return values.astype(np.uint8)
        raise InputError(f"{path}: mask values go up to {values.max()}, at most 255 are possible; save it with 8 bits.")
    if picture.mode in {"LA", "RGB", "RGBA"}:
        colour = values[:, :, :1] if picture.mode == "LA" else values[:, :, :3]
        if bool((colour == colour[:, :, :1]).all()):
            return np.ascontiguousarray(colour[:, :, 0])
    raise InputError(
        f"{path}: the mask is in colour (mode {picture.mode}), expected one channel with 0 for background and one value "
        "an object; save it as a grey or palette PNG."
    )


class LastPhoto:
    """Remembers one decoded photo, because the objects of an image are mostly read in a row."""

    def __init__(self) -> None:
        self._last: tuple[Path, Image] | None = None

    def read(self, path: Path, size: tuple[int, int], annotation: str) -> Image:
        """(H, W, 3) uint8 RGB, the caller's own copy.

        Args:
            path: the photo.
            size: (height, width) that the annotation is made for.
            annotation: who says so, for the message.

        Raises:
            InputError: not readable, or not of that size.
        """
        if self._last is None or self._last[0] != path:
            self._last = path, read_photo(path)
        image = self._last[1]
        if image.shape[:2] != size:
            raise InputError(
                f"{path}: the photo is {image.shape[1]}x{image.shape[0]} pixels but {annotation} is for {size[1]}x{size[0]}; "
                "use the photo that was annotated, not a resized or rotated copy."
            )
        return image.copy()


def _load(path: Path) -> PillowImage.Image:
    """The whole picture, decoded."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", PillowImage.DecompressionBombWarning)
            with PillowImage.open(path) as picture:
                if picture.width * picture.height > MAX_PIXELS:
                    raise PillowImage.DecompressionBombError("too large")
                picture.load()
                return picture.copy()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; put the picture there or mend the path.") from None
    except (PillowImage.DecompressionBombError, PillowImage.DecompressionBombWarning):
        raise InputError(
            f"{path}: the picture claims more than {MAX_PIXELS // 10**6} million pixels and is refused; shrink it first."
        ) from None
    except Exception as error:  # decoders of hostile files raise whatever comes to hand
        reason = " ".join(str(error).replace(str(path), "").split()) or type(error).__name__
        raise InputError(f"{path}: not readable as a picture ({reason}); replace the file.") from None
