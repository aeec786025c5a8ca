"""All that is drawn of a search."""

from __future__ import annotations

from chemprop_hpo.hpo.report.drawing import Picture
from chemprop_hpo.hpo.report.searched.content import Search
from chemprop_hpo.hpo.report.searched.importance_bars import draw_importances
from chemprop_hpo.hpo.report.searched.parallel import draw_parallel_coordinates
from chemprop_hpo.hpo.report.searched.slices import draw_slices

__all__ = ["draw_searched"]


def draw_searched(search: Search | None) -> tuple[Picture, ...]:
    """Draw what there is to show, inside `house_style`: importances, slices, parallel lines."""
    pictures = (
        draw_importances(search, "importances.png"),
        draw_slices(search, "slices.png"),
        draw_parallel_coordinates(search, "parallel_coordinates.png"),
    )
    return tuple(picture for picture in pictures if picture is not None)
