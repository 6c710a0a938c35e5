"""An inspection in a few lines for a terminal; the page says the same with pictures."""

from __future__ import annotations

from textwrap import wrap

from isthmus.shift.advice import OUTSIDE, SHARE
from isthmus.shift.columns import LEVEL
from isthmus.shift.findings import Shift
from isthmus.shift.priors import Priors

NAMES = {"mmd": "MMD", "frechet": "Fréchet", "sliced_wasserstein": "sliced Wasserstein"}
WIDTH = 100
SHOWN = 3  # columns, classes and sources that are named


def summary(shift: Shift) -> str:
    """Return one paragraph of plain text per question."""
    n, m = shift.source_rows.used, shift.target_rows.used
    head = f"{shift.source} -> {shift.target}: {n:,} and {m:,} rows, {shift.read_as}"
    parts = {
        "shift": sentence_shift(shift),
        "size": sentence_size(shift),
        "classes": sentence_classes(shift),
        "concept": sentence_concept(shift),
        "columns": sentence_columns(shift),
        "meaning": sentence_correspondence(shift),
        "coverage": sentence_coverage(shift),
        "sources": sentence_sources(shift),
        "advice": "\n".join(f"{a.family} {a.fit}: {a.reason}" for a in shift.advice),
        "note": "\n".join(shift.notes),
    }
    lines = [head]
    for name, text in parts.items():
        for i, line in enumerate(text.splitlines()):
            first = f"{name if i == 0 else '':<9} "
            lines += wrap(line, WIDTH, initial_indent=first, subsequent_indent=" " * 10)
    return "\n".join(lines)


def sentence_shift(shift: Shift) -> str:
    d = shift.domains
    found = (
        f"a classifier of the domains has balanced accuracy {d.accuracy:.2f} "
        f"({d.chance:.2f} at most without a shift)"
    )
    if not shift.shown:
        return f"none shown ({_p(shift.p)}): {found}"
    if d.p < LEVEL:
        return f"yes ({_p(shift.p)}): {found}"
    where = "single columns" if shift.columns.least_q < LEVEL else "the source model's predictions"
    return f"in {where} only ({_p(shift.p)}): {found}"


def sentence_size(shift: Shift) -> str:
    """Say the distances; in brackets what 95 % of the source's random halves stay below."""
    d = shift.domains
    found = [f"A-distance {d.a_distance:.2f} of 2 ({d.a_chance:.2f})"]
    found += [f"{NAMES[k]} {v.value:.3g} ({v.null:.2g})" for k, v in shift.distances.items()]
    return ", ".join(found) + "; in brackets: without a shift"


def sentence_classes(shift: Shift) -> str:
    p = shift.priors
    if p is None:
        return "label shift does not apply to regression"
    if p.verdict == "unknown":
        return (
            f"cannot be told: the source model (held-out accuracy {p.accuracy:.2f}) hardly tells "
            "some classes apart"
        )
    if p.verdict == "none shown":
        return f"no difference of class shares shown (predictions differ with {_p(p.p)})"
    if p.verdict == "not label shift alone":
        still = p.rows_left
        left = f" (balanced accuracy {still.accuracy:.2f} once they match)" if still else ""
        return (
            f"predictions differ ({_p(p.p)}), and class shares alone do not explain it{left}: an "
            "estimate of them is not reliable"
        )
    if p.verdict == "label shift":
        return (
            f"label shift explains what differs ({_p(p.p)}); estimated shares: {shares(shift, p)}"
        )
    rest = f" (balanced accuracy {p.rows_left.accuracy:.2f} once they match)" if p.rows_left else ""
    return (
        f"label shift would explain the predictions ({_p(p.p)}) but not all that differs{rest}; "
        f"shares, if so: {shares(shift, p)}"
    )


def shares(shift: Shift, p: Priors) -> str:
    """Say the class shares that change most, with their intervals."""
    change = [abs(t - s) for s, t in zip(p.source, p.target, strict=True)]
    order = sorted(range(len(change)), key=lambda i: -change[i])[:SHOWN]
    return ", ".join(
        f"{shift.classes[i]} {p.source[i]:.0%} -> {p.target[i]:.0%} "
        f"[{p.low[i]:.0%}, {p.high[i]:.0%}]"
        for i in order
    )


def sentence_concept(shift: Shift) -> str:
    c = shift.concept
    if c is None:
        return "cannot be known without labelled target instances (--support)"
    found = (
        f"error {c.found:.2f} on {c.instances} labelled target instances, {c.expected:.2f} if "
        f"p(y|x) were shared (source error weighted by {c.weighted_by}); difference "
        f"{c.found - c.expected:+.2f} [{c.low:+.2f}, {c.high:+.2f}]"
    )
    if c.verdict == "unknown":
        return (
            f"cannot be told from {c.instances} labelled target instances and "
            f"{c.effective:.0f} effective source rows (error {c.found:.2f} on the former)"
        )
    if c.verdict == "none shown":
        return f"none shown: {found}"
    beyond = shift.coverage.outside > OUTSIDE
    doubt = ", unless it is that the source does not reach these" if beyond else ""
    return f"evidence of concept shift{doubt}: {found}"


def sentence_columns(shift: Shift) -> str:
    c = shift.columns
    of = f"{c.tested:,}" if c.tested == c.of else f"{c.tested:,} most varied of {c.of:,}"
    text = f"{c.shifted:,} of {of} differ (at 5 % false discoveries)"
    if not c.shifted:
        return text
    most = [f"{t.name} (KS {t.ks:.2f}, d {t.cohens_d:+.2f})" for t in c.top[:SHOWN] if t.q < 0.05]
    return f"{text}, furthest {', '.join(most)}"


def sentence_correspondence(shift: Shift) -> str:
    c = shift.correspondence
    if c is None:
        return "too few columns to tell by how they vary whether they mean the same in both domains"
    found = (
        f"along the source's class directions the target varies {c.ratio:.1f} times as much as "
        f"with its columns shuffled ({_p(c.p)}; {c.own:.1f} times within the source)"
    )
    said = {
        "shown": "a sign that columns mean the same in both domains",
        "none shown": "no sign that columns mean the same in both domains",
        "unknown": "cannot be told, as the source itself hardly shows it",
    }
    return f"{said[c.verdict]}: {found}"


def sentence_coverage(shift: Shift) -> str:
    c = shift.coverage
    few = ", but few source rows are like it" if c.outside <= OUTSIDE and c.share < SHARE else ""
    return (
        f"{c.outside:.0%} of the target is farther from the source than its own rows are "
        f"({c.expected:.0%} without a shift){few}: "
        f"importance weights leave {c.effective:.0f} effective rows ({c.share:.0%})"
    )


def sentence_sources(shift: Shift) -> str:
    known = [s for s in shift.sources if s.mmd is not None]
    if not known:
        return ""
    each = [f"{s.name} (MMD {s.mmd:.3g}, A-distance {s.a_distance:.2f})" for s in known]
    return f"nearest first: {', '.join(each)}"


def _p(p: float) -> str:
    return f"p = {p:.3g}" if p >= 0.001 else "p < 0.001"
