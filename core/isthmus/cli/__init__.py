"""The command line. ``isthmus --help`` imports none of the heavy packages."""

from __future__ import annotations

import json
import os
import sys

import click

from isthmus.cli.adapt import adapt
from isthmus.cli.check import check_strategy
from isthmus.cli.compare import compare
from isthmus.cli.demo import demo
from isthmus.cli.deploy import export, predict
from isthmus.cli.evaluate import evaluate
from isthmus.cli.inspect import inspect
from isthmus.cli.listing import datasets, evaluators, plugins, strategies
from isthmus.cli.machine import doctor

# What the same thing is called elsewhere.
ALIASES = {
    "train": "adapt",
    "fit": "adapt",
    "test": "evaluate",
    "score": "evaluate",
    "benchmark": "compare",
    "bench": "compare",
    "infer": "predict",
    "serve": "export",
    "list": "strategies",
    "check": "check-strategy",
    "shift": "inspect",
    "diagnose": "inspect",
}


class Commands(click.Group):
    """Answers a misspelt command with the nearest one, also by what other tools call it."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        from difflib import get_close_matches

        name = args[0]
        if name not in self.commands and not name.startswith("-"):
            known = {**{c: c for c in self.commands}, **ALIASES}
            close = dict.fromkeys(known[c] for c in get_close_matches(name, known, 3, 0.6))
            hint = f" Did you mean {' or '.join(repr(c) for c in close)}?" if close else ""
            raise click.UsageError(f"No such command {name!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="isthmus", message="%(version)s")
def cli() -> None:
    """Adapt a model from a source domain to a target domain, compare ways to do it, deploy one.

    Start with: isthmus demo
    """


for command in (
    demo,
    doctor,
    plugins,
    strategies,
    evaluators,
    datasets,
    inspect,
    adapt,
    evaluate,
    compare,
    export,
    predict,
    check_strategy,
):
    cli.add_command(command)


def main(args: list[str] | None = None) -> None:
    """Run a command; every failure ends in one sentence, a hint and an exit code."""
    from isthmus.errors import IsthmusError

    given = sys.argv[1:] if args is None else args
    try:
        # click answers with the code of an Exit; a command that ends well gives None.
        if code := cli.main(given, prog_name="isthmus", standalone_mode=False):
            sys.exit(code)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        hint = ""
        if isinstance(error, click.UsageError) and error.ctx is not None:
            hint = f"{error.ctx.command_path} --help"
        _fail(error.format_message(), hint, 2, given)
    except IsthmusError as error:
        _fail(str(error), error.hint, error.exit, given)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except (KeyboardInterrupt, SystemExit):
        raise
    except Exception as error:
        if os.environ.get("ISTHMUS_DEBUG"):
            raise
        where = f"{type(error).__name__}: {error}".splitlines()[0]
        _fail(f"unexpected failure, {where}", "ISTHMUS_DEBUG=1 shows where", 1, given)


def _fail(message: str, hint: str, code: int, given: list[str]) -> None:
    if "--json" in given:
        click.echo(json.dumps({"error": message, "hint": hint, "exit": code}), err=True)
    else:
        click.echo(f"Error: {message}" + (f"\n  {hint}" if hint else ""), err=True)
    sys.exit(code)
