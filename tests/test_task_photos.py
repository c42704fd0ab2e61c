"""Which files the Label Studio backend opens, and which it never does."""

import base64
import os
from urllib.parse import quote

import pytest

from mfpgan.apps.label_studio.photos import read_task_photo
from mfpgan.types import InputError

PHOTO = b"what a photo's file holds"
DATA_URI = "data:image/png;base64," + base64.b64encode(PHOTO).decode()


@pytest.fixture
def media(tmp_path):
    """Label Studio's media folder, and what lies beside it."""
    folder = tmp_path / "media"
    (folder / "upload" / "3").mkdir(parents=True)
    (folder / "upload" / "3" / "a b.png").write_bytes(PHOTO)
    (folder / "c.png").write_bytes(PHOTO)
    (tmp_path / "secret.png").write_bytes(PHOTO)
    (tmp_path / "media2").mkdir()
    (tmp_path / "media2" / "secret.png").write_bytes(PHOTO)
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "inside.png").symlink_to(folder / "c.png")
    (folder / "loop.png").symlink_to(folder / "loop.png")
    os.mkfifo(folder / "pipe.png")
    return folder


def test_photos_in_the_named_folder_are_found(media):
    for value in (
        "c.png",
        "/data/upload/3/" + quote("a b.png"),
        "upload/3/a b.png",
        "/data/local-files/?d=c.png",
        "/data/local-files/?d=upload/3/" + quote("a b.png"),
        "/data/local-files?d=c.png",
        str(media / "c.png"),
        "inside.png",
    ):
        assert read_task_photo(value, media) == PHOTO, value


@pytest.mark.parametrize(
    "value",
    [
        "../secret.png",
        "upload/../../secret.png",
        "/data/../secret.png",
        "/data/%2e%2e/secret.png",
        "/data/local-files/?d=../secret.png",
        "/data/local-files/?d=%2e%2e%2fsecret.png",
        "/data/local-files/?d=",
        "/data/local-files/",
        "../media2/secret.png",
        "/etc/passwd",
        "/data//etc/passwd",
        "/data/local-files/?d=/etc/passwd",
        "link.png",
        "loop.png",
        "pipe.png",
        "upload",
        ".",
        "missing.png",
        "a\0b.png",
        "x" * 5000,
        "~/secret.png",
    ],
)
def test_no_other_file_is_opened(media, value):
    with pytest.raises(InputError, match=r"there is no such file in the folder of --images; put it there\.$"):
        read_task_photo(value, media)


@pytest.mark.parametrize(
    "value",
    [
        "http://example.org/a.png",
        "https://example.org/a.png",
        "s3://bucket/a.png",
        "file:///etc/passwd",
        "//example.org/a.png",
        "ftp://example.org/a.png",
        "http://[",
    ],
)
def test_nothing_is_fetched(media, value):
    for root in (media, None):
        with pytest.raises(InputError, match=r"nothing is fetched from elsewhere; use a data: URI"):
            read_task_photo(value, root)


def test_without_a_folder_no_file_is_opened(media, monkeypatch):
    monkeypatch.chdir(media)
    with pytest.raises(InputError, match="no folder is named; start the backend with --images FOLDER"):
        read_task_photo("c.png", None)
    assert read_task_photo(DATA_URI.replace("data", "DATA", 1), None) == PHOTO
