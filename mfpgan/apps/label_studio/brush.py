"""Label Studio's run lengths of a brush mask. Not COCO's: a stream of bits, as the library @thi.ng/rle-pack packs it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mfpgan.types import BoolMask

WORD_BITS = 8
LENGTH_BITS = (3, 4, 8, 16)
"""A run's length minus one takes the first of these that holds it. label_studio_converter/brush.py, encode_rle."""


def brush_rle(mask: BoolMask) -> list[int]:
    """The mask as an RGBA picture, 255 in all four channels on the object and 0 elsewhere, in run lengths.

    The stream, highest bits first: 32 bits count of values, 5 bits word size - 1, four times 4 bits of `LENGTH_BITS` - 1; then for
    each run a 1, 2 bits which of `LENGTH_BITS`, the length - 1, the value. Zero bits fill the last byte.

    Args:
        mask: (H, W) bool.

    Returns:
        Bytes, 0 to 255, as `value.rle` of a result has them.
    """
    values = mask.ravel()
    ends = np.r_[np.flatnonzero(values[1:] != values[:-1]) + 1, values.size]
    starts = np.r_[0, ends[:-1]]
    lengths, value = 4 * (ends - starts), values[starts]
    # Runs above the longest length are several runs of the same value.
    longest = 2 ** LENGTH_BITS[-1]
    pieces = (lengths - 1) // longest + 1
    last = np.cumsum(pieces) - 1
    rest = lengths - (pieces - 1) * longest
    value, lengths = np.repeat(value, pieces), np.full(pieces.sum(), longest)
    lengths[last] = rest
    which = np.searchsorted(2 ** np.array(LENGTH_BITS), lengths)
    bits = np.array(LENGTH_BITS)[which]
    codes = (((0b100 | which) << bits | (lengths - 1)) << WORD_BITS) | np.where(value, 255, 0)
    head = 4 * values.size << 5 | WORD_BITS - 1
    for size in LENGTH_BITS:
        head = head << 4 | size - 1
    stream = _bits(np.r_[head, codes], np.r_[32 + 5 + 4 * len(LENGTH_BITS), 3 + bits + WORD_BITS])
    rle: list[int] = np.packbits(stream).tolist()
    return rle


def _bits(codes: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The codes one after the other, each in so many bits, highest first."""
    ends = np.cumsum(lengths)
    shift = np.repeat(ends, lengths) - 1 - np.arange(ends[-1])
    bits: NDArray[np.uint8] = (np.repeat(codes, lengths) >> shift & 1).astype(np.uint8)
    return bits
