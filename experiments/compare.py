"""Two evaluated runs as a table: each number with its interval, and the paired difference.

python experiments/compare.py RUN_A RUN_B --data bsds500                        prints Markdown
python experiments/compare.py RUN_A RUN_B --labels seed strong --into README.md --section strong
    puts it between that file's markers `<!-- results: strong -->` and `<!-- end of results -->`, and the curves beside
    it as docs/strong.png of the repository
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
from page import put
from PIL import Image

from mfpgan import tracking
from mfpgan.evaluation.report import MODEL, Estimate, Report
from mfpgan.figures import clicks_curve_figure
from mfpgan.metrics import METRICS, bootstrap_interval
from mfpgan.types import InputError

REPOSITORY = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs=2, metavar="RUN", help="run id or unique prefix")
    parser.add_argument("--data", default="bsds500", help="prefix of the evaluation's metrics")
    parser.add_argument("--labels", nargs=2, metavar="LABEL", help="what the runs are called; left out: their --adv")
    parser.add_argument("--into", type=Path, metavar="FILE", help="Markdown file to put the table into")
    parser.add_argument("--section", help="which of the file's marked places")
    arguments = parser.parse_args()
    records = [tracking.find_run(run) for run in arguments.runs]
    paths = [record.folder / "eval" / arguments.data / "report.json" for record in records]
    names = arguments.labels or [f"--adv {record.params['adv']}" for record in records]
    if bool(arguments.into) != bool(arguments.section):
        parser.error("--into and --section belong together: the file and which of its marked places")
    first, second = (Report.from_json(path.read_text(encoding="utf-8")) for path in paths)
    for what in ("digest", "precision", "device"):
        if getattr(first, what) != getattr(second, what):
            parser.error(
                f"the reports differ in {what}: {getattr(first, what)} and {getattr(second, what)}; evaluate again"
            )
    if not (first.single and second.single and first.interactive and second.interactive):
        parser.error("both runs need both protocols; evaluate again with --protocol both")
    clicks = [[row.clicks for row in report.single.rows] for report in (first, second)]
    objects = [[row.id for row in report.interactive.rows] for report in (first, second)]
    if clicks[0] != clicks[1] or objects[0] != objects[1]:
        parser.error(
            "the reports are of other objects or other random clicks; evaluate both with one seed and one limit"
        )
    text = "\n".join([*single_table(names, first, second), "", *interactive_table(names, first, second)])
    if arguments.into is None:
        print(text)
        return
    picture = REPOSITORY / "docs" / f"{arguments.section}.png"
    link = f"![IoU by click]({os.path.relpath(picture, arguments.into.resolve().parent)})"
    try:
        put(arguments.into, arguments.section, f"{text}\n\n{link}")
    except InputError as error:
        parser.error(str(error))
    curves = {name: one.interactive.iou for name, one in zip(names, (first, second), strict=True)}
    Image.fromarray(clicks_curve_figure(curves, f"{first.data}: mean IoU after each click")).save(picture)


def single_table(names: list[str], first: Report, second: Report) -> list[str]:
    """Protocol `single`: pooled pixels of the first 20 and of all images, references and the difference."""
    lines = [
        f"| `single`, {first.data} | Dice | IoU | precision | recall | accuracy | IoU, mean over images [95 %] |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for part, scores in first.single.scores.items():
        images = part.removeprefix("single") or str(len(first.single.rows))
        rows = [(f"`{names[0]}`", scores[MODEL]), (f"`{names[1]}`", second.single.scores[part][MODEL])]
        rows += [(name, score) for name, score in scores.items() if name != MODEL]
        for name, score in rows:
            numbers = " | ".join(f"{score.pooled[key]:.4f}" for key in METRICS)
            lines.append(f"| {name}, {images} images | {numbers} | {estimate(score.per_image['iou'], 3)} |")
    per_image = [[METRICS["iou"](row.confusion[MODEL]) for row in report.single.rows] for report in (first, second)]
    change = difference(*per_image, [row.image for row in first.single.rows])
    lines.append(
        f"| **{short(names[1])} - {short(names[0])}**, paired by image | | | | | | {estimate(change, 3, sign=True)} |"
    )
    return lines


def interactive_table(names: list[str], first: Report, second: Report) -> list[str]:
    """Protocol `interactive`: clicks to an IoU, failures, IoU after some clicks, and the difference."""
    one, two = first.interactive, second.interactive
    groups = [row.image for row in one.rows]
    clicks = [click for click in (1, 3, 5, 10, 20) if click <= one.max_clicks]
    lines = [
        f"| `interactive`, {first.data}, {len(one.rows)} objects, {one.max_clicks} clicks "
        f"| `{names[0]}` | `{names[1]}` | {short(names[1])} - {short(names[0])}, paired |",
        "| --- | --- | --- | --- |",
    ]
    for percent, value in one.noc.items():
        change = difference([row.noc[percent] for row in one.rows], [row.noc[percent] for row in two.rows], groups)
        lines.append(
            f"| NoC_{percent} | {estimate(value, 2)} | {estimate(two.noc[percent], 2)} "
            f"| {estimate(change, 2, sign=True)} = {change.mean / value.mean:+.0%} |"
        )
        shares = [f"{result.failures[percent]} ({result.failures[percent] / len(groups):.0%})" for result in (one, two)]
        lines.append(f"| never at {percent} % | {shares[0]} | {shares[1]} | |")
    for title, key in (("IoU", "iou"), ("boundary IoU", "biou")):
        for click in clicks:
            pair = [[getattr(row, key)[click - 1] for row in result.rows] for result in (one, two)]
            values = [getattr(result, key)[click - 1] for result in (one, two)]
            change = estimate(difference(*pair, groups), 3, sign=True)
            lines.append(
                f"| {title} after {click} click{'s' * (click > 1)} | {estimate(values[0], 3)} | {estimate(values[1], 3)} | {change} |"
            )
    lines.append(
        f"| seconds a click (outside the network) | {one.seconds_per_click:.3f} ({one.overhead_share:.0%}) "
        f"| {two.seconds_per_click:.3f} ({two.overhead_share:.0%}) | |"
    )
    return lines


def difference(first: list[float], second: list[float], groups: list[int]) -> Estimate:
    """Mean of second - first object by object, 95 % bootstrap over images."""
    changes = np.subtract(second, first).tolist()
    return Estimate(float(np.mean(changes)), *bootstrap_interval(changes, groups))


def short(name: str) -> str:
    """`--adv hinge` is called hinge in a difference."""
    return name.removeprefix("--adv ")


def estimate(value: Estimate, digits: int, sign: bool = False) -> str:
    form = f"{'+' if sign else ''}.{digits}f"
    return f"{value.mean:{form}} [{value.low:{form}}, {value.high:{form}}]"


if __name__ == "__main__":
    main()
