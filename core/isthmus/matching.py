"""Bringing domains that differ in image size, colour or class order to one schema."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar, cast

from isthmus.domain import UNKNOWN, Domain, Labelled, Schema, Task
from isthmus.errors import BadInput, nearest
from isthmus.images import ImageFiles, Resized
from isthmus.strategy import Adapted

D = TypeVar("D", bound=Domain)


def match(
    sources: Sequence[Labelled],
    target: Domain,
    *,
    support: Labelled | None = None,
    start: Adapted | None = None,
    image_size: int | tuple[int, int] | None = None,
    unknown: bool = False,
) -> tuple[Task, list[str]]:
    """Return a task whose domains share one schema, and the sentences that say what was done.

    Images take ``image_size`` (pixels: a side, or height and width), else the first source's
    size, and RGB where any domain has it. Named columns are matched by name, and so are classes:
    those of the first source, then what the other sources and the support add; with ``unknown``
    also a class of that name, for what else the target has. Raises BadInput where domains differ in
    kind, in features, or in what their labels are.
    """
    labelled = [*sources, *([support] if support else [])]
    made_for = getattr(start, "schema", None)
    if not labelled and image_size is None and made_for is not None:  # it says what is read
        bare = target.unlabelled() if isinstance(target, Labelled) else target
        bare, said = match_one(bare, made_for)
        return Task(target=bare, start=start), said
    everything: list[Domain] = [*labelled, target]
    for d in everything[:-1]:
        if not isinstance(d, Labelled):
            raise BadInput(
                f"{d.name} has no labels, which a source and a support set need",
                hint="name the label column, as in csv:FILE#label=COLUMN",
            )
    first = everything[0]
    roles = ["source"] * len(sources) + ["support"] * (support is not None) + ["target"]
    titles = [f"{role} {d.name}" for role, d in zip(roles, everything, strict=True)]
    for title, d in zip(titles, everything, strict=True):
        _same_kind(titles[0], first, title, d)
    if first.schema.kind == "image":
        shape = _image_shape(everything, image_size)
    elif image_size is not None:
        raise BadInput(f"image_size is for images, {first.name} is of kind {first.schema.kind!r}")
    else:
        shape = first.schema.shape
        for title, d in zip(titles, everything, strict=True):
            _same_features(title, d, first.schema, f"{titles[0]} has")
    for title, d in zip(titles, everything, strict=True):
        if first.schema.width and d.schema.width:
            _same_outputs(titles[0], first.schema, title, d)
    schema, said = _union(replace(first.schema, shape=shape), labelled, target, unknown)
    for d in everything:
        said += _resizing(d, schema)
    matched = [_brought(d, schema) for d in labelled]
    unlabelled = target.unlabelled() if isinstance(target, Labelled) else target
    task = Task(
        target=_brought(unlabelled, schema),
        sources=tuple(matched[: len(sources)]),
        support=matched[-1] if support else None,
        start=start,
    )
    return task, said


def match_one(domain: D, schema: Schema) -> tuple[D, list[str]]:
    """Bring one more domain, labelled or not, to the schema that a model was adapted for."""
    if domain.schema.kind != schema.kind:
        raise BadInput(
            f"{domain.name} is of kind {domain.schema.kind!r}, the model reads {schema.kind!r}"
        )
    if schema.kind != "image":
        _same_features(domain.name, domain, schema, "the model expects")
    if schema.width and domain.schema.width:
        _same_outputs("the model", schema, domain.name, domain)
    said = _resizing(domain, schema)
    if isinstance(domain, Labelled) and domain.schema.classes != schema.classes:
        said.append(f"{domain.name}: class ids are renumbered by name")
    return _brought(domain, schema), said


def _same_kind(who: str, first: Domain, title: str, other: Domain) -> None:
    if other.schema.kind != first.schema.kind:
        raise BadInput(
            f"{who} is of kind {first.schema.kind!r} and {title} of kind "
            f"{other.schema.kind!r}; they must be of one kind",
            hint="some datasets can be read another way, as in npz:FILE#as=table",
        )


def _same_features(title: str, domain: Domain, schema: Schema, who: str) -> None:
    own = domain.schema
    if own.features and schema.features and set(own.features) != set(schema.features):
        lost = [c for c in schema.features if c not in own.features]
        extra = [c for c in own.features if c not in schema.features]
        what = f"lacks the column {lost[0]!r}" if lost else f"has the column {extra[0]!r}"
        raise BadInput(
            f"{title} {what}, {who} {'it' if lost else 'none of that name'}",
            hint=nearest(lost[0], extra) if lost and extra else "leave it out with #drop=COLUMN",
        )
    if own.shape != schema.shape:
        raise BadInput(
            f"{title} has {_count(own.shape)}, {who} {_count(schema.shape)}",
            hint="source and target need the same columns in the same order",
        )


def _same_outputs(who: str, schema: Schema, title: str, domain: Domain) -> None:
    if schema.is_regression != domain.schema.is_regression:
        raise BadInput(
            f"{who} has {_labels(schema)} and {title} has {_labels(domain.schema)}",
            hint="a csv label is read as numbers with task=regression",
        )
    if schema.outputs != domain.schema.outputs:
        raise BadInput(
            f"{who} has the outputs {', '.join(schema.outputs)}, "
            f"{title} has {', '.join(domain.schema.outputs)}"
        )


def _union(
    schema: Schema, labelled: Sequence[Labelled], target: Domain, unknown: bool
) -> tuple[Schema, list[str]]:
    """Return the schema with the union of the classes, and what there is to say about it."""
    if schema.is_regression or not labelled:
        return schema, []
    given = [c for d in labelled for c in d.schema.classes]
    names = tuple(dict.fromkeys([*given, UNKNOWN] if unknown else given))
    said = [
        f"{d.name}: class ids are renumbered by name"
        for d in labelled
        if d.schema.classes != names[: len(d.schema.classes)]
    ]
    if extra := [c for c in target.schema.classes if c not in names]:
        said.append(
            f"{target.name}: no source has its class {', '.join(map(repr, extra))}, "
            + ("which counts as 'unknown'" if unknown else "so nothing can be predicted as such")
        )
    return replace(schema, classes=names), said


def _image_shape(domains: Sequence[Domain], size: int | tuple[int, int] | None) -> tuple[int, ...]:
    colours = 3 if any(d.schema.shape[2] == 3 for d in domains) else 1
    height, width = (size, size) if isinstance(size, int) else size or domains[0].schema.shape[:2]
    if min(height, width) < 1:
        raise BadInput(f"an image size is at least 1 pixel, got {height}x{width}")
    return (height, width, colours)


def _brought(domain: D, schema: Schema) -> D:
    brought: Domain = domain
    if domain.schema.shape != schema.shape:
        shape, x = schema.shape, domain.x
        if isinstance(x, ImageFiles):
            x = x.reshaped((shape[0], shape[1]), shape[2])
        else:
            x = Resized(x.raw if isinstance(x, Resized) else x, shape)
        brought = replace(domain, schema=replace(domain.schema, shape=shape), x=x)
    own = domain.schema.features
    if own and schema.features and own != schema.features:  # columns are matched by name
        place = {c: i for i, c in enumerate(own)}
        brought = replace(domain, x=domain.x[:, [place[c] for c in schema.features]])
    if isinstance(brought, Labelled):
        return cast(D, brought.recode(schema))
    return cast(D, replace(brought, schema=schema))


def _resizing(domain: Domain, schema: Schema) -> list[str]:
    was, now = domain.schema.shape, schema.shape
    if was == now:
        return []
    what = f"{_by(was)} are resized to {_by(now)} (bilinear"
    if was[:2] == now[:2]:
        what = f"{_by(was)} become {_by(now)} (" + (
            "grey repeated" if now[2] == 3 else "grey by ITU-R 601"
        )
    elif was[2] != now[2]:
        what += ", grey repeated" if now[2] == 3 else ", grey by ITU-R 601"
    return [f"{domain.name}: images {what}, inside the exported graph too)"]


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _count(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} features" if len(shape) == 1 else f"instances of shape {_by(shape)}"


def _labels(schema: Schema) -> str:
    if schema.is_regression:
        return f"real outputs ({', '.join(schema.outputs)})"
    return f"classes ({len(schema.classes)} of them)"
