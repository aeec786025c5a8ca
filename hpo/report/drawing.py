"""The look that all pictures share, and how a figure becomes a PNG."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = [
    "GREY",
    "INK",
    "OUT_OF_FOLD",
    "PALE",
    "TEST",
    "Picture",
    "Style",
    "finished",
    "house_style",
    "in_lines",
    "panels",
]

# Of the palette of Okabe and Ito (2008), which the colour-blind can tell apart.
OUT_OF_FOLD = "#0072B2"
TEST = "#D55E00"
INK = "#222222"
GREY = "#767676"
PALE = "#DDDDDD"

Style = dict[str, Any]
"""Keywords of one of matplotlib's drawing functions."""

DPI = 160
CSS_PIXELS_PER_INCH = 96

# Any: matplotlib types the names of its parameters one by one.
_STYLE: Any = {
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 8.5,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "grid.color": "#ECECEC",
    "grid.linewidth": 0.7,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 8,
    # A target called "A$B$" is a name and no formula.
    "text.parse_math": False,
    "text.usetex": False,
}


@dataclass(frozen=True)
class Picture:
    """A finished picture.

    Attributes
    ----------
    file : str
        Its file name, such as ``parity_01_logd.png``.
    alt : str
        What it is, in a few words.
    caption : str
        What it shows, how to read it, and how many rows it stands for.
    png : bytes
    width : int
        CSS pixels that it is meant to be shown at.
    """

    file: str
    alt: str
    caption: str
    png: bytes
    width: int


@contextmanager
def house_style() -> Iterator[None]:
    """Draw in our style inside the block, whatever the user's matplotlibrc says."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def panels(
    n: int,
    columns: int,
    *,
    width: float,
    height: float,
    sharex: bool = False,
    sharey: bool = False,
) -> tuple[Figure, list[Axes]]:
    """Return a figure with ``n`` panels in rows of at most ``columns``.

    Parameters
    ----------
    width, height : float
        Inches of one panel.
    sharex, sharey : bool
        Whether all panels have one scale.
    """
    columns = min(columns, n)
    rows = -(-n // columns)
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=sharey)
    axes = [axis for row in grid for axis in row]
    for spare in axes[n:]:
        spare.remove()
    return figure, axes[:n]


def finished(figure: Figure, file: str, alt: str, caption: str) -> Picture:
    """Render a figure."""
    buffer = io.BytesIO()
    # Without the version of matplotlib, equal content gives equal bytes.
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    width = round(figure.get_figwidth() * CSS_PIXELS_PER_INCH)
    return Picture(file, alt, caption, buffer.getvalue(), width)


def in_lines(name: str, width: int, lines: int = 2) -> str:
    """Break a name into lines that fit, and cut it short where even these do not hold it."""
    text = " ".join(name.split())
    parts: list[str] = []
    while text and len(parts) < lines:
        cut = _break(text, width)
        parts.append(text[:cut].rstrip())
        text = text[cut:].lstrip()
    if text:
        parts[-1] = parts[-1][: width - 1].rstrip() + "…"
    return "\n".join(parts)


def _break(text: str, width: int) -> int:
    if len(text) <= width:
        return len(text)
    space = text.rfind(" ", 0, width + 1)
    return space if space > width // 2 else width
