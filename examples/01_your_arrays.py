"""Adapt between two tables that are in memory, and ask whether it helped."""

import numpy as np

from isthmus import Domain, Evidence, Labelled, Schema, Task
from isthmus.evaluator import judge
from isthmus_alignment.shallow.coral import CORAL
from isthmus_baselines.source_only import SourceOnly
from isthmus_evaluators.supervised import Accuracy
from isthmus_evaluators.validators.information_maximisation import InformationMaximisation

rng = np.random.default_rng(0)
schema = Schema(kind="table", shape=(5,), classes=("no", "yes"))
shear = np.eye(5) + 0.3 * rng.normal(size=(5, 5))
w = rng.normal(size=5)


def draw(n, moved):
    x = rng.normal(size=(n, 5)) * [3, 1, 1, 1, 0.3]
    y = (x @ w > 0).astype(int)
    return ((x @ shear + 1) if moved else x).astype(np.float32), y


x_source, y_source = draw(1000, moved=False)
x_target, _ = draw(1000, moved=True)  # its labels are not known
x_test, y_test = draw(1000, moved=True)

task = Task(
    sources=(Labelled(name="source", schema=schema, x=x_source, y=y_source),),
    target=Domain(name="target", schema=schema, x=x_target),
)
test = Labelled(name="test", schema=schema, x=x_test, y=y_test)

for strategy in (SourceOnly(), CORAL(shrinkage=0.01)):
    evidence = Evidence(adapted=strategy.adapt(task), target=test)
    with_labels = judge(Accuracy(), evidence)
    without = judge(InformationMaximisation(), evidence)
    print(f"{strategy.name}: accuracy {with_labels:.3f}, without labels {without:.3f}")
