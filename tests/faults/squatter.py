"""Hold the write lock of a file of SQLite with every trial changed, and never commit."""

from __future__ import annotations

import signal
import sqlite3
import sys

SPOILS = (
    "UPDATE trials SET state = 'WAITING'",
    "UPDATE trial_intermediate_values SET intermediate_value = -1",
    "UPDATE trial_user_attributes SET value_json = 'null'",
    "DELETE FROM trial_params",
    "DELETE FROM chemprop_hpo_slots",
)


def main() -> None:
    connection = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
    # No room in memory: the changes are written to the files before any commit.
    connection.execute("PRAGMA cache_size = 1")
    connection.execute("PRAGMA cache_spill = 1")
    connection.execute("BEGIN EXCLUSIVE")
    for statement in SPOILS:
        try:
            connection.execute(statement)
        except sqlite3.OperationalError as error:
            if "no such table" not in str(error):
                raise
    sys.stdout.write("held\n")
    sys.stdout.flush()
    signal.pause()


if __name__ == "__main__":
    main()
