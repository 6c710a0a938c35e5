"""isthmus doctor: what this machine can do, and the command that mends what it cannot."""

from __future__ import annotations

from typing import Any

import click

from isthmus.cli.talk import Talk, table, talking


@click.command(short_help="Say what this machine can do.")
@talking
def doctor(talk: Talk) -> None:
    """Examine the machine; exit 4 when something that isthmus needs is broken."""
    from isthmus.deploy.doctor import examine
    from isthmus.manager import discover

    found: list[dict[str, Any]] = [
        {"name": f.name, "ok": f.ok, "detail": f.detail, "command": f.command} for f in examine()
    ]
    broken = [p for p in discover().everything().plugins if p.status != "ok"]
    found.append(
        {
            "name": "plugins",
            "ok": not broken,
            "detail": "; ".join(f"{p.dist}:{p.name} {p.status}" for p in broken) or "all ok",
            "command": "isthmus plugins" if broken else "",
        }
    )
    body = [["ok" if f["ok"] else "BROKEN", f["name"], f["detail"], f["command"]] for f in found]
    talk.data(found, lambda: table(["", "what", "found", "mend with"], body))
    if not all(f["ok"] for f in found if f["name"] != "plugins"):
        raise click.exceptions.Exit(4)
