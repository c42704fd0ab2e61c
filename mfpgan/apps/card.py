"""The model card: what a trained network is, what it learnt from, what it can do and what not, under whose terms."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mfpgan.apps.hub import Trained
from mfpgan.config import TrainConfig, WeightsName
from mfpgan.evaluation.report import Estimate, InteractiveResult, Report, SingleResult
from mfpgan.types import InputError
from mfpgan.version import __version__

HEAD = """---
license: other
license_name: terms-of-the-training-data
library_name: mfpgan
pipeline_tag: mask-generation
tags: [interactive-segmentation, click-based, image-segmentation]
---
"""
"""What Hugging Face reads."""
TERMS = {
    "lvis": (
        "Annotations of LVIS and COCO: CC BY 4.0. The photos are COCO's, from Flickr, each under the licence that its record in the "
        "JSON names; some of those allow no commercial use."
    ),
    "bsds500": "BSDS500 (Arbelaez et al., PAMI 2011): for non-commercial research and education.",
    "sample": "The sample that comes with mfpgan: photos CC BY 2.0, each by its author, annotations CC BY 4.0.",
    "synthetic": "Drawn shapes; nobody's.",
}
"""By the first word of a data set's name."""
UNKNOWN = (
    "mfpgan does not know the terms of this data. **Before you pass the weights on, look them up and write them here.**"
)
SHOWN_CLICKS = (1, 2, 3, 5, 10, 20)
_LOSSES = {"bce": "weighted binary cross-entropy", "nfl": "normalised focal loss", "bce-dice": "cross-entropy and Dice"}


def card(model: Trained, reports: Sequence[Report], data_terms: str = "", place: str = "") -> str:
    """A model card in Markdown.

    Args:
        model: with its run's folder, which knows names of data, machine and time; without, these are left out.
        reports: evaluations of these very weights.
        data_terms: what is known of the training data and its terms; "" says what mfpgan knows.
        place: what others load it by; "" is the run.
    """
    name = place or model.run_id[:8] or model.name
    run = _json(model.folder / "run.json") if model.folder else {}
    parts = [
        HEAD,
        f"# {run.get('name') or model.name}: click-based interactive segmentation\n",
        _what(model),
        _use(name),
        _data(model.config, run, data_terms),
        _recipe(model, run),
        _numbers(reports, model),
        _limits(model.config, reports),
        "## Licence\n\nThe program is under the MIT licence. The weights come under the terms of the data that they were trained "
        "on, see above.\n",
    ]
    return "\n".join(parts)


def reports_of(model: Trained, weights: WeightsName) -> list[Report]:
    """The evaluations of these weights that lie in the run's folder, in order of their names."""
    found = []
    for path in sorted(model.folder.glob("eval/*/report.json")) if model.folder else ():
        kinds = {"best", "ema"} & set(path.parent.name.split("-"))
        try:
            report = Report.from_json(path.read_text(encoding="utf-8"))
        except (InputError, OSError, UnicodeDecodeError):
            continue  # of another version, or damaged: no number is better than a wrong one
        if report.step == model.step and kinds == {weights} - {"last"}:
            found.append(report)
    return found


def _what(model: Trained) -> str:
    config = model.config
    memory = {
        "none": "",
        "previous": ", its last answer",
        "modulated": ", its last answer and that answer modulated as in MFP",
    }
    million = sum(tensor.numel() for tensor in model.generator.parameters()) / 1e6
    return (
        "A person clicks on an object, clicks again where the mask is wrong, and the mask follows. The network is a U-Net over a "
        f"ResNet-34 of width {config.width:g} ({million:.1f} M parameters) that sees the photo, two maps of clicks"
        f"{memory[config.memory]}. Made with mfpgan {__version__}; run {model.run_id or 'unknown'}, {model.step} steps.\n"
    )


def _use(name: str) -> str:
    return (
        "## Use\n\n```sh\n"
        f"mfpgan demo --run-id {name}\n"
        f"mfpgan predict --run-id {name} photo.jpg --click 120,80,+ --out mask.png\n```\n\n"
        "```python\nfrom mfpgan import ClickSession\n\n"
        f'session = ClickSession.load("{name}")\nsession.set_image("photo.jpg")\nsession.click(y=80, x=120)\n'
        "mask = session.mask  # (H, W) bool\n```\n"
    )


def _data(config: TrainConfig, run: dict[str, Any], terms: str) -> str:
    params = run.get("params", {})
    name = params.get("data_name") or config.data or "unknown"
    digest = f", digest of its annotations {params['data_digest']}" if params.get("data_digest") else ""
    passes = f"; each photo was seen {float(params['passes']):.1f} times" if params.get("passes") else ""
    known = terms or TERMS.get(name.split()[0], UNKNOWN)
    return f"## Training data\n\nTrained on `{_base(name)}`{digest}{passes}.\n\n{known}\n"


def _recipe(model: Trained, run: dict[str, Any]) -> str:
    config = model.config
    adversary = (
        "No adversary" if config.adv == "off" else f"With a discriminator ({config.adv}, weight {config.adv_weight:g})"
    )
    loss = _LOSSES.get(config.loss, config.loss)
    lines = [
        f"{adversary}; {loss}; clicks of the simulated user `{config.clicks}`; pictures of {config.size}x{config.size} pixels, "
        f"batches of {config.batch_size}, {model.step} steps, Adam with learning rate {config.lr:g}, seed {config.seed}.",
    ]
    started, ended = run.get("started"), run.get("ended")
    environment = _json(model.folder / "environment.json") if model.folder else {}
    if isinstance(started, float) and isinstance(ended, float) and ended > started:
        machine = environment.get("device") or f"{environment.get('cpus', '?')} CPU cores"
        lines.append(f"It took {(ended - started) / 60:.0f} minutes on {machine}, with torch {_torch(environment)}.")
    usual = TrainConfig().model_dump(mode="json")
    given = {
        key: value
        for key, value in config.model_dump(mode="json").items()
        if value != usual.get(key) and value is not None and value != {}
    }
    table = "\n".join(f"| `{key}` | `{_base(str(value))}` |" for key, value in given.items())
    return (
        "## Recipe\n\n" + " ".join(lines) + "\n\nOptions of `mfpgan train` that differ from its defaults:\n\n"
        f"| option | value |\n| --- | --- |\n{table}\n"
    )


def _numbers(reports: Sequence[Report], model: Trained) -> str:
    if not reports:
        return (
            "## Numbers\n\nThese weights have not been evaluated. "
            f"`mfpgan eval --run-id {model.run_id[:8] or 'ID'} --zoom` does it, on BSDS500 where it is found.\n"
        )
    text = "## Numbers\n\n95 % intervals by bootstrap over images; one training seed, so what another seed would give is no part of them.\n"
    if any("bsds500" in report.data for report in reports):
        text += (
            'BSDS500\'s objects are regions that at least half of its annotators agree on: these are not the 100 "Berkeley" objects '
            "of the literature, and the numbers do not compare with published ones.\n"
        )
    for report in reports:
        if report.interactive:
            text += f"\n### {report.data}, clicked by a robot\n\n{_interactive(report.interactive)}"
        if report.single:
            text += f"\n### {report.data}, two random clicks\n\n{_single(report.single)}"
    return text


def _interactive(result: InteractiveResult) -> str:
    zoom = "with" if result.zoom else "without"
    lines = [
        f"{result.objects} objects at their native size, robot `{result.robot}`, {result.max_clicks} clicks at most, {zoom} zoom.\n",
        "| clicks to an IoU of | mean, 20 if never | never |".replace("20", str(result.max_clicks)),
        "| --- | --- | --- |",
    ]
    for percent, value in result.noc.items():
        share = result.failures[percent] / len(result.rows)
        lines.append(f"| {percent} % (NoC_{percent}) | {_interval(value, 2)} | {share:.0%} |")
    lines += ["", "| after so many clicks | IoU | boundary IoU |", "| --- | --- | --- |"]
    for click in SHOWN_CLICKS:
        if click <= result.max_clicks:
            iou, boundary = result.iou[click - 1], result.biou[click - 1]
            lines.append(f"| {click} | {_interval(iou, 3)} | {_interval(boundary, 3)} |")
    return "\n".join(lines) + "\n"


def _single(result: SingleResult) -> str:
    lines = [
        f"One object an image at {result.size}x{result.size} pixels, one positive and one negative click, one answer.\n",
        "| | IoU, all pixels together | IoU by image |",
        "| --- | --- | --- |",
    ]
    part = "single" if "single" in result.scores else next(iter(result.scores))
    for name, score in result.scores[part].items():
        lines.append(f"| {name} | {score.pooled['iou']:.3f} | {_interval(score.per_image['iou'], 3)} |")
    return "\n".join(lines) + "\n"


def _limits(config: TrainConfig, reports: Sequence[Report]) -> str:
    lines = [
        f"- It follows clicks near the size that it was trained at, {config.size} pixels; sessions, `predict` and `demo` therefore show it "
        "every photo at that size, and then the part round the mask (zoom).",
        "- It knows what its training data holds: other kinds of pictures (medical, aerial, drawn) were not tried.",
        "- A mask is a proposal to be looked at by a person; do not decide about people with it.",
    ]
    if config.memory == "none":
        lines.insert(
            1,
            "- It does not see its last answer, so it cannot begin with a mask, and a later click may undo an earlier one.",
        )
    for report in reports:
        if report.interactive and report.interactive.failures.get("90"):
            share = report.interactive.failures["90"] / len(report.interactive.rows)
            lines.insert(
                1,
                f"- On {report.data}, {share:.0%} of the objects do not reach 90 % IoU in {report.interactive.max_clicks} clicks.",
            )
    return "## Limits\n\n" + "\n".join(lines) + "\n"


def _interval(value: Estimate, digits: int) -> str:
    return f"{value.mean:.{digits}f} [{value.low:.{digits}f}, {value.high:.{digits}f}]"


def _torch(environment: dict[str, Any]) -> str:
    packages = environment.get("packages")
    return str(packages.get("torch", "?")) if isinstance(packages, dict) else "?"


def _base(text: str) -> str:
    """Without the folders of the machine that it was trained on."""
    return " ".join(word.rsplit("/", 1)[-1] or word for word in text.split(" "))


def _json(path: Path) -> dict[str, Any]:
    """What a run noted; {} where it did not."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}
