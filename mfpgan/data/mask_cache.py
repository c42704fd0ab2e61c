"""Masks that took long to work out, kept in the user's cache folder ($MFPGAN_CACHE, otherwise ~/.cache/mfpgan)."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mfpgan.files import write_atomically
from mfpgan.types import BoolMask


@dataclass(frozen=True, slots=True)
class PackedMasks:
    """The objects of many images at one bit a pixel: a thousand photos' masks are megabytes instead of gigabytes."""

    shapes: NDArray[np.int64]
    """(images, 3) int64: number of objects, height, width."""
    bits: NDArray[np.uint8]
    """All masks in order, each filled up to a whole byte."""
    starts: NDArray[np.int64]
    """(images,) int64: where the first mask of an image begins in `bits`."""

    @classmethod
    def of(cls, shapes: NDArray[np.int64], bits: NDArray[np.uint8]) -> PackedMasks:
        """Raises ValueError if the two do not belong together."""
        if shapes.ndim != 2 or shapes.shape[1] != 3 or shapes.min(initial=0) < 0:
            raise ValueError(f"shapes must be (images, 3) and not negative, got {shapes.shape}")
        ends = np.cumsum(shapes[:, 0] * _bytes_of(shapes))
        if bits.shape != (ends[-1] if len(ends) else 0,) or bits.dtype != np.uint8:
            raise ValueError(f"bits {bits.shape} {bits.dtype} do not fit the shapes")
        return cls(shapes, bits, ends - shapes[:, 0] * _bytes_of(shapes))

    @classmethod
    def pack(cls, images: Iterable[tuple[tuple[int, int], list[BoolMask]]]) -> PackedMasks:
        """From ((height, width), masks) of each image."""
        shapes, bits = [], [np.zeros(0, np.uint8)]
        for (height, width), masks in images:
            shapes.append((len(masks), height, width))
            bits += [np.packbits(mask) for mask in masks]
        return cls.of(np.array(shapes, np.int64).reshape(-1, 3), np.concatenate(bits))

    def mask(self, image: int, number: int) -> BoolMask:
        """(H, W) bool, a fresh array: object `number` of image `image`."""
        _, height, width = (int(value) for value in self.shapes[image])
        size = -(-height * width // 8)
        start = int(self.starts[image]) + number * size
        flat = np.unpackbits(self.bits[start : start + size], count=height * width)
        return flat.view(np.bool_).reshape(height, width)


def _bytes_of(shapes: NDArray[np.int64]) -> NDArray[np.int64]:
    size: NDArray[np.int64] = -(-shapes[:, 1] * shapes[:, 2] // 8)
    return size


def cache_folder() -> Path:
    """Where the cache lies; the folder need not exist."""
    chosen = os.environ.get("MFPGAN_CACHE")
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "mfpgan"


def load_masks(key: str, images: int) -> PackedMasks | None:
    """The masks kept as `key`, or None if there is no sound file of `images` images."""
    try:
        # Opened here, because NumPy forgets to close a file that turns out to be broken.
        with (cache_folder() / f"{key}.npz").open("rb") as file, np.load(file, allow_pickle=False) as content:
            masks = PackedMasks.of(content["shapes"], content["bits"])
        return masks if len(masks.shapes) == images else None
    except Exception:  # a broken cache may raise anything (zip, zlib, NumPy), and is simply built again
        return None


def store_masks(key: str, masks: PackedMasks) -> None:
    """Keep the masks for `load_masks`. Without a writable folder nothing is kept; it only costs time."""
    content = io.BytesIO()
    np.savez_compressed(content, shapes=masks.shapes, bits=masks.bits)
    with contextlib.suppress(OSError):
        write_atomically(cache_folder() / f"{key}.npz", content.getbuffer())
