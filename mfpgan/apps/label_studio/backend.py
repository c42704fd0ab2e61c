"""Label Studio's requests: places in percent in, a brush mask out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

from mfpgan.apps.label_studio.brush import brush_rle
from mfpgan.apps.label_studio.photos import read_task_photo
from mfpgan.apps.label_studio.tags import Tags, tags_for
from mfpgan.apps.loading import load_engine
from mfpgan.apps.replay import Photo, Replay, box_at, number_of, pixel_at
from mfpgan.types import THRESHOLD, BoolMask, Click, InputError, Probability, quoted
from mfpgan.zoom import View

KEY_POINT, RECTANGLE = "keypointlabels", "rectanglelabels"


class Backend:
    """`predict` as label-studio-ml's LabelStudioMLBase has it, without that package.

    Args:
        replay: answers clicks.
        label_config: the project's labelling config, XML.
        read: from what a task's data names to the photo's file; raises InputError.
    """

    def __init__(self, replay: Replay, label_config: str, read: Callable[[str], bytes]) -> None:
        self.replay = replay
        self.label_config = label_config
        self.read = read

    def predict(
        self, tasks: Sequence[dict[str, Any]], context: dict[str, Any] | None = None, **_: Any
    ) -> list[dict[str, Any]]:
        """The mask for what somebody has clicked so far.

        `context["result"]` holds the regions that were drawn with smart tools, oldest first: key points, positive unless
        `is_positive` is false, and rectangles, of which the newest counts (as `box` of `mfpgan.apps.replay.Replay.probability`).

        Args:
            tasks: the task; only the first is looked at, because the regions are of one image.
            context: None, or without regions: nobody has clicked, and there is nothing to predict.

        Returns:
            One prediction with one brush region, or none if the mask is empty; its score is the mean probability inside the mask.
            An empty list without regions.

        Raises:
            InputError: something is wrong with the request.
        """
        regions = _regions(context)
        if not regions:
            return []
        label = _label(regions[-1])
        tags = tags_for(self.label_config, _text(regions[-1], "to_name"), label)
        photo = self.replay.photo(self.read(_named_photo(tasks, tags.key)), f"the task's {tags.key}")
        clicks: list[Click] = []
        box = None
        for region in regions:
            _check(region, photo, tags)
            if region["type"] == KEY_POINT:
                clicks.append(_click(region, photo))
            else:
                box = _box(region, photo)
        probability = self.replay.probability(photo, clicks, box)
        return [self._prediction(probability, tags, label)]

    def _prediction(self, probability: Probability, tags: Tags, label: str) -> dict[str, Any]:
        mask: BoolMask = probability > THRESHOLD
        score = float(probability[mask].mean()) if mask.any() else 0.0
        result = [_region(mask, score, tags, label)] if mask.any() else []
        return {"result": result, "score": score, "model_version": version_of(self.replay)}


def version_of(replay: Replay) -> str:
    """What Label Studio shows as the model's version."""
    return f"mfpgan {replay.engine.name}"


def ml_backend(source: str = "small") -> type:
    """A class for the server of label-studio-ml, which then finds the photos, uploaded and in cloud storage, in its own way.

    In the model.py of that server: `MFPGAN = ml_backend("small")`.

    Args:
        source: what `ClickSession.load` takes.

    Raises:
        InputError: label-studio-ml is not installed, or there is no such model.
    """
    try:
        base = import_module("label_studio_ml.model").LabelStudioMLBase
    except ImportError:
        raise InputError(
            "label-studio-ml is not installed; install it, or use python -m mfpgan.apps.label_studio."
        ) from None
    replay = Replay(load_engine(source))

    def setup(self: Any) -> None:
        self.set("model_version", version_of(replay))

    def predict(
        self: Any, tasks: Sequence[dict[str, Any]], context: dict[str, Any] | None = None, **_: Any
    ) -> list[dict[str, Any]]:
        def read(value: str) -> bytes:
            if value[:5].lower() == "data:":
                return read_task_photo(value, None)
            return Path(self.get_local_path(value, task_id=tasks[0].get("id"))).read_bytes()

        return Backend(replay, self.label_config, read).predict(tasks, context)

    return type("MFPGAN", (base,), {"setup": setup, "predict": predict})


def _region(mask: BoolMask, score: float, tags: Tags, label: str) -> dict[str, Any]:
    height, width = mask.shape
    return {
        # Random: Label Studio keeps it for good, and the same clicks may be made twice in one image.
        "id": uuid4().hex[:10],
        "from_name": tags.from_name,
        "to_name": tags.to_name,
        "type": "brushlabels",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": {"format": "rle", "rle": brush_rle(mask), "brushlabels": [label]},
        "score": score,
        "readonly": False,
    }


def _regions(context: object) -> list[dict[str, Any]]:
    if context is None:
        return []
    if not isinstance(context, dict):
        raise InputError(f"context: expected an object with a result, got {quoted(context)}.")
    regions = context.get("result") or []
    if not isinstance(regions, list) or not all(isinstance(region, dict) for region in regions):
        raise InputError(f"context: expected a list of regions as its result, got {quoted(regions)}.")
    for region in regions:
        if region.get("type") not in (KEY_POINT, RECTANGLE):
            raise InputError(
                f"context: it holds a region of type {quoted(region.get('type'))}, expected {KEY_POINT} or {RECTANGLE}; let only "
                'KeyPointLabels and RectangleLabels be smart="true".'
            )
        if not isinstance(region.get("value"), dict):
            raise InputError(f"context: a region needs a value with its place, got {quoted(region.get('value'))}.")
    return regions


def _named_photo(tasks: object, key: str) -> str:
    task = tasks[0] if isinstance(tasks, list) and tasks else None
    data = task.get("data") if isinstance(task, dict) else None
    value = data.get(key) if isinstance(data, dict) else None
    if not isinstance(value, str) or not value:
        raise InputError(f"tasks: expected a task with a photo as its {quoted(key)}, got {quoted(value)}.")
    return value


def _text(region: dict[str, Any], name: str) -> str:
    value = region.get(name)
    if not isinstance(value, str):
        raise InputError(f"context: a region needs a {name}, got {quoted(value)}.")
    return value


def _label(region: dict[str, Any]) -> str:
    labels = region["value"].get(region["type"])
    if not isinstance(labels, list) or len(labels) != 1 or not isinstance(labels[0], str):
        raise InputError(f"context: a region needs one label, got {quoted(labels)}; choose one and click again.")
    return labels[0]


def _check(region: dict[str, Any], photo: Photo, tags: Tags) -> None:
    height, width = photo.rgb.shape[:2]
    said = region.get("original_width"), region.get("original_height")
    if said != (width, height):
        raise InputError(
            f"the task's {tags.key} is {width}x{height} pixels and Label Studio showed {quoted(said[0])}x{quoted(said[1])}; give "
            "the backend the photo that is shown."
        )
    if region.get("image_rotation") not in (0, None):
        raise InputError(
            f"the photo is turned by {quoted(region['image_rotation'])} degrees in Label Studio; turn it back to click."
        )
    if region.get("to_name") != tags.to_name:
        raise InputError(f"context: regions on two images, {quoted(region.get('to_name'))} and {quoted(tags.to_name)}.")


def _click(region: dict[str, Any], photo: Photo) -> Click:
    positive = region.get("is_positive", True)
    if positive not in (True, False):
        raise InputError(f"context: is_positive must be true or false, got {quoted(positive)}.")
    ((x, y),) = _places(region, photo, ("x", "y"))
    return Click(*pixel_at(x, y, photo, "a key point"), bool(positive))


def _box(region: dict[str, Any], photo: Photo) -> View:
    if region["value"].get("rotation") not in (0, None):
        raise InputError("a rectangle is turned, expected one along the photo's edges; draw it again.")
    (x, y), (width, height) = _places(region, photo, ("x", "y"), ("width", "height"))
    return box_at((x, y), (x + width, y + height), photo, "a rectangle")


def _places(region: dict[str, Any], photo: Photo, *pairs: tuple[str, str]) -> list[tuple[float, float]]:
    """Pairs of a region's values in pixels; it has them in percent of the photo's width and height.

    Rounded, so that a place on the edge of a pixel, where Label Studio can snap to, comes back as a whole number.
    """
    height, width = photo.rgb.shape[:2]
    value = region["value"]
    return [
        (round(number_of(value.get(x), x) * width / 100, 6), round(number_of(value.get(y), y) * height / 100, 6))
        for x, y in pairs
    ]
