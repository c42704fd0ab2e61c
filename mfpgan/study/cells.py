"""The trainings of a study: what is there, and what is to do."""

from __future__ import annotations

from pathlib import Path

from mfpgan.study.file import Study


def finished(study: Study, root: Path = Path("runs")) -> dict[tuple[str, int], list[Path]]:
    """The report.json of every cell that is trained and evaluated: by arm and seed, one for each entry of `evaluate`, in its
    order."""
    raise NotImplementedError
