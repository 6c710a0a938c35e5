"""Its evaluator does not say whether it reads labels, its dataset has no scheme."""

from isthmus import Dataset, Evaluator, hookimpl


class Odd(Evaluator):
    name = "odd-evaluator"
    summary = "odd"

    def score(self, evidence):
        return 0.0


class Reader(Dataset):
    summary = "odd"

    def load(self, location):
        raise NotImplementedError


@hookimpl
def isthmus_evaluators():
    return [Odd]


@hookimpl
def isthmus_datasets():
    return [Reader]
