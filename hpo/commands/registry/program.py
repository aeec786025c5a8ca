"""The subcommands of ``registry``."""

from __future__ import annotations

import typer

from chemprop_hpo.hpo.commands.registry import candidate, check, promote, rollback, standing

__all__ = ["HELP", "program"]

HELP = """\
Say which model is in use, and replace it by rules.

A registered model of MLflow has versions. `candidate` registers one, `promote` makes it the
champion if the rules of the section `promotion` let it, `rollback` takes that back, and `check`
holds the champion against fresh measurements. Each move of an alias is kept in a ledger.
"""

program = typer.Typer(
    help=HELP,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)
program.command("candidate", help=candidate.HELP)(candidate.candidate)
program.command("promote", help=promote.HELP)(promote.promote)
program.command("rollback", help=rollback.HELP)(rollback.rollback)
program.command("check", help=check.HELP)(check.check)
program.command("status", help=standing.STATUS_HELP)(standing.status)
program.command("history", help=standing.HISTORY_HELP)(standing.history)
program.command("adopt", help=standing.ADOPT_HELP)(standing.adopt)
