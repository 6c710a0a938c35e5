"""Adapt a small network between two sets of images, export it, and predict without torch."""

import tempfile
from pathlib import Path

from isthmus import Run
from isthmus.compose import load_labelled
from isthmus.deploy.bundle import write_bundle
from isthmus.deploy.predictor import Predictor
from isthmus.learners.loop import Training
from isthmus.manager import discover
from isthmus.matching import match
from isthmus_alignment.deep.mcc import MCC

catalogue = discover()
source = load_labelled(catalogue, "digits:upright")
target = load_labelled(catalogue, "digits:blurred")
test = load_labelled(catalogue, "digits:blurred#split=test")

task, notes = match([source], target)
adapted = MCC(training=Training(steps=200)).adapt(task, Run(seed=0))

with tempfile.TemporaryDirectory() as folder:
    manifest = write_bundle(adapted, Path(folder) / "bundle", record={"strategy": "mcc"})
    predictor = Predictor(Path(folder) / "bundle", device="auto")
    truth = [test.schema.classes[i] for i in test.y]
    right = [a == b for a, b in zip(predictor.labels(test.x), truth, strict=True)]
    print(f"parity {manifest['parity']['max_abs_diff']:.1e}, on {predictor.provider}")
    print(f"accuracy {sum(right) / len(right):.3f}")
