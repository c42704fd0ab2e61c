"""A study's report as a section of a Markdown page.

python experiments/study_page.py studies/clicks/report --into experiments/README.md
    puts verdicts, warnings and tables between that page's markers `<!-- results: clicks -->` and `<!-- end of results -->`
    and copies the pictures to docs/study_clicks_NAME.png of the repository, but no contact sheets: their photos are the data set's
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
from pathlib import Path

from page import put

from mfpgan.types import InputError

REPOSITORY = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path, help="folder that mfpgan study report made")
    parser.add_argument("--into", type=Path, required=True, metavar="FILE", help="Markdown page with the markers")
    arguments = parser.parse_args()
    report, page = arguments.report.resolve(), arguments.into.resolve()
    study = report.parent.name
    try:
        put(page, study, section(report, study, page.parent))
    except (OSError, InputError) as error:
        parser.error(str(error))


def section(report: Path, study: str, beside: Path) -> str:
    """The page of a report without its title, question and expectation, which stand round the markers already.

    Args:
        beside: the folder of the page that it goes into.
    """
    text = (report / "report.md").read_text(encoding="utf-8")
    text = re.split(r"^\*\*Expected, before the first run\.\*\* .*$", text, maxsplit=1, flags=re.MULTILINE)[-1].strip()
    for link, name in re.findall(r"(!\[[^]]+\]\(([^)]+)\.png\))", text):
        if name.startswith(("best_", "worst_")):
            text = text.replace(link, "")
            continue
        copy = REPOSITORY / "docs" / f"study_{study}_{name}.png"
        shutil.copyfile(report / f"{name}.png", copy)
        text = text.replace(f"({name}.png)", f"({os.path.relpath(copy, beside)})")
    return text.strip()


if __name__ == "__main__":
    main()
