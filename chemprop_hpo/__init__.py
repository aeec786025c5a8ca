"""Hyperparameter sweeps of Chemprop models that survive anything and resume anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chemprop_hpo.hpo.predictor import load_ensemble

__all__ = ["__version__", "load_ensemble"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Only who predicts pays for torch, and everyone imports this package.
    if name != "load_ensemble":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from chemprop_hpo.hpo.predictor import load_ensemble

    return load_ensemble


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
