"""Run a small study from Python: every strategy on the same data and seeds."""

from isthmus.cli.cells import summary_text
from isthmus.compare.bench import Bench, Setup
from isthmus.compare.runner import run_study
from isthmus.compare.study import parse_study
from isthmus.compare.summary import summarise

study = parse_study(
    {
        "name": "shallow strategies on digits",
        "seeds": [0, 1],
        "task": [
            {
                "source": "digits:upright#as=table",
                "target": f"digits:{shift}#as=table",
                "test": f"digits:{shift}#as=table&split=test",
            }
            for shift in ("blurred", "thick")
        ],
        "strategy": [
            {"name": "source-only"},
            {"name": "coral"},
            {"name": "ulsif"},
            {"name": "target-only"},
        ],
    },
    "this example",
)
cells = [outcome.cell for outcome in run_study(Bench.open(Setup(study=study)))]
print(summary_text(summarise(cells)))
