"""What a person looks at and saves: the requests that change nothing."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

from fastapi import APIRouter, Response
from PIL import Image as PillowImage

from mfpgan.apps import formats
from mfpgan.apps.web.desk import Demo, Here, Who, as_json
from mfpgan.apps.web.heat import heat
from mfpgan.types import BoolMask, Click, Image, InputError

JPEG_SIDE = 65_500
"""Pixels; longer sides need another format."""

router = APIRouter(prefix="/api/sessions/{name}")


@router.get("/photo")
async def shown_photo(person: Who, demo: Here) -> Response:
    """The photo upright, as the network sees it, whatever format it came in."""
    pixels = await demo.run(lambda: person.opened.image)
    if max(pixels.shape) > JPEG_SIDE:
        return await _png(demo, lambda: formats.png_of(pixels))

    def jpeg() -> bytes:
        file = BytesIO()
        PillowImage.fromarray(pixels).save(file, "JPEG", quality=92, subsampling=0)
        return file.getvalue()

    return Response(await demo.file(jpeg), media_type="image/jpeg")


@router.get("/probability")
async def probability(person: Who, demo: Here) -> Response:
    """A byte a shown pixel, 255 for 1, row by row."""
    shown = await demo.run(person.probability)
    return Response(shown.tobytes(), media_type="application/octet-stream")


@router.get("/heat")
async def heat_map(person: Who, demo: Here) -> Response:
    """A byte a shown pixel, 255 where the discriminator dislikes the mask most; the logits at 255 and 0 in the headers."""

    def ask() -> tuple[bytes, float, float]:
        found = heat(person.opened, demo.models.critic(person.engine.key))
        return person.reduced(found.level).tobytes(), found.low, found.high

    levels, low, high = await demo.run(ask)
    headers = {"x-low": f"{low:.3g}", "x-high": f"{high:.3g}"}
    return Response(levels, media_type="application/octet-stream", headers=headers)


@router.get("/mask.png")
async def mask_file(person: Who, demo: Here) -> Response:
    """255 on the selected object, 0 elsewhere."""
    mask = await demo.run(lambda: person.opened.mask)
    return await _png(demo, lambda: formats.png_of_mask(mask))


@router.get("/labels.png")
async def labels_file(person: Who, demo: Here) -> Response:
    """The number of the object at each pixel, 0 for none."""
    labels = await demo.run(lambda: person.opened.label_map)
    return await _png(demo, lambda: formats.png_of_labels(labels))


@router.get("/overlay.png")
async def overlay_file(person: Who, demo: Here, opacity: float = 0.5) -> Response:
    """The photo with objects and clicks."""
    if not 0 <= opacity <= 1:
        raise InputError(f"the opacity is {opacity:g}, expected 0 to 1.")

    def ask() -> tuple[Image, Any, list[Click]]:
        return person.opened.image, person.opened.label_map, person.all_clicks

    image, labels, clicks = await demo.run(ask)
    return await _png(demo, lambda: formats.png_of(formats.overlay(image, labels, clicks, opacity)))


@router.get("/coco.json")
async def coco_file(person: Who, demo: Here) -> Response:
    """A COCO file of the objects, as run lengths; those without a pixel are left out."""
    masks = await demo.run(lambda: person.opened.masks)
    return as_json(await demo.file(lambda: coco(masks)))


def coco(masks: list[BoolMask]) -> dict[str, Any]:
    """A COCO file of one photo, as plain types.

    Args:
        masks: (H, W) bool, one an object; their numbers are the entries' ids.
    """
    height, width = masks[0].shape
    annotations = [
        {"id": number, "image_id": 1, "category_id": 1} | formats.coco_annotation(mask, formats.coco_rle(mask))
        for number, mask in enumerate(masks, 1)
        if mask.any()
    ]
    return {
        "images": [{"id": 1, "width": width, "height": height, "file_name": "photo"}],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "object"}],
    }


async def _png(demo: Demo, draw: Callable[[], bytes]) -> Response:
    return Response(await demo.file(draw), media_type="image/png")
