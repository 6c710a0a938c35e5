"""Which families suit the shift, in words and with the reason. Evidence, not promises."""

from __future__ import annotations

from dataclasses import dataclass, replace

from isthmus.shift.concept import Concept
from isthmus.shift.correspondence import Correspondence, unrelated
from isthmus.shift.coverage import Coverage
from isthmus.shift.priors import Priors
from isthmus.shift.two_sample import TwoSample

OUTSIDE = 0.1  # share of target rows beyond the source, where weights cannot reach, to put up with
FAR = 0.25  # of such rows, from which on weights cannot be the answer
SHARE = 0.1  # of the source's rows that weights should leave
EFFECTIVE = 50  # rows that weights should leave
SMALL = 0.6  # balanced accuracy of the domain classifier
ORDER = ("suits", "may suit", "needs labels", "unlikely")


@dataclass(frozen=True)
class Advice:
    family: str  # "baseline" | "reweighting" | "alignment" | "finetuning" | "relational"
    fit: str  # one of ORDER
    reason: str


def advise(
    *,
    kind: str,
    shown: bool,
    domains: TwoSample,
    correspondence: Correspondence | None,
    coverage: Coverage,
    priors: Priors | None,
    concept: Concept | None,
    support: int,
) -> tuple[Advice, ...]:
    """Return advice on the families, the best fit first; ``support`` counts labelled instances."""
    moved = concept is not None and concept.verdict == "shown"
    out = [_finetuning(concept, support)]
    if not shown:
        reason = "no shift was shown: source-only is what any other strategy has to beat"
        out.append(Advice("baseline", "may suit" if moved else "suits", reason))
        return _sorted(out if moved or support else out[1:])
    if unrelated(correspondence):
        reason = "no sign that columns mean the same in both domains: are they in the same order?"
        return _sorted([*out, Advice("baseline", "may suit", reason)])
    by_classes = priors is not None and priors.verdict == "label shift"
    others = [_reweighting(coverage, by_classes), _alignment(coverage, priors, by_classes)]
    if kind == "graph":
        reason = "edges may carry what node features lose: try it beside alignment"
        others.append(Advice("relational", "may suit", reason))
    if domains.accuracy < SMALL and not by_classes:
        out.append(Advice("baseline", "suits", "the shift is small: source-only may already do"))
        others = [replace(a, fit="may suit") if a.fit == "suits" else a for a in others]
    return _sorted(out + others)


def reachable(coverage: Coverage) -> bool:
    """Say whether weights on source rows can stand for the target."""
    return (
        coverage.outside <= OUTSIDE and coverage.share >= SHARE and coverage.effective >= EFFECTIVE
    )


def _reweighting(coverage: Coverage, by_classes: bool) -> Advice:
    left = f"{coverage.effective:.0f} effective rows ({coverage.share:.0%} of the source)"
    if by_classes:
        return Advice(
            "reweighting",
            "suits",
            "the class shares explain what differs: weigh the source's classes by the estimate",
        )
    if reachable(coverage):
        return Advice(
            "reweighting", "suits", f"the source covers the target, and weights leave {left}"
        )
    if coverage.outside > OUTSIDE:
        enough = coverage.share >= SHARE and coverage.effective >= EFFECTIVE
        reason = f"{coverage.outside:.0%} of the target lies where the source has no rows to weigh"
        fit = "may suit" if enough and coverage.outside <= FAR else "unlikely"
        return Advice("reweighting", fit, reason)
    return Advice("reweighting", "unlikely", f"weights would leave {left}")


def _alignment(coverage: Coverage, priors: Priors | None, by_classes: bool) -> Advice:
    if by_classes:
        return Advice(
            "alignment",
            "unlikely",
            "the class shares differ: aligning the domains as a whole would mix classes",
        )
    mixed = priors is not None and "label shift" in priors.verdict
    care = "; class shares may differ too, and matching the domains as a whole then mixes classes"
    if reachable(coverage):
        reason = "features moved, though the source covers the target: compare with reweighting"
        return Advice("alignment", "may suit", reason + (care if mixed else ""))
    reason = "features moved beyond what weights reach"
    return Advice("alignment", "suits", reason + (care if mixed else ""))


def _finetuning(concept: Concept | None, support: int) -> Advice:
    if concept is not None and concept.verdict == "shown":
        return Advice(
            "finetuning",
            "suits",
            f"the {support} labelled target instances are predicted worse than the source explains",
        )
    if support:
        reason = f"there are {support} labelled target instances"
        if concept is not None and concept.proportion:
            reason += f", of which a source model gets {concept.found:.0%} wrong"
        return Advice("finetuning", "may suit", reason)
    return Advice(
        "finetuning",
        "needs labels",
        "a few dozen from the target would also show whether the concept moved",
    )


def _sorted(advice: list[Advice]) -> tuple[Advice, ...]:
    return tuple(sorted(advice, key=lambda a: ORDER.index(a.fit)))
