"""What all pictures share: the palette, and drawing on a photo."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from mfpgan.types import BoolMask, Click, Image

# Okabe and Ito's palette: told apart by people with any common colour vision, and of different lightness.
FOUND = (86, 180, 233)
MISSED = (240, 228, 66)
EXTRA = (213, 94, 0)
POSITIVE = (0, 158, 115)
NEGATIVE = (204, 51, 17)
INK, PAPER = (40, 40, 40), (255, 255, 255)
GAP_PX = 6
CAPTION_PX = 20


def dim(image: Image, keep: BoolMask) -> Image:
    """The photo, paler and greyer outside the part that is talked about."""
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return np.where(keep[..., None], image, grey // 2 + 110).astype(np.uint8)


def tint(image: Image, mask: BoolMask, colour: tuple[int, int, int], strength: float) -> Image:
    mixed = image * (1 - strength) + np.array(colour) * strength
    return np.where(mask[..., None], np.rint(mixed), image).astype(np.uint8)


def outline(image: Image, mask: BoolMask) -> Image:
    """A thin white line along the mask's edge, with a soft shadow: visible on any photo, and small parts stay free."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    shadow = cv2.drawContours(np.zeros(mask.shape, np.uint8), contours, -1, 1, 3).view(np.bool_)
    drawn = np.ascontiguousarray(tint(image, shadow, INK, 0.5))
    cv2.drawContours(drawn, contours, -1, PAPER, 1)
    return drawn


def draw_click(image: Image, click: Click) -> None:
    """A disk with sign, white rim and thin dark outer line, in place; its size follows the picture."""
    radius = float(np.clip(np.hypot(*image.shape[:2]) / 75, 5, 40))
    shift, centre = 4, (click.x * 16, click.y * 16)  # cv2 takes sixteenths of a pixel

    def disk(size: float, colour: tuple[int, int, int]) -> None:
        cv2.circle(image, centre, round(size * 16), colour, -1, cv2.LINE_AA, shift)

    disk(radius * 1.40, INK)
    disk(radius * 1.28, PAPER)
    disk(radius, POSITIVE if click.positive else NEGATIVE)
    arm, half = round(radius * 0.58 * 16), round(radius * 0.14 * 16)
    bars = [(arm, half), (half, arm)] if click.positive else [(arm, half)]
    for x, y in bars:
        corners = np.array([(-x, -y), (x, -y), (x, y), (-x, y)], np.int32) + np.array(centre, np.int32)
        cv2.fillConvexPoly(image, corners, PAPER, cv2.LINE_AA, shift)


def caption(words: Sequence[tuple[str, tuple[int, int, int] | None]], width: int) -> Image:
    """(20, width, 3) uint8: words on white, those with a colour behind a swatch of it. Smaller where they would not
    fit; what does not fit at 7 px is cut."""
    from PIL import Image as Pillow
    from PIL import ImageDraw, ImageFont

    strip = Pillow.new("RGB", (width, CAPTION_PX), PAPER)
    draw, x = ImageDraw.Draw(strip), 1.0
    marks = sum(12 for _, colour in words if colour is not None) + 9 * (len(words) - 1) + 2
    for size in range(12, 6, -1):
        font = ImageFont.load_default(size)
        if marks + sum(draw.textlength(word, font=font) for word, _ in words) <= width:
            break
    for word, colour in words:
        if colour is not None:
            draw.rectangle((x, 6, x + 8, 14), fill=colour, outline=INK)
            x += 12
        draw.text((x, CAPTION_PX / 2), word, fill=INK, font=font, anchor="lm")
        x += draw.textlength(word, font=font) + 9
    return np.asarray(strip).copy()
