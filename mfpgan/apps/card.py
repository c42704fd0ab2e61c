"""The model card: what a trained network is, what it learnt from, what it can do and what not, under whose terms."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mfpgan.apps.card_numbers import numbers, weaknesses
from mfpgan.apps.hub import PATHS, Trained, without_folders
from mfpgan.config import TrainConfig, WeightsName
from mfpgan.evaluation.report import Report
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
INTENDED = """## Intended use

Masks that a person makes with clicks and looks at: annotation, photo editing, research on interactive segmentation. Not masks that
nobody looks at, and no decisions about people.
"""
LICENCE = """## Licence

The program is under the MIT licence. The weights come under the terms of the data that they were trained on, see above.
"""
_LOSSES = {"bce": "weighted binary cross-entropy", "nfl": "normalised focal loss", "bce-dice": "cross-entropy and Dice"}
_MEMORIES = {
    "none": "",
    "previous": ", and its last answer",
    "modulated": ", its last answer, and that answer modulated as in MFP",
}
_WEIGHTS = {
    "last": "as training left them",
    "best": "as they were when val/iou was highest",
    "ema": "the running mean of training",
}


def card(
    model: Trained, reports: Sequence[Report], weights: WeightsName = "last", data_terms: str = "", place: str = ""
) -> str:
    """A model card in Markdown.

    Args:
        model: with its run's folder, which knows names of data, machine and time; without, these are left out.
        reports: evaluations of these very weights.
        weights: which of the run's they are.
        data_terms: what is known of the training data and its terms; "" says what mfpgan knows.
        place: what others load it by; "" is the run.
    """
    run = _json(model.folder / "run.json") if model.folder else {}
    environment = _json(model.folder / "environment.json") if model.folder else {}
    params = _mapping(run, "params")
    name = place or model.run_id[:8] or model.name
    own = "" if place or weights == "last" else weights
    flag = f" --weights {own}" if own else ""
    evaluate = (
        f"mfpgan eval --run-id {model.run_id[:8] or 'ID'} --zoom{f' --weights {weights}' if weights != 'last' else ''}"
    )
    parts = [
        HEAD,
        f"# {' '.join(str(run.get('name') or model.name).split())}: click-based interactive segmentation\n",
        _what(model, weights),
        _use(name, flag, f', weights="{own}"' if own else ""),
        INTENDED,
        _data(model.config, params, data_terms),
        _recipe(model, run, environment),
        numbers(reports, evaluate),
        _limits(
            model.config, weaknesses(reports, str(params.get("data_name", "")), str(params.get("data_digest", "")))
        ),
        LICENCE,
    ]
    return "\n".join(parts)


def _what(model: Trained, weights: WeightsName) -> str:
    count = sum(tensor.numel() for tensor in model.generator.parameters())
    return (
        "A person clicks on an object, clicks again where the mask is wrong, and the mask follows. The network is a U-Net over a "
        f"ResNet-34 of width {model.config.width:g} ({count / 1e6:.1f} million parameters); it sees the photo, a map of the positive "
        f"clicks and one of the negative ones{_MEMORIES[model.config.memory]}. Made with mfpgan {__version__}: run "
        f"{model.run_id or 'unknown'}, {model.step} steps, weights {_WEIGHTS[weights]}.\n"
    )


def _use(name: str, flag: str, argument: str) -> str:
    demo = "" if flag else f"mfpgan demo --run-id {name}\n"  # which shows a run's last weights
    return (
        "## Use\n\n```sh\n"
        f"{demo}"
        f"mfpgan predict --run-id {name}{flag} photo.jpg --click 120,80,+ --out mask.png\n```\n\n"
        "```python\nfrom mfpgan import ClickSession\n\n"
        f'session = ClickSession.load("{name}"{argument})\nsession.set_image("photo.jpg")\nsession.click(y=80, x=120)\n'
        "mask = session.mask  # (H, W) bool\n```\n"
    )


def _data(config: TrainConfig, params: dict[str, Any], terms: str) -> str:
    name = str(params.get("data_name") or without_folders(config.data or "") or "unknown")
    facts = [f"Trained on `{name}`"]
    if params.get("data_images") and params.get("data_objects"):
        facts.append(f"{params['data_images']} images with {params['data_objects']} objects")
    if params.get("data_digest"):
        facts.append(f"digest of its annotations {params['data_digest']}")
    if params.get("passes"):
        facts.append(f"each image seen {params['passes']} times on average")
    validated = (
        without_folders(config.val_data) if config.val_data else "the val part beside it, or a held-out part of it"
    )
    if config.val_data != "none":
        split = f" {config.val_split}" if config.val_data and config.val_split else ""
        facts.append(f"validated during training on {validated}{split}")
    known = terms or TERMS.get(name.split(maxsplit=1)[0], UNKNOWN)
    return f"## Training data\n\n{', '.join(facts)}.\n\n{known}\n"


def _recipe(model: Trained, run: dict[str, Any], environment: dict[str, Any]) -> str:
    config = model.config
    adversary = (
        "No adversary" if config.adv == "off" else f"With a discriminator ({config.adv}, weight {config.adv_weight:g})"
    )
    text = (
        f"{adversary}; {_LOSSES[config.loss]}; clicks of the simulated user `{config.clicks}`; crops of {config.size}x{config.size} "
        f"pixels, batches of {config.batch_size}, {model.step} steps, Adam{'W' if config.weight_decay else ''} with learning rate {config.lr:g}, seed {config.seed}."
    )
    started, ended = run.get("started"), run.get("ended")
    if isinstance(started, float) and isinstance(ended, float) and ended > started:
        machine = environment.get("device") or f"{environment.get('cpus', '?')} CPU cores"
        torch = _mapping(environment, "packages").get("torch", "?")
        text += f" From start to end {(ended - started) / 60:.0f} minutes, on {machine}, with torch {torch}."
    usual = TrainConfig().model_dump(mode="json")
    given = {
        key: without_folders(str(value)) if key in PATHS else str(value).replace("|", "\\|")
        for key, value in config.model_dump(mode="json").items()
        if value != usual.get(key) and value is not None and value != {}
    }
    table = "\n".join(f"| `{key}` | `{value}` |" for key, value in given.items())
    return (
        f"## Recipe\n\n{text}\n\nOptions of `mfpgan train` that differ from its defaults:\n\n"
        f"| option | value |\n| --- | --- |\n{table}\n"
    )


def _limits(config: TrainConfig, found: Sequence[str]) -> str:
    lines = [
        *found,
        f"It follows clicks near the size that it was trained at, {config.size} pixels. Sessions, `predict` and `demo` therefore show "
        "it every photo at that size, and then the part round the mask (zoom); a photo of any size may be opened.",
        "It knows what its training data holds. Pictures of other kinds were not tried.",
    ]
    if config.memory == "none":
        lines.append(
            "It does not see its last answer: it cannot begin with a mask, and a click may undo an earlier one."
        )
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in lines) + "\n"


def _mapping(values: dict[str, Any], name: str) -> dict[str, Any]:
    found = values.get(name)
    return found if isinstance(found, dict) else {}


def _json(path: Path) -> dict[str, Any]:
    """What a run noted; {} where it did not."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}
