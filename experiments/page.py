"""Results of experiments go between markers of a Markdown page, so that nobody copies numbers by hand."""

from __future__ import annotations

from pathlib import Path

from mfpgan.files import write_atomically
from mfpgan.types import InputError

END = "<!-- end of results -->"


def put(page: Path, section: str, text: str) -> None:
    """Replace what stands between `<!-- results: SECTION -->` and `<!-- end of results -->` of a page.

    Raises:
        InputError: the page has no such place.
    """
    begin = f"<!-- results: {section} -->"
    whole = page.read_text(encoding="utf-8")
    if begin not in whole or END not in whole.split(begin)[1]:
        raise InputError(f"{page} has no line {begin} with {END} after it; write both where the results belong.")
    before, rest = whole.split(begin)
    after = rest.split(END, 1)[1]
    write_atomically(page, f"{before}{begin}\n\n{text}\n\n{END}{after}".encode())
