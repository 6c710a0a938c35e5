"""What plugins offer, by name, and who offers it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from isthmus.errors import PluginError, nearest

T = TypeVar("T")


@dataclass(kw_only=True)
class Plugin:
    """One entry point, and what became of it."""

    name: str
    dist: str
    version: str = ""
    status: str = "ok"  # ok | failed | incompatible | conflict | no-hooks
    reason: str = ""
    module: Any = None  # the object that has the hooks

    def mark(self, status: str, reason: str) -> None:
        """Add a fault; of several, "failed" is the status that stays."""
        self.status = "failed" if "failed" in (self.status, status) else status
        self.reason = "; ".join(filter(None, [self.reason, reason]))


@dataclass(frozen=True)
class Names(Generic[T]):
    """Classes by name; a name that two distributions claim must be asked for as dist:name."""

    what: str
    claims: Mapping[str, list[tuple[Plugin, type[T]]]]  # under "name" and under "dist:name"
    note: str = ""  # what a person who misses a name should know

    def __iter__(self) -> Iterator[str]:
        return (name for name, _, _ in self.items())

    def __contains__(self, name: str) -> bool:
        return name in self.claims

    def __getitem__(self, name: str) -> type[T]:
        if not (claim := self.claims.get(name)):
            hint = nearest(name, self) + self.note
            raise PluginError(f"no {self.what} is called {name!r}", hint=hint)
        if len(claim) > 1:
            ways = " or ".join(n for n in self if n.endswith(f":{name}"))
            hint = f"write {ways}" if ways else "one of them must be renamed"
            raise PluginError(self.claimants(name), hint=hint)
        return claim[0][1]

    def items(self) -> list[tuple[str, str, type[T]]]:
        """Return (name, dist, class) once for each class that can be asked for."""
        return [
            (name, claim[0][0].dist, claim[0][1])
            for name, claim in sorted(self.claims.items())
            if len(claim) == 1
            and (":" not in name or len(self.claims[name.rpartition(":")[2]]) > 1)
        ]

    def claimants(self, name: str) -> str:
        """Say who claims a name, in one sentence."""
        who = " and ".join(f"plugin {p.name!r} of {p.dist}" for p, _ in self.claims[name])
        return f"{self.what} {name!r} is claimed by {who}"
