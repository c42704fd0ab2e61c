"""What nuclio calls: `init_context` once, `handler` for each request that CVAT posts.

CVAT (cvat/apps/lambda_manager/views.py) posts {"image": base64 of the frame's file, "pos_points": [[x, y], ...], "neg_points": [...],
"obj_bbox": [[x, y], [x, y]], [] or null, and perhaps "threshold"}, places in pixels with fractions. It wants {"mask": rows} of the
frame's size back; 0 and 1, the same to it as 0 and 255. Of an answer with another status it shows the status only, so the sentence
is logged too. Which of pos_points and neg_points came first it does not say: the positive ones do here, as in CVAT's own function for
RITM, because a negative click without a positive one before it says nothing.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from typing import Any

import numpy as np

from mfpgan.apps.loading import load_engine
from mfpgan.apps.replay import Photo, Replay, box_at, number_of, pixel_at, request_of
from mfpgan.types import THRESHOLD, BoolMask, Click, InputError, quoted
from mfpgan.zoom import View

MODEL = "MFPGAN_MODEL"
"""Environment variable: what `ClickSession.load` takes, by default the small model that comes along."""


def init_context(context: Any) -> None:
    """Load the network, before the first request.

    Args:
        context: nuclio's; what the handler needs is kept in its `user_data`.

    Raises:
        InputError: MFPGAN_MODEL names no model.
    """
    source = os.environ.get(MODEL) or "small"
    context.user_data.replay = Replay(load_engine(source))
    context.logger.info(f"mfpgan: {source} is loaded")


def handler(context: Any, event: Any) -> Any:
    """Answer one request.

    Args:
        context: nuclio's, as `init_context` left it.
        event: nuclio's; its `body` is a dict if nuclio could read it as JSON, else bytes.

    Returns:
        nuclio's Response: status 200 and {"mask": rows}, or status 400 and {"error": one sentence}.
    """
    try:
        status, body = 200, rows_of(mask_of(context.user_data.replay, event.body))
    except InputError as error:
        context.logger.warn(f"mfpgan: {error}")
        status, body = 400, json.dumps({"error": str(error)})
    return context.Response(body=body, headers={}, content_type="application/json", status_code=status)


def mask_of(replay: Replay, body: object) -> BoolMask:
    """(H, W) bool, the answer to a request.

    Raises:
        InputError: something is wrong with the request.
    """
    request = request_of(body, "CVAT", "image, pos_points and neg_points")
    photo = replay.photo(_image(request.get("image")), "image")
    positive, negative = (_clicks(request, name, name == "pos_points", photo) for name in ("pos_points", "neg_points"))
    box = _box(request.get("obj_bbox"), photo)
    if not positive and not negative and box is None:
        raise InputError("pos_points: it is empty and there is no obj_bbox; click on the object first.")
    threshold = request.get("threshold")
    level = THRESHOLD if threshold is None else number_of(threshold, "threshold")
    if not 0 <= level <= 1:
        raise InputError(f"threshold: expected 0 to 1, got {quoted(threshold)}.")
    mask: BoolMask = replay.probability(photo, [*positive, *negative], box) > level
    return mask


def rows_of(mask: BoolMask) -> str:
    """{"mask": [[0, 1, ...], ...]} as JSON.

    Written by NumPy: a mask of 24 megapixels takes 0.06 s instead of the 2 s of the json module.
    """
    height, width = mask.shape
    letters = np.full((height, 2 * width), ord(","), np.uint8)
    letters[:, ::2] = mask + np.uint8(ord("0"))
    return '{"mask":[[' + "],[".join(row[:-1].tobytes().decode("ascii") for row in letters) + "]]}"


def _image(text: object) -> bytes:
    if not isinstance(text, str) or not text:
        raise InputError(f"image: expected a photo's file in base64, got {quoted(text)}.")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InputError("image: it is not base64, or cut off; send the photo's whole file.") from None


def _clicks(request: dict[str, Any], name: str, positive: bool, photo: Photo) -> list[Click]:
    places = request.get(name)
    if not isinstance(places, list):
        raise InputError(f"{name}: expected a list of [x, y], got {quoted(places)}; an empty one is fine.")
    return [Click(*pixel_at(*_pair(place, name), photo, name), positive) for place in places]


def _box(corners: object, photo: Photo) -> View | None:
    if corners is None or corners == []:  # CVAT sends either where no box was drawn
        return None
    if not isinstance(corners, list) or len(corners) != 2:
        raise InputError(f"obj_bbox: expected two corners, [[x, y], [x, y]], got {quoted(corners)}.")
    first, second = (_pair(corner, "obj_bbox") for corner in corners)
    return box_at(first, second, photo, "obj_bbox")


def _pair(place: object, name: str) -> tuple[float, float]:
    if not isinstance(place, list) or len(place) != 2:
        raise InputError(f"{name}: expected [x, y], got {quoted(place)}.")
    return number_of(place[0], name), number_of(place[1], name)
