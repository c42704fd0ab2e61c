"""Label Studio's run lengths, read back as Label Studio reads them."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis.extra.numpy import array_shapes, arrays

from mfpgan.apps.label_studio.brush import brush_rle


def decode(rle):
    """An independent reader: bit by bit, after the JavaScript of @thi.ng/rle-pack that Label Studio uses."""
    bits = "".join(f"{byte:08b}" for byte in rle)
    at = 0

    def read(size):
        nonlocal at
        assert at + size <= len(bits), "the stream ends early"
        at += size
        return int(bits[at - size : at], 2)

    count, word = read(32), read(5) + 1
    sizes = [read(4) + 1 for _ in range(4)]
    values = []
    while len(values) < count:
        run = read(1)
        length = read(sizes[read(2)]) + 1
        values += [read(word)] * length if run else [read(word) for _ in range(length)]
    assert len(values) == count
    assert len(bits) - at < 8
    assert not int(bits[at:] or "0", 2)
    return np.array(values, np.uint8)


def mask_of(rle, height, width):
    """As label_studio_converter's decode_from_annotation: the alpha channel."""
    picture = decode(rle).reshape(height, width, 4)
    assert (picture == picture[:, :, :1]).all()
    assert set(np.unique(picture)) <= {0, 255}
    return picture[:, :, 3] == 255


@given(mask=arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=24)))
@example(mask=np.zeros((1, 1), np.bool_))
@example(mask=np.ones((1, 1), np.bool_))
@example(mask=np.eye(17, dtype=np.bool_))
def test_run_lengths_give_the_mask_back(mask):
    np.testing.assert_array_equal(mask_of(brush_rle(mask), *mask.shape), mask)


@pytest.mark.parametrize("pixels", [1, 2, 3, 4, 5, 63, 64, 65, 16383, 16384, 16385, 32768, 40000])
def test_run_lengths_about_every_size_of_a_run(pixels):
    """Four values a pixel: 8, 16, 256 and 65,536 of them are the longest that a size holds."""
    mask = np.zeros((1, 40001), np.bool_)
    mask[0, :pixels] = True
    np.testing.assert_array_equal(mask_of(brush_rle(mask), 1, 40001), mask)


def test_run_lengths_by_hand():
    """Two pixels, off and on: eight values, words of 8 bits, sizes 3, 4, 8, 16; a run of four 0, a run of four 255."""
    head = f"{8:032b}" + f"{7:05b}" + f"{2:04b}{3:04b}{7:04b}{15:04b}"
    runs = "1" + "00" + "011" + "00000000" + "1" + "00" + "011" + "11111111"
    bits = (head + runs).ljust(88, "0")
    wanted = [int(bits[at : at + 8], 2) for at in range(0, 88, 8)]
    assert brush_rle(np.array([[False, True]])) == wanted
