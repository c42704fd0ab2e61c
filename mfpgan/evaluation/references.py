"""What no network is needed for: the rows a model has to beat, over the same clicks."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import zlib
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from mfpgan.clicks.encoding import RADIUS_PX
from mfpgan.data.mask_cache import cache_folder
from mfpgan.files import write_atomically
from mfpgan.types import BoolMask, Click, Image

Reference = Callable[[Image, Sequence[Click]], BoolMask]

_PRIOR_RADIUS = 60 / 256
"""How far the probable object reaches from a positive click, as a share of the shorter side."""
_ITERATIONS = 5
# Chosen on the principal objects of BSDS500 train (199 images, 256 px, one positive and one negative random click of
# seed 0). Mean IoU over images after 1 and 5 iterations, by what starts as probable object:
#   nothing .063 .124 | everything .204 .207 | nearer to the positive click than to the negative .393 .406
#   within 20 px .292 .347 | 40 px .417 .461 | 60 px .464 .504 | 80 px .455 .475 | 60 px and nearer than negative - .508


def background(image: Image, clicks: Sequence[Click]) -> BoolMask:
    """The empty mask: what the accuracy of a rare object is worth."""
    return np.zeros(image.shape[:2], np.bool_)


def kept(reference: Reference) -> Reference:
    """The same, and once worked out it is read from the user's cache folder: all runs are compared with the same masks, and
    they take longer than the network.

    A file is called by all that decides about its mask, and ends with a checksum. What is damaged, or cannot be written, is
    worked out again.
    """

    @functools.wraps(reference)
    def remembered(image: Image, clicks: Sequence[Click]) -> BoolMask:
        told = f"{reference.__name__} {cv2.__version__} {_PRIOR_RADIUS} {_ITERATIONS} {RADIUS_PX} {image.shape} {[*map(tuple, clicks)]}"
        name = hashlib.blake2b(told.encode() + image.tobytes(), digest_size=16).hexdigest()
        path = cache_folder() / "references" / name[:2] / name
        with contextlib.suppress(OSError, ValueError):
            return _unpacked(path.read_bytes(), image.shape[0], image.shape[1])
        mask = reference(image, clicks)
        bits = np.packbits(mask).tobytes()
        with contextlib.suppress(OSError):
            write_atomically(path, bits + zlib.crc32(bits).to_bytes(4, "big"))
        return mask

    return remembered


def _unpacked(content: bytes, height: int, width: int) -> BoolMask:
    bits, checksum = content[:-4], content[-4:]
    if len(bits) != -(-height * width // 8) or zlib.crc32(bits).to_bytes(4, "big") != checksum:
        raise ValueError("damaged")
    flat = np.unpackbits(np.frombuffer(bits, np.uint8), count=height * width)
    return flat.view(np.bool_).reshape(height, width)


@kept
def grabcut(image: Image, clicks: Sequence[Click]) -> BoolMask:
    """OpenCV's GrabCut (Rother et al., SIGGRAPH 2004), seeded with the clicks.

    Disks of 5 pixels around the clicks are certain. Of the rest, what lies within a quarter of the shorter side
    around a positive click starts as probable object, everything else as probable background.

    Args:
        image: (H, W, 3) uint8, RGB.
        clicks: in pixels of the image.

    Returns:
        (H, W) bool; the same for the same arguments.
    """
    height, width = image.shape[:2]
    y, x = np.ogrid[:height, :width]
    labels = np.full((height, width), cv2.GC_PR_BGD, np.uint8)
    for click in clicks:
        if click.positive:
            labels[_disk(y, x, click, _PRIOR_RADIUS * min(height, width))] = cv2.GC_PR_FGD
    for click in clicks:
        labels[_disk(y, x, click, RADIUS_PX)] = cv2.GC_FGD if click.positive else cv2.GC_BGD
    seeds: BoolMask = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
    if not 0 < np.count_nonzero(seeds) < seeds.size:  # one of the colour models would have nothing to learn from
        return seeds
    cv2.setRNGSeed(0)  # its k-means starts at random
    models = np.zeros((1, 65)), np.zeros((1, 65))
    labels = cv2.grabCut(image, labels, None, *models, _ITERATIONS, cv2.GC_INIT_WITH_MASK)[0]
    answer: BoolMask = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
    return answer


def _disk(y: NDArray[np.int64], x: NDArray[np.int64], click: Click, radius_px: float) -> BoolMask:
    inside: BoolMask = (y - click.y) ** 2 + (x - click.x) ** 2 <= radius_px**2
    return inside


REFERENCES: dict[str, Reference] = {"grabcut": grabcut, "background": background}
