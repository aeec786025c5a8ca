"""The program: parse the command line, call one command, turn errors into one line each."""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from chemprop_hpo import __version__
from chemprop_hpo.configs.errors import ChempropHpoError, ConfigError, DataError
from chemprop_hpo.configs.secrets import mask_url
from chemprop_hpo.hpo.commands import (
    delete,
    ensembles,
    predict,
    resume,
    schema,
    status,
    studies,
    sweep,
    top_k,
    track,
    validate,
)
from chemprop_hpo.hpo.commands.console import note
from chemprop_hpo.hpo.commands.dashboard import command as dashboard
from chemprop_hpo.hpo.commands.options import STORAGE_VARIABLE
from chemprop_hpo.hpo.commands.registry import program as registry
from chemprop_hpo.hpo.trial.interrupts import Stopped, stopped_by_signals

__all__ = ["app", "main", "run"]

PROGRAM = "chemprop-hpo"
INTERRUPTED = 130
# What a shell reports for a program that was writing into a closed pipe.
BROKEN_PIPE = 141
# Where it is installed, jsonschema compiles a grammar of web addresses with it when Ray imports it,
# which takes two seconds and which nothing here asks for.
SLOW_AND_OPTIONAL = "rfc3987_syntax"
# What they have done is kept.
GO_ON = (("sweep",), ("resume",), ("ensembles",), ("registry", "candidate"))
_PASSWORD = re.compile(r"://[^:/@]*:(.+)@")

HELP = """\
Hyperparameter sweeps of Chemprop models that survive anything and resume anywhere.

\b
Examples:
  chemprop-hpo validate configs/sweeps/esol.yaml
  chemprop-hpo sweep configs/sweeps/esol.yaml --dry-run
  chemprop-hpo sweep configs/sweeps/esol.yaml
  chemprop-hpo top-k
  chemprop-hpo ensembles --top-k 3

\b
Exit codes: 0 done, 1 a failure, 2 something to put right on the command
line or in a file, 130 or 143 interrupted.
"""

app = typer.Typer(
    help=HELP, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
)
app.command("sweep", help=sweep.HELP)(sweep.sweep)
app.command("resume", help=resume.HELP)(resume.resume)
app.command("top-k", help=top_k.HELP)(top_k.top_k)
app.command("predict", help=predict.HELP)(predict.predict)
app.command("ensembles", help=ensembles.HELP)(ensembles.ensembles)
app.command("track", help=track.HELP)(track.track)
app.add_typer(registry.program, name="registry", help=registry.HELP)
app.command("status", help=status.HELP)(status.status)
app.command("studies", help=studies.HELP)(studies.studies)
app.command("dashboard", help=dashboard.HELP)(dashboard.dashboard)
app.command("delete", help=delete.HELP)(delete.delete)
app.command("validate", help=validate.HELP)(validate.validate)
app.command("schema", help=schema.HELP)(schema.schema)


def main() -> None:
    """Run the program on the process's own arguments and leave with its exit code."""
    sys.modules.setdefault(SLOW_AND_OPTIONAL, None)  # type: ignore[arg-type]  # as if missing
    _leave(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command.

    Parameters
    ----------
    arguments : sequence of str
        The command line without the program's name.

    Returns
    -------
    int
        The exit code: 0 done, 1 a failure, 2 the user's mistake, 128 + n ended by signal n.
    """
    debug = "--debug" in arguments
    try:
        with stopped_by_signals("ended at once"):
            code = app(args=list(arguments), prog_name=PROGRAM, standalone_mode=False)
            sys.stdout.flush()
    except Stopped as stop:
        return _say_stopped(stop, arguments, debug=debug)
    except BrokenPipeError:
        return _close_quietly()
    except Exception as error:
        return _report(error, arguments, debug=debug)
    return code if isinstance(code, int) else 0


@app.callback(invoke_without_command=True)
def _program(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", show_default=False)
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error.", show_default=False)
    ] = False,
) -> None:
    if version:
        typer.echo(f"{PROGRAM} {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)


def _say_stopped(stop: Stopped, arguments: Sequence[str], *, debug: bool) -> int:
    if debug and stop.__cause__ is not None:
        _say(_traceback(stop.__cause__), arguments)
    goes_on = any(tuple(arguments[: len(command)]) == command for command in GO_ON)
    again = "; the same command goes on" if goes_on else ""
    note(f"{stop}; nothing is left running{again}")
    return 128 + stop.number


def _report(error: Exception, arguments: Sequence[str], *, debug: bool) -> int:
    lines = _lines(error, debug=debug)
    if debug:
        lines[:0] = _traceback(error)
    _say(lines, arguments)
    if isinstance(error, ChempropHpoError | typer.TyperException):
        return error.exit_code
    return INTERRUPTED if isinstance(error, typer.Abort) else 1


def _traceback(error: BaseException) -> list[str]:
    return "".join(traceback.format_exception(error)).splitlines()


def _say(lines: Sequence[str], arguments: Sequence[str]) -> None:
    passwords = _passwords(arguments)
    for line in lines:
        note(_without(passwords, line))


def _passwords(arguments: Sequence[str]) -> list[str]:
    """Return the passwords of all URLs given: a library may quote one without its URL."""
    given = [*arguments, os.environ.get(STORAGE_VARIABLE, "")]
    secret = [text for text in given if mask_url(text) != text]  # a reference is no secret
    return [found[1] for text in secret if (found := _PASSWORD.search(text))]


def _without(passwords: Sequence[str], line: str) -> str:
    for password in passwords:
        line = line.replace(password, "***")
    return line


def _lines(error: Exception, *, debug: bool) -> list[str]:
    if isinstance(error, ConfigError | DataError):  # a line for each problem
        return [f"error: {problem}" for problem in str(error).splitlines() if problem.strip()]
    return f"error: {_message(error, debug=debug)}".splitlines()


def _message(error: Exception, *, debug: bool) -> str:
    if isinstance(error, ChempropHpoError):
        return str(error)
    if isinstance(error, typer.TyperException):
        return f"{' '.join(error.format_message().split())} (see {_help_of(error)})"
    if isinstance(error, typer.Abort):
        return "stopped; nothing was changed"
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if debug else f"{text}; run again with --debug"


def _help_of(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    return f"{context.command_path if context else PROGRAM} --help"


def _leave(code: int) -> NoReturn:
    # Python takes its thousands of modules apart on its way out, which lasts seconds.
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _close_quietly() -> int:
    # Python flushes stdout once more on its way out, and would complain then.
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return BROKEN_PIPE
