"""Kill sweeps at random moments for as long as it takes; `python -m tests.faults --help`."""

from __future__ import annotations

import argparse
import signal
import sys
from contextlib import ExitStack

from tests.faults.campaign import Tally, run_campaign
from tests.faults.databases import Database, Postgres, Sqlite
from tests.faults.shell import Shell

DATABASES: dict[str, type[Database]] = {"sqlite": Sqlite, "postgres": Postgres}


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # clears away as well
    with ExitStack() as stack:
        shell = stack.enter_context(Shell())
        tallies = [
            _campaign(shell, name, options.kills // len(options.databases), options)
            for name in options.databases
        ]
    for tally in tallies:
        _tell(str(tally))
        for line in tally.violations:
            _tell(f"  {line}")
    return int(any(tally.violations for tally in tallies))


def _campaign(shell: Shell, name: str, kills: int, options: argparse.Namespace) -> Tally:
    budget_s = options.budget_s / len(options.databases)
    with DATABASES[name]() as database:
        return run_campaign(
            shell, database, kills=kills, seed=options.seed, budget_s=budget_s, tell=_tell
        )


def _tell(line: str) -> None:
    print(line, flush=True)  # noqa: T201  # a program


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults",
        description="Run many small sweeps, SIGKILL drivers, workers, raylets and databases at "
        "random moments, resume, and check that nothing is lost. Exits with 1 on a violation.",
        epilog="One sweep again: --databases NAME --seed SEED --kills 1.",
    )
    parser.add_argument("--kills", type=int, default=50, help="in all; shared by the databases")
    parser.add_argument(
        "--databases", type=_names, default=list(DATABASES), help="sqlite,postgres or one of them"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the first sweep")
    parser.add_argument(
        "--budget-s", type=float, default=float("inf"), help="seconds; then no other sweep begins"
    )
    return parser.parse_args()


def _names(text: str) -> list[str]:
    names = text.split(",")
    if strange := set(names) - set(DATABASES):
        raise argparse.ArgumentTypeError(f"no such database: {', '.join(sorted(strange))}")
    return names


if __name__ == "__main__":
    sys.exit(main())
