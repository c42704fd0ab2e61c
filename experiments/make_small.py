"""Make the model that comes along, mfpgan/small.

python experiments/make_small.py mix PACK BSDS500 OUT     the photos that it is trained on, a folder for --data
python experiments/make_small.py pack RUN_ID              the trained run into mfpgan/small; from the folder of its runs/

Between the two, with the strong recipe for as long as an hour of one core allows, and evaluated:

mfpgan train --data OUT --val-data BSDS500 --val-split val --config strong --size 192 --width 0.25 --batch-size 8 \\
    --encoder-weights none --precision bf16 --steps 8000 --save-every 500 --eval-every 2000 --ema 0.999 --name small --workers 0
mfpgan eval --run-id RUN_ID --data BSDS500 --split val --zoom --weights last     likewise ema and best: what is packed is chosen here
mfpgan eval --run-id RUN_ID --data BSDS500 --zoom --weights ema                  the numbers of its card, on the test split

PACK holds images/ and masks/ of COCO, LVIS, ECSSD, PASCAL VOC (cosegmentation), Penn-Fudan, Clothing Co-Parsing, Car Parts and
others, 4,411 photos. BSDS500's 199 train photos with consensus objects stand in the mix five times each, or one in 22 would be of
them. Expected: usable with five clicks on ordinary photos, far from what a pretrained network of full width can do. Result: its card.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mfpgan.apps.card import card
from mfpgan.apps.card_numbers import reports_of
from mfpgan.apps.hub import save_folder
from mfpgan.apps.loading import SMALL, load_trained
from mfpgan.data.bsds500 import write_png

COPIES = 5
TERMS = """**For research only.** The mix holds 4,411 photos of other data sets: COCO and LVIS (annotations CC BY 4.0; Flickr photos, each
under its own licence), ECSSD, PASCAL VOC (cosegmentation) and Penn-Fudan (research data sets whose repositories state no licence of the
data), Clothing Co-Parsing (Apache-2.0), Car Parts (no licence stated), NVIDIA DALI_extra (Apache-2.0), and balloons (terms unknown);
and, five times each, BSDS500's 199 train photos with the objects on which at least half of its annotators agree (non-commercial
research and education).

**The numbers on BSDS500 are in-domain:** its train split was trained on, and its val split chose between the weights as training left
them and their running mean, which are as good as each other there. The PASCAL VOC photos may be in the val set of SBD, and the 24
photos of the sample that comes with mfpgan were trained on: do not evaluate this model on either."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    mixing = commands.add_parser("mix")
    for name in ("pack", "bsds500", "out"):
        mixing.add_argument(name, type=Path)
    packing = commands.add_parser("pack")
    packing.add_argument("run_id")
    packing.add_argument("--weights", choices=("last", "best", "ema"), default="ema")
    packing.add_argument("--out", type=Path, default=SMALL)
    arguments = parser.parse_args()
    if arguments.command == "mix":
        mix(arguments.pack, arguments.bsds500, arguments.out)
    else:
        model = load_trained(arguments.run_id, arguments.weights)
        save_folder(arguments.out, model, card(model, reports_of(model, arguments.weights), TERMS, "small"), half=True)
        print(f"{arguments.out}: {sum(path.stat().st_size for path in arguments.out.iterdir()) / 1e6:.1f} MB")


def mix(pack: Path, bsds500: Path, out: Path) -> None:
    """Hard links to the pack's photos and masks, and to BSDS500's under `COPIES` names each."""
    write_png(bsds500, out / "bsds500", "train")
    for kind in ("images", "masks"):
        (out / kind).mkdir()
        for path in sorted((pack / kind).iterdir()):
            (out / kind / path.name).hardlink_to(path)
        for path in sorted((out / "bsds500" / kind).iterdir()):
            for copy in range(1, COPIES + 1):
                (out / kind / f"bsds{copy}__{path.name}").hardlink_to(path)


if __name__ == "__main__":
    main()
