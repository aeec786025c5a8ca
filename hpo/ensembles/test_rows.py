"""The test rows, which nothing looks at before the configurations are fixed."""

from __future__ import annotations

from chemprop_hpo.configs.errors import DataError
from chemprop_hpo.configs.schema import SweepConfig
from chemprop_hpo.hpo.chemistry.tables.data import FoldTables, Table
from chemprop_hpo.hpo.chemistry.tables.problems import counted, named_rows
from chemprop_hpo.hpo.chemistry.tables.table import read_table
from chemprop_hpo.hpo.ensembles.combining.out_of_fold import TrainingRows

__all__ = ["read_test_rows"]


def read_test_rows(
    config: SweepConfig, tables: FoldTables, rows: TrainingRows
) -> tuple[Table | None, str | None]:
    """Return the test rows, if there are any, and what is to be said of them.

    Parameters
    ----------
    config : SweepConfig
    tables : FoldTables
        Of any fold: test rows that a split sets aside are the same in all.
    rows : TrainingRows
        Of all folds that trained or chose anything.

    Raises
    ------
    DataError
        If training rows' molecules stand among them and ``data.allow_duplicates`` is off.
    """
    path = config.data.test_file
    table = tables.test if path is None else read_table(path, config).table
    if table is None or not len(table):
        return None, None
    shared = set(rows.canonical) & set(table.canonical)
    if not shared:
        return table, None
    n_trained = sum(name in shared for name in rows.canonical)
    have = "has" if n_trained == 1 else "have"
    found = (
        f"{table.path}: {counted(n_trained, 'training row')} {have} a molecule that stands among "
        f"the test rows too ({named_rows(table.rows_of(shared))})"
    )
    if config.data.allow_duplicates:
        return table, f"{found}; the test figures flatter"
    raise DataError(f"{found}; take them out of one side, or allow it: data.allow_duplicates=true")
