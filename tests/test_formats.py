"""Files that other programs read: what pycocotools and Pillow make of them is the mask that went in."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as PillowImage
from pycocotools import mask as coco_mask
from scipy import ndimage

from mfpgan.apps.formats import OBJECT_COLOURS, coco_rle, holes, overlay, png_of_labels, png_of_mask, polygons
from mfpgan.types import BoolMask, Click

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' decoder


def mask_of(*rows: str) -> BoolMask:
    """True where there is an x."""
    return np.array([[letter == "x" for letter in row] for row in rows])


def drawn(outlines: list[list[float]], height: int, width: int) -> BoolMask:
    """What pycocotools makes of COCO's polygons."""
    if not outlines:
        return np.zeros((height, width), np.bool_)
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(outlines, height, width))).astype(np.bool_)


def masks() -> list[BoolMask]:
    """Noise of all densities, blobs with holes and islands, and masks that reach all edges."""
    rng = np.random.default_rng(0)
    noise = [rng.random((9, 13)) < density for density in (0.02, 0.2, 0.5, 0.8, 0.98) for _ in range(20)]
    smooth = [ndimage.gaussian_filter(rng.random((60, 80)), 2) > level for level in (0.45, 0.5, 0.55)]
    return [*noise, *smooth, np.ones((4, 5), np.bool_), np.zeros((4, 5), np.bool_)]


def pixels(png: bytes) -> tuple[str, NDArray[np.int64]]:
    picture = PillowImage.open(io.BytesIO(png))
    assert picture.format == "PNG"
    return picture.mode, np.asarray(picture).astype(np.int64)


def test_a_mask_png_holds_0_and_255() -> None:
    mode, values = pixels(png_of_mask(mask_of(".x.", "xx.")))
    assert mode == "L"
    assert values.tolist() == [[0, 255, 0], [255, 255, 0]]


def test_a_label_png_holds_the_numbers_themselves() -> None:
    mode, values = pixels(png_of_labels(np.array([[0, 1], [2, 255]], np.uint8)))
    assert (mode, values.tolist()) == ("L", [[0, 1], [2, 255]])


def test_labels_above_255_make_a_png_of_16_bits() -> None:
    mode, values = pixels(png_of_labels(np.array([[0, 1], [256, 65535]])))
    assert mode.startswith("I")
    assert values.tolist() == [[0, 1], [256, 65535]]
    mode, _ = pixels(png_of_labels(np.array([[0, 255]], np.uint16)))
    assert mode == "L", "small numbers need no 16 bits"
    with pytest.raises(ValueError, match="0 to 65535, got 0 to 65536"):
        png_of_labels(np.array([[0, 65536]]))


def test_rle_by_hand() -> None:
    # Columns first: one background pixel, then the object's two, then one.
    assert coco_rle(mask_of(".x", "x.")) == {"size": [2, 2], "counts": "121"}


@pytest.mark.parametrize("mask", masks())
def test_rle_comes_back_exactly(mask: BoolMask) -> None:
    coded = json.loads(json.dumps(coco_rle(mask)))
    assert (coco_mask.decode(coded).astype(np.bool_) == mask).all()


@pytest.mark.parametrize("mask", masks())
def test_polygons_are_drawn_as_the_mask_with_its_holes_filled(mask: BoolMask) -> None:
    background, count = ndimage.label(~np.pad(mask, 1), np.ones((3, 3)))
    filled = (background != background[0, 0])[1:-1, 1:-1]
    outlines = json.loads(json.dumps(polygons(mask)))
    assert (drawn(outlines, *mask.shape) == filled).all()
    assert len(outlines) == ndimage.label(mask)[1], "parts that touch at a corner are two"
    assert holes(mask) == count - 1


def test_polygons_by_hand() -> None:
    assert polygons(mask_of("...", ".x.", "...")) == [[1, 1, 2, 1, 2, 2, 1, 2]], "one pixel is a square of area 1"
    assert polygons(mask_of("xx", "x.")) == [[0, 0, 2, 0, 2, 1, 1, 1, 1, 2, 0, 2]]
    two = [[0, 0, 1, 0, 1, 1, 0, 1], [1, 1, 2, 1, 2, 2, 1, 2]]
    assert polygons(mask_of("x.", ".x")) == two, "pixels that touch at a corner are two parts"
    assert polygons(mask_of("...")) == []


def test_a_hole_is_filled_and_counted_and_an_island_in_it_is_a_part_of_its_own() -> None:
    ring = mask_of("xxxxx", "x...x", "x.x.x", "x...x", "xxxxx")
    assert polygons(ring) == [[0, 0, 5, 0, 5, 5, 0, 5], [2, 2, 3, 2, 3, 3, 2, 3]]
    assert holes(ring) == 1
    assert holes(mask_of("xxx", "x.x", ".xx")) == 0, "open at a corner"


def test_overlay_mixes_photo_and_colour_on_the_objects_only() -> None:
    photo = np.full((2, 2, 3), 100, np.uint8)
    found = overlay(photo, np.array([[0, 1], [2, 7]], np.uint8))
    first, second = [(100 + np.array(colour)) / 2 for colour in OBJECT_COLOURS[:2]]
    assert found[0, 0].tolist() == [100, 100, 100]
    assert found[0, 1].tolist() == np.rint(first).tolist() == [93, 140, 166]
    assert found[1, 0].tolist() == np.rint(second).tolist()
    assert found[1, 1].tolist() == found[0, 1].tolist(), "the seventh object has the first one's colour"
    assert (photo == 100).all(), "the caller's photo stays"


def test_overlay_of_a_mask_at_both_ends_of_opacity() -> None:
    rng = np.random.default_rng(1)
    photo, mask = rng.integers(0, 256, (600, 5, 3), np.uint8), rng.random((600, 5)) < 0.5
    assert (overlay(photo, mask, opacity=0) == photo).all()
    assert (overlay(photo, mask, opacity=1) == np.where(mask[..., None], OBJECT_COLOURS[0], photo)).all()


def test_overlay_draws_a_click_where_it_is_and_nothing_far_away() -> None:
    photo = np.zeros((60, 80, 3), np.uint8)
    found = overlay(photo, np.zeros((60, 80), np.uint8), [Click(20, 50, True)])
    ys, xs = np.nonzero(found.any(2))
    assert (ys.min() + ys.max(), xs.min() + xs.max()) == (40, 100), "the dot is round its click"
    assert ys.max() - ys.min() < 20
    assert (found != overlay(photo, np.zeros((60, 80), np.uint8), [Click(20, 50, False)])).any(), "signs differ"


def test_what_overlay_refuses() -> None:
    photo = np.zeros((2, 3, 3), np.uint8)
    with pytest.raises(ValueError, match=r"labels must be \(2, 3\) as the image, got \(3, 2\)"):
        overlay(photo, np.zeros((3, 2), np.uint8))
    with pytest.raises(ValueError, match="opacity must be from 0 to 1, got 50"):
        overlay(photo, np.zeros((2, 3), np.uint8), opacity=50)
