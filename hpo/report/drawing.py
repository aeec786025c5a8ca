"""The look that all pictures share, and how a figure becomes a PNG."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

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
    "is_drawn_here",
    "name_figure",
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
SOFTWARE = "chemprop-hpo"
"""Every picture's file names its maker so."""
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
    with matplotlib.rc_context(), warnings.catch_warnings():
        # A letter that the font lacks is drawn as a box; the page has the name itself.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
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
    if sharex:  # what stands above a spare panel is the lowest of its column
        for axis in axes[max(0, n - columns) : n]:
            axis.tick_params(labelbottom=True)
    return figure, axes[:n]


def name_figure(figure: Figure, name: str) -> None:
    """Put the name of a target over all panels of a figure."""
    text = in_lines(name, figure.get_figwidth() - 0.3)
    figure.suptitle(text, fontsize=9.5, fontweight="bold", x=0.01, ha="left")


def finished(figure: Figure, file: str, alt: str, caption: str) -> Picture:
    """Render a figure."""
    buffer = io.BytesIO()
    # Without the version of matplotlib, equal content gives equal bytes.
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": SOFTWARE})
    width = round(figure.get_figwidth() * CSS_PIXELS_PER_INCH)
    return Picture(file, alt, caption, buffer.getvalue(), width)


def is_drawn_here(file: Path) -> bool:
    """Return whether a PNG is one that `finished` made, and nobody has saved anew."""
    with file.open("rb") as png:
        return f"tEXtSoftware\0{SOFTWARE}".encode() in png.read(120)


def in_lines(text: str, inches: float, lines: int = 2) -> str:
    """Break a text into lines of a width, and cut it short where even these do not hold it."""
    left = re.sub(r"[ \t\n]+", " ", text).strip()  # other spaces hold together
    parts: list[str] = []
    while left and len(parts) < lines:
        cut = _break(left, inches)
        parts.append(left[:cut].rstrip())
        left = left[cut:].lstrip()
    if left:
        parts[-1] = parts[-1][: _fitting(parts[-1], inches - _inches("…"))].rstrip() + "…"
    return "\n".join(parts)


def _break(text: str, inches: float) -> int:
    cut = _fitting(text, inches)
    space = text.rfind(" ", 0, cut + 1)
    return cut if cut == len(text) or space <= cut // 3 else space


def _fitting(text: str, inches: float) -> int:
    """Return how many of the first letters are no wider than so many inches, at least one."""
    fits = (n for n in range(len(text), 1, -1) if _inches(text[:n]) <= inches)
    return next(fits, 1)


@lru_cache(maxsize=4096)
def _inches(text: str) -> float:
    """Return how wide a text is in the boldest letters that we use."""
    bold = FontProperties(size=9, weight="bold")
    return float(text_to_path.get_text_width_height_descent(text, bold, False)[0]) / 72
