"""Hyperparameter sweeps of Chemprop models that survive anything and resume anywhere."""

from pathlib import Path

__version__ = "0.1.0"


def _require_symlinks() -> None:
    """Say what is wrong where a clone made plain files of the links (Git's core.symlinks=false)."""
    for folder in ("configs", "hpo", "storage"):
        if (Path(__file__).parent / folder).is_file():
            raise ImportError(
                f"chemprop_hpo/{folder} is a plain file, but must be a symlink to ../{folder}: "
                "this checkout was made without symlinks. Repair it with: "
                "git config core.symlinks true && git checkout -- chemprop_hpo"
            )


_require_symlinks()
