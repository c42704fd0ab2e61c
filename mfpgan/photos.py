"""Photos and mask files from disk, read so that a damaged or hostile file ends in one sentence.

Pixels of data sets stay where they are stored: no EXIF rotation, because annotations refer to the stored pixels. PIL reads them and not
OpenCV, which takes a truncated JPEG without a word, unpacks pictures of any size and rotates.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageOps, UnidentifiedImageError

from mfpgan.types import Image, InputError, reason_of

MAX_PIXELS = 89_478_485
"""Pictures above are refused as decompression bombs; PIL's own limit."""
PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "PPM")
"""What a file may be inside, whatever its name says. PIL knows dozens more, and for one of them, EPS, it starts a program
that runs the file."""
_BAND_ROWS = 256
_ORIENTATION = 0x0112
_TURNED_BACK = {
    2: PillowImage.Transpose.FLIP_LEFT_RIGHT,
    3: PillowImage.Transpose.ROTATE_180,
    4: PillowImage.Transpose.FLIP_TOP_BOTTOM,
    5: PillowImage.Transpose.TRANSPOSE,
    6: PillowImage.Transpose.ROTATE_90,
    7: PillowImage.Transpose.TRANSVERSE,
    8: PillowImage.Transpose.ROTATE_270,
}
"""By orientation in the EXIF sense: what undoes the turn that PIL makes."""
_SIXTEEN_BIT = {"I", "I;16", "I;16B", "I;16L", "I;16N"}


def read_photo(path: Path, reduction: int = 1) -> Image:
    """(H, W, 3) uint8 RGB of a photo of any common kind; not to be written to.

    Grey, palette and CMYK become RGB, transparency is laid on white, 16-bit grey is scaled to 8.

    Args:
        reduction: 2, 4 or 8 makes a JPEG smaller while it is decoded, each pixel about the mean of a square of so many: the
            result is (ceil(H / reduction), ceil(W / reduction), 3). Other formats, and photos below `reduction` pixels,
            come whole.

    Raises:
        InputError: missing, truncated, no picture, above MAX_PIXELS, or of floating point; a PNG that does not fit its
            checksums.
    """
    return _rgb(_load(path, reduction)[0], path)


def as_photo(image: Image | str | PathLike[str] | PillowImage.Image) -> Image:
    """(H, W, 3) uint8 RGB of what a person hands in; not to be written to.

    Args:
        image: an array like the result, taken as it is; or the path of a photo, or a PIL image. These are turned upright as
            their EXIF says, because a person's clicks refer to what a viewer shows.

    Raises:
        ValueError: something else, or an array of another shape or dtype.
        InputError: as `read_photo`.
    """
    if isinstance(image, np.ndarray):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
            raise ValueError(f"image must be (H, W, 3) uint8, got {image.shape} {image.dtype}")
        return image
    if isinstance(image, PillowImage.Image):
        with _refusing("image"):
            upright = ImageOps.exif_transpose(image)
        return _rgb(upright, "image")
    if isinstance(image, str | PathLike):
        return upright_photo(Path(image))
    raise ValueError(f"image must be a NumPy array, a path or a PIL image, got {type(image).__name__}")


def upright_photo(source: Path | bytes, name: str = "") -> Image:
    """(H, W, 3) uint8 RGB of a photo as viewers show it, turned as its EXIF says; otherwise as `read_photo`.

    Args:
        source: a file, or what one holds.
        name: how messages call it; of a file its path.

    Raises:
        InputError: as `read_photo`.
    """
    if isinstance(source, Path):
        name = name or str(source)
    return _rgb(_load(source, name=name, upright=True)[0], name)


def _rgb(picture: PillowImage.Image, path: Path | str) -> Image:
    if picture.mode in _SIXTEEN_BIT:
        grey = np.clip(np.asarray(picture).astype(np.int64), 0, 65535)
        return np.repeat(((grey + 128) // 257).astype(np.uint8)[:, :, None], 3, axis=2)
    if picture.mode == "F":
        raise InputError(
            f"{path}: a photo of floating-point numbers has no agreed scale; save it as 8-bit PNG or JPEG."
        )
    with _refusing(path):
        if picture.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in picture.info:
            return _on_white(picture)
        return np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))


def _on_white(picture: PillowImage.Image) -> Image:
    """Some rows at a time: a transparent photo of 80 megapixels would need a gigabyte on the way."""
    width, height = picture.size
    rgb = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, _BAND_ROWS):
        layer = picture.crop((0, top, width, min(top + _BAND_ROWS, height))).convert("RGBA")
        white = PillowImage.new("RGBA", layer.size, "white")
        rgb[top : top + _BAND_ROWS] = np.asarray(PillowImage.alpha_composite(white, layer).convert("RGB"))
    return rgb


def read_mask(source: Path | bytes, name: str = "") -> NDArray[np.uint8]:
    """(H, W) uint8 of a mask file: grey values, palette indices, or 0 and 1 of a 1-bit picture.

    A colour file whose channels are all equal counts as grey; 16 bits are fine as long as the values fit into 8.

    Args:
        source: a file, or what one holds.
        name: how messages call it; of a file its path.

    Raises:
        InputError: missing, truncated, no picture, above MAX_PIXELS, in colour, or with values above 255; a PNG that does
            not fit its checksums.
    """
    path = name or (str(source) if isinstance(source, Path) else "")
    picture, _ = _load(source, name=path)
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
            picture, full = _load(path, reduction)
            self._last = (path, reduction), _rgb(picture, path), full
        _, image, full = self._last
        if full != size:
            raise InputError(
                f"{path}: the photo is {full[1]}x{full[0]} pixels but {annotation} is for {size[1]}x{size[0]}; "
                "use the photo that was annotated, not a resized or rotated copy."
            )
        return image


def _load(
    source: Path | bytes, reduction: int = 1, name: str = "", upright: bool = False
) -> tuple[PillowImage.Image, tuple[int, int]]:
    """The picture, decoded, and its full height and width."""

    def opened(formats: tuple[str, ...]) -> PillowImage.Image:
        return PillowImage.open(BytesIO(source) if isinstance(source, bytes) else source, formats=formats)

    with _refusing(name or str(source)), opened(FORMATS) as picture:
        width, height = picture.size
        # PIL turns a TIFF while it decodes it, and no other format.
        turned = picture.getexif().get(_ORIENTATION) if picture.format == "TIFF" else None
        if width * height > MAX_PIXELS:
            raise PillowImage.DecompressionBombError("too large")
        if picture.format == "PNG":
            # PIL decodes pixels without a look at their checksums: a wrong bit on the disk would be a wrong mask.
            with opened(("PNG",)) as again:
                again.verify()
        if picture.format == "JPEG" and 1 < reduction <= min(width, height):
            # Asked for the floor, it takes exactly this reduction and rounds the size up.
            picture.draft(None, (width // reduction, height // reduction))
        picture.load()
        if upright:
            turned_up = ImageOps.exif_transpose(picture)  # a TIFF is upright by now, and says so
            return turned_up, (turned_up.height, turned_up.width)
        if turned in _TURNED_BACK:
            stored = picture.transpose(_TURNED_BACK[turned])
            return stored, (stored.height, stored.width)
        # A JPEG is one frame and forgets its file; others would keep theirs.
        return picture if picture.format == "JPEG" else picture.copy(), (height, width)


@contextmanager
def _refusing(path: Path | str) -> Iterator[None]:
    """Whatever goes wrong inside is one sentence about the picture."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", PillowImage.DecompressionBombWarning)
            yield
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; put the picture there or mend the path.") from None
    except (PillowImage.DecompressionBombError, PillowImage.DecompressionBombWarning):
        raise InputError(
            f"{path}: the picture claims more than {MAX_PIXELS // 10**6} million pixels and is refused; shrink it first."
        ) from None
    except UnidentifiedImageError:
        kinds = f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
        raise InputError(f"{path}: not readable as a picture, it is no {kinds}; replace the file.") from None
    except Exception as error:  # decoders of hostile files raise whatever comes to hand
        reason = reason_of(error, without=str(path))
        raise InputError(f"{path}: not readable as a picture ({reason}); replace the file.") from None
