"""What a chemist asks of predicted probabilities: are they honest, and do they rank."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from sklearn.metrics import precision_recall_curve, roc_curve

from chemprop_hpo.hpo.evaluation.reliability import reliability
from chemprop_hpo.hpo.report.content import EnsembleTarget, Judged, Target
from chemprop_hpo.hpo.report.drawing import (
    GREY,
    OUT_OF_FOLD,
    TEST,
    Picture,
    Style,
    finished,
    name_figure,
    panels,
)

__all__ = ["draw_classification"]


def draw_classification(
    target: Target, result: EnsembleTarget, ensemble: str, file: str
) -> Picture | None:
    """Draw the reliability, ROC and precision-recall curves of a target.

    Returns None where neither part was judged.
    """
    parts = [
        (name, colour, line, judged)
        for name, colour, line, judged in (
            ("Out of fold", OUT_OF_FOLD, "-", result.out_of_fold),
            ("Test", TEST, "--", result.test),
        )
        if judged is not None and judged.n
    ]
    if not parts:
        return None
    figure, axes = panels(3, 3, width=2.35, height=2.85)
    name_figure(figure, target.name)
    _frame(axes)
    for name, colour, line, judged in parts:
        _draw_part(axes, judged, colour, line, f"{name} (n = {judged.n})")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    alt = f"Reliability, ROC and precision-recall curves of {target.name}"
    return finished(figure, file, alt, _caption(parts, ensemble))


def _frame(axes: list[Axes]) -> None:
    reliable, roc, recall = axes
    reliable.set(title="Reliability", xlabel="Predicted probability", ylabel="Observed share")
    roc.set(title="ROC", xlabel="False positive rate", ylabel="True positive rate")
    recall.set(title="Precision–recall", xlabel="Recall", ylabel="Precision")
    for axis in axes:
        axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        axis.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        axis.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    for axis in (reliable, roc):
        axis.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, zorder=1)


def _draw_part(axes: list[Axes], judged: Judged, colour: str, line: str, label: str) -> None:
    _draw_reliability(axes[0], judged, {"color": colour, "linestyle": line, "label": label})
    if len(np.unique(judged.labels)) < 2:
        return
    style: Style = {"color": colour, "linestyle": line, "linewidth": 1.2}
    false, true, _ = roc_curve(judged.labels, judged.mean)
    axes[1].plot(false, true, **style)
    precision, recall, _ = precision_recall_curve(judged.labels, judged.mean)
    axes[2].plot(recall, precision, **style)
    base = float(judged.labels.mean())
    axes[2].axhline(base, color=colour, linestyle=":", linewidth=0.8, zorder=1)


def _draw_reliability(axis: Axes, judged: Judged, style: dict[str, str]) -> None:
    curve = reliability(judged.mean, judged.labels)
    errors = np.clip([curve.observed - curve.low, curve.high - curve.observed], 0, None)
    bars: Style = {"marker": "o", "markersize": 3, "linewidth": 1.0, "elinewidth": 0.8, **style}
    axis.errorbar(curve.predicted, curve.observed, yerr=errors, **bars)


def _caption(parts: list[tuple[str, str, str, Judged]], ensemble: str) -> str:
    text = (
        f"Predictions of {ensemble}. Left: on the grey line, of the molecules given a probability "
        "of 0.7 seven in ten are of class 1; bars are 95 % intervals (Wilson). Middle: the further "
        "above the grey line, the better the ranking. Right: the dotted lines are the share of "
        "class 1, which a blind guess would reach."
    )
    one_class = [name for name, _, _, judged in parts if len(np.unique(judged.labels)) < 2]
    missing = " and ".join(name.lower() for name in one_class)
    return text + (f" There is only one class in {missing}: no curves." if one_class else "")
