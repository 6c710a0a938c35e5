"""The page of an inspection: one HTML file that needs no network, pictures inside."""

from __future__ import annotations

from importlib.metadata import version

from isthmus.shift import summary
from isthmus.shift.charts import class_bars, column_bars, scatter
from isthmus.shift.findings import Shift

PACKAGES = ("isthmus", "numpy", "scipy", "scikit-learn")


def page(shift: Shift) -> str:
    """Return the page as text; every name from the data is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("isthmus.shift"), autoescape=True, undefined=StrictUndefined
    )
    d = shift.domains
    sizes = [("A-distance (0 to 2)", d.a_distance, d.a_chance)]
    sizes += [(summary.NAMES[k], v.value, v.null) for k, v in shift.distances.items()]
    return environment.get_template("shift.html.j2").render(
        shift=shift,
        said=summary,
        sizes=sizes,
        scatter=scatter(*shift.scatter),
        columns=column_bars(shift.columns.top),
        classes=class_bars(shift.classes, shift.priors) if shift.priors else "",
        versions={p: version(p) for p in PACKAGES},
    )
