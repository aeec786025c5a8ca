"""``python -m chemprop_hpo`` is the same program as ``chemprop-hpo``."""

from chemprop_hpo.hpo.cli import main

if __name__ == "__main__":
    main()
