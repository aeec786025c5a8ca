"""Take passwords out of database and tracking URLs before anybody sees them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = [
    "MASK",
    "has_masked",
    "mask_mapping",
    "mask_text",
    "mask_url",
    "same_place",
]

MASK = "***"

# A password reaches to the last "@", since an unquoted one may itself hold "@", "/" or ":".
_USERINFO = r"(?P<head>[A-Za-z][\w+.\-]*://[^\s/?#@:]*:)(?P<password>{body})(?P<tail>@)"
_IN_URL = re.compile(_USERINFO.format(body=r".*"), re.DOTALL)
_IN_TEXT = re.compile(_USERINFO.format(body=r"(?:\$\{[^}]*\}|[^\s\"'])*"))
_IN_QUERY = re.compile(
    r"(?P<head>[?&;](?:password|passwd|pwd|sslpassword|passfile|token|access_token|secret)=)"
    r"(?P<password>\$\{[^}]*\}|[^&#;\s\"']*)(?P<tail>)",
    re.IGNORECASE,
)
_FROM_ENVIRONMENT = re.compile(r"\$\{oc\.env:\s*[A-Za-z_]\w*\s*\}")


def mask_url(url: str) -> str:
    """Return ``url`` with its password, if any, written as ``***``.

    A password that is only a reference to the environment, ``${oc.env:PGPASSWORD}``, says
    nothing and is kept, so that a stored configuration can be resolved again.

    Parameters
    ----------
    url : str
        A database or tracking URL, with or without a password, or any other text.
    """
    return _IN_QUERY.sub(_masked, _IN_URL.sub(_masked, url))


def mask_text(text: str) -> str:
    """Return free text, such as an error message, with the passwords of its URLs masked."""
    return _IN_QUERY.sub(_masked, _IN_TEXT.sub(_masked, text))


def has_masked(url: str) -> bool:
    """Whether the password of ``url`` was masked, so that it must be given again."""
    found = [*_IN_URL.finditer(url), *_IN_QUERY.finditer(url)]
    return any(match["password"] == MASK for match in found)


def same_place(one: str, other: str) -> bool:
    """Whether two URLs differ in nothing but how their passwords are written."""
    plain = [_FROM_ENVIRONMENT.sub(MASK, mask_url(url)) for url in (one, other)]
    return plain[0] == plain[1]


def mask_mapping(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of ``values`` with every URL in it masked, however deep it lies."""
    return {key: _mask_value(value) for key, value in values.items()}


def _mask_value(value: Any) -> Any:
    if isinstance(value, str):
        return mask_url(value)
    if isinstance(value, Mapping):
        return mask_mapping(value)
    if isinstance(value, list | tuple):
        return [_mask_value(item) for item in value]
    return value


def _masked(match: re.Match[str]) -> str:
    password = match["password"]
    kept = not password or _FROM_ENVIRONMENT.fullmatch(password)
    return match[0] if kept else f"{match['head']}{MASK}{match['tail']}"
