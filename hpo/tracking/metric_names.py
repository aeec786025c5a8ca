"""Names that MLflow accepts, made from names that chemists give their columns."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable

__all__ = ["accepted_names"]

# MLflow accepts letters, digits, "_", "-", ".", ":", "/" and blanks, at most 250 of them. Fifty
# are left for a prefix.
_REFUSED = re.compile(r"[^/\w.\- :]")
_LONGEST = 200


def accepted_names(names: Iterable[str]) -> dict[str, str]:
    """Return, for each name, the one under which MLflow takes it; no two are equal.

    A refused character becomes ``_``. Where two names then look alike, each that was changed
    ends with a short hash of the original, so that the answer does not depend on their order.

    Parameters
    ----------
    names : Iterable of str
        Such as ``val_rmse/Papp A>B``.
    """
    plain = {name: _plain(name) for name in names}
    alike = Counter(plain.values())
    return {
        name: shown if name == shown or alike[shown] == 1 else _marked(shown, name)
        for name, shown in plain.items()
    }


def _plain(name: str) -> str:
    # MLflow treats a name as a path, and refuses one that the path's normal form differs from.
    parts = [_part(part) for part in _REFUSED.sub("_", name).split("/")]
    shown = "/".join(parts)
    return shown if len(shown) <= _LONGEST else _marked(shown, name)


def _part(part: str) -> str:
    if part in {"", ".", ".."}:
        return "_" * max(1, len(part))
    return "_" + part[1:] if part.startswith("..") else part


def _marked(shown: str, name: str) -> str:
    mark = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{shown[: _LONGEST - 9]}_{mark}"
