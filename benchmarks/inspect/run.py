"""Does inspect tell domains whose columns correspond from ones whose columns are shuffled?

    python benchmarks/inspect/run.py            reads $ISTHMUS_DATA

Every ordered pair of the domains below, as it is and with the target's columns in three random
orders. Prints a Markdown table: how many pairs show a sign that columns mean the same, and how much
more the target varies along the source's class directions than with its columns shuffled.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np

from isthmus import Run
from isthmus.compose import load_labelled
from isthmus.manager import discover
from isthmus.matching import match
from isthmus.shift.correspondence import Correspondence, correspondence
from isthmus.shift.drawing import draw

ORDERS = 3
OFFICE = ("amazon", "caltech10", "dslr", "webcam")
PLACES = {
    "MNIST, USPS": [f"npz:digits/{d}.npz" for d in ("mnist", "usps")],
    "MNIST, MNIST-M": [f"npz:digits/{d}.npz" for d in ("mnist", "mnist_m")],
    "digits of scikit-learn": [
        f"digits:{d}" for d in ("upright", "blurred", "rotated", "inverted", "noisy")
    ],
    "HAR, six subjects": [f"npz:har/har.npz#where=subject:{s}" for s in (2, 6, 7, 11, 13, 23)],
    "Office-Caltech10, SURF": [f"npz:office_caltech_surf/{d}.npz" for d in OFFICE],
    "Office-Caltech10, MobileNetV2": [f"npz:office_caltech_mobilenetv2/{d}.npz" for d in OFFICE],
    "PACS, MobileNetV2": [
        f"npz:pacs_mobilenetv2/{d}.npz" for d in ("photo", "art_painting", "cartoon", "sketch")
    ],
    "reviews": [f"npz:amazon_reviews/{d}.npz" for d in ("books", "dvd", "electronics", "kitchen")],
    "citations": [f"npz:citation/{d}.npz" for d in ("acmv9", "citationv1", "dblpv7")],
}


def found(source: str, target: str, orders: int) -> list[Correspondence]:
    """Return what the test says of a pair: of its columns as they are, then of other orders."""
    catalogue = discover(third_party=False)
    task, _ = match([load_labelled(catalogue, source)], load_labelled(catalogue, target))
    drawn = draw(task, Run())
    width = drawn.target.shape[1]
    order = [np.arange(width)]
    order += [np.random.default_rng(i).permutation(width) for i in range(orders)]
    out = [correspondence(drawn.source, drawn.y, drawn.target[:, o], Run().rng()) for o in order]
    return [c for c in out if c is not None]


def main() -> None:
    print("| domains | pairs | a sign of it | ratio | shuffled | a sign of it |")
    print("|---|---|---|---|---|---|")
    for name, places in PLACES.items():
        each = [found(s, t, ORDERS) for s, t in permutations(places, 2)]
        own = [c[0] for c in each]
        others = [c for one in each for c in one[1:]]
        signs = [sum(c.verdict == "shown" for c in some) for some in (own, others)]
        ratios = [c.ratio for c in own]
        print(
            f"| {name} | {len(own)} | {signs[0]} | {min(ratios):.1f} to {max(ratios):.1f} | "
            f"{len(others)} | {signs[1]} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
