"""The labelling config of a Label Studio project, as far as masks need it."""

from __future__ import annotations

from typing import NamedTuple
from xml.etree import ElementTree

from mfpgan.types import InputError, quoted, reason_of


class Tags(NamedTuple):
    """Where a mask goes and where its photo is found."""

    from_name: str
    """Name of the BrushLabels tag."""
    to_name: str
    """Name of the Image tag."""
    key: str
    """Of the photo in a task's data."""


def tags_for(config: str, to_name: str, label: str) -> Tags:
    """The tags for a mask of a label.

    Args:
        config: the project's labelling config, XML.
        to_name: the Image tag that was clicked on.
        label: what was clicked with; a BrushLabels tag of that image must have it too.

    Raises:
        InputError: there are no such tags.
    """
    tags = list(_parsed(config).iter())
    image = next((tag for tag in tags if _kind(tag) == "image" and tag.get("name") == to_name), None)
    if image is None:
        raise InputError(f"the labelling config has no Image tag of the name {quoted(to_name)}; reload the project.")
    key = image.get("value", "")
    if not key.startswith("$") or not key[1:]:
        raise InputError(f'the Image tag {quoted(to_name)} shows {quoted(key)}, expected one photo, value="$image".')
    brushes = [tag for tag in tags if _kind(tag) == "brushlabels" and tag.get("toName") == to_name]
    for brush in brushes:
        # Results name a label by its alias, if it has one.
        if any(
            _kind(child) == "label" and label == (child.get("alias") or child.get("value")) for child in brush.iter()
        ):
            return Tags(brush.get("name", ""), to_name, key[1:])
    raise InputError(
        f"the labelling config has no BrushLabels tag of {quoted(to_name)} with the label {quoted(label)}; add it, so that "
        "there is a brush for the mask."
    )


def _kind(tag: ElementTree.Element) -> str:
    """Label Studio writes KeyPointLabels and reads keypointlabels."""
    return tag.tag.lower() if isinstance(tag.tag, str) else ""


def _parsed(config: str) -> ElementTree.Element:
    if "<!" in config.replace("<!--", ""):  # entities could unfold to gigabytes, and no config has them
        raise InputError("the labelling config declares a document type or entities; leave <!DOCTYPE> and such out.")
    try:
        return ElementTree.fromstring(config)
    except (ElementTree.ParseError, ValueError, RecursionError) as error:
        raise InputError(
            f"the labelling config is not readable as XML ({reason_of(error)}); reload the project."
        ) from None
