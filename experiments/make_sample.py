"""Makes mfpgan/data/sample: 24 CC BY photos of COCO with their objects, small enough to come along.

Run: python experiments/make_sample.py LVIS_MINI (a folder with coco_instances_lvisfmt_{train,val}.json and the photos).
Expected: 16 and 8 photos, under 1.5 MB, the same bytes again with the same Pillow. The photos were chosen by eye: several
clearly visible objects, many categories, no stranger in a private moment.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from PIL import Image

from mfpgan.data.lvis import LvisDataSet
from mfpgan.data.segmentation import draw

PHOTOS = {
    "train": [30, 72, 73, 89, 529, 599, 10073, 10229, 10239, 10309, 10313, 10444, 107438, 121647, 196393, 516008],
    "val": [6012, 11149, 12062, 17029, 99053, 214753, 418281, 475678],
}
LONGER_SIDE_PX, JPEG_QUALITY, SMALLEST_PX, CC_BY = 320, 80, 32, 4
SAMPLE = Path(__file__).parent.parent / "mfpgan" / "data" / "sample"
ATTRIBUTION = """# Where these photos come from

All 24 are photos of the COCO data set (cocodataset.org), put on Flickr by their authors under the Creative Commons
Attribution 2.0 licence (CC BY 2.0, <https://creativecommons.org/licenses/by/2.0/>). A photo page names its author. The photos
were shrunk to {side} pixels on the longer side and saved as JPEG of quality {quality}; nothing else was changed.

The outlines of the objects (`train.json`, `val.json`) are COCO 2017 annotations, COCO Consortium, CC BY 4.0
(<https://creativecommons.org/licenses/by/4.0/>), scaled with the photos; crowds and objects under {smallest} pixels were left out.

| photo | page of the photo and its author | original file | licence |
| --- | --- | --- | --- |
"""


def main(source: Path) -> None:
    """Write the sample anew."""
    if SAMPLE.exists():
        shutil.rmtree(SAMPLE)
    lines = [line for split in PHOTOS for line in make_split(source, split)]
    text = ATTRIBUTION.format(side=LONGER_SIDE_PX, quality=JPEG_QUALITY, smallest=SMALLEST_PX)
    (SAMPLE / "ATTRIBUTION.md").write_text(text + "".join(lines), encoding="utf-8")
    size = sum(path.stat().st_size for path in SAMPLE.rglob("*") if path.is_file())
    print(f"{SAMPLE}: {size / 1e6:.2f} MB")


def make_split(source: Path, split: str) -> list[str]:
    """Write photos and JSON of a split; returns its lines of the attribution table."""
    path = source / f"coco_instances_lvisfmt_{split}.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    data = LvisDataSet(path)
    (SAMPLE / split).mkdir(parents=True)
    images, annotations, lines = [], [], []
    for number in range(data.index.image_count):
        entry = data.index.image(number)
        original = next(image for image in content["images"] if image["id"] == entry.id)
        if entry.id not in PHOTOS[split]:
            continue
        if original["license"] != CC_BY:
            raise ValueError(f"photo {entry.id} has licence {original['license']}, expected {CC_BY}")
        photo = Image.open(data.photo_path(number)).convert("RGB")
        scale = LONGER_SIDE_PX / max(photo.size)
        width, height = round(photo.width * scale), round(photo.height * scale)
        name = f"{split}/{entry.id:012d}.jpg"
        small = photo.resize((width, height), Image.Resampling.LANCZOS)
        small.save(SAMPLE / name, quality=JPEG_QUALITY, optimize=True)
        kept = {key: original[key] for key in ("id", "license", "coco_url", "flickr_url")}
        images.append({**kept, "file_name": name, "height": height, "width": width})
        factors = width / photo.width, height / photo.height
        own = [item for item in content["annotations"] if item["image_id"] == entry.id]
        annotations += [scaled for item in own if (scaled := shrink(item, factors, height, width)) is not None]
        flickr_id = original["flickr_url"].rsplit("/", 1)[1].split("_")[0]
        page = f"https://www.flickr.com/photo.gne?id={flickr_id}"
        lines.append(f"| {name} | <{page}> | <{original['flickr_url']}> | CC BY 2.0 |\n")
    used = {item["category_id"] for item in annotations}
    categories = [{"id": item["id"], "name": item["name"]} for item in content["categories"] if item["id"] in used]
    licenses = [item for item in content["licenses"] if item["id"] == CC_BY]
    written = {"licenses": licenses, "images": images, "categories": categories, "annotations": annotations}
    (SAMPLE / f"{split}.json").write_text(json.dumps(written, separators=(",", ":")) + "\n", encoding="utf-8")
    return lines


def shrink(annotation: dict[str, Any], factors: tuple[float, float], height: int, width: int) -> dict[str, Any] | None:
    """The annotation in the small photo, or None if too little is left of it."""
    polygons = [
        [round(value * factors[axis % 2], 2) for axis, value in enumerate(part)] for part in annotation["segmentation"]
    ]
    area = int(draw(polygons, height, width).sum())
    if area < SMALLEST_PX:
        return None
    xs, ys = [x for part in polygons for x in part[::2]], [y for part in polygons for y in part[1::2]]
    box = [min(xs), min(ys), round(max(xs) - min(xs), 2), round(max(ys) - min(ys), 2)]
    kept = {key: annotation[key] for key in ("id", "image_id", "category_id")}
    return {**kept, "area": area, "bbox": box, "segmentation": polygons}


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python experiments/make_sample.py LVIS_MINI")
    main(Path(sys.argv[1]))
