"""How the photo of a task is found. What a request names is not trusted: a data: URI brings the photo along, and files are read
only below the folder that the operator named. Nothing is fetched from elsewhere."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from mfpgan.types import InputError, quoted

LOCAL_FILES = "/data/local-files/"
"""Label Studio's URL of a file in its local storage: /data/local-files/?d=PATH."""
DATA = "/data/"
"""Of a file that was uploaded: /data/upload/PROJECT/FILE, below Label Studio's media folder."""


def read_task_photo(value: str, root: Path | None) -> bytes:
    """The file that a task's data names.

    Args:
        value: a data: URI, a URL path of Label Studio's as above, or a path in the folder.
        root: the folder; None: no files.

    Raises:
        InputError: another kind of URL, a file outside the folder (links are followed first), or one that cannot be read.
    """
    if value[:5].lower() == "data:":
        return _in_the_uri(value)
    url = _split(value)
    if url is None or url.scheme or url.netloc:
        raise InputError(
            f"{quoted(value)}: nothing is fetched from elsewhere; use a data: URI, a file in the folder of --images, or "
            "label-studio-ml."
        )
    if root is None:
        raise InputError(f"{quoted(value)}: no folder is named; start the backend with --images FOLDER.")
    if url.path.rstrip("/") == LOCAL_FILES.rstrip("/"):
        name = parse_qs(url.query).get("d", [""])[0]
    elif url.path.startswith(DATA):
        name = unquote(url.path.removeprefix(DATA))
    else:
        name = value
    return _read_below(root, name, value)


def _read_below(root: Path, name: str, value: str) -> bytes:
    folder = root.resolve()
    try:
        path = (folder / name).resolve()
        if path.is_relative_to(folder) and path.is_file():
            return path.read_bytes()
    except (OSError, ValueError, RuntimeError):  # no right to read, a zero byte, a loop of links
        pass
    # One sentence for all of them: nobody learns here which files exist elsewhere.
    raise InputError(f"{quoted(value)}: there is no such file in the folder of --images; put it there.")


def _in_the_uri(value: str) -> bytes:
    head, comma, text = value.partition(",")
    if not comma or not head.lower().endswith(";base64"):
        raise InputError("the data: URI is not in base64, expected data:image/png;base64,...; send it so.")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InputError("the data: URI is not base64, or cut off; send the photo's whole file.") from None


def _split(value: str) -> SplitResult | None:
    try:
        return urlsplit(value)
    except ValueError:  # a bracket that is not closed
        return None
