"""Build a Chemprop model from a configuration, save it and load it, all as stock Chemprop does."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import torch
from chemprop.models import MPNN
from chemprop.models import load_model as load_stock_model
from chemprop.models import save_model as save_stock_model
from chemprop.nn import (
    MAE,
    MSE,
    RMSE,
    Aggregation,
    AtomMessagePassing,
    BCELoss,
    BondMessagePassing,
    ChempropMetric,
    MeanAggregation,
    MessagePassing,
    NormAggregation,
    ScaleTransform,
    SumAggregation,
    UnscaleTransform,
)

from chemprop_hpo.configs.schema import Criterion, ModelConfig, OptimizationConfig
from chemprop_hpo.hpo.chemistry.features.fold import Fold
from chemprop_hpo.hpo.chemistry.features.scaling import target_scaling, vector_scaling
from chemprop_hpo.hpo.chemistry.heads import build_head
from chemprop_hpo.hpo.chemistry.models.checkpoints import CheckpointError, write_atomically

_CRITERIA: dict[Criterion, type[ChempropMetric]] = {"MSE": MSE, "MAE": MAE, "RMSE": RMSE}


def build_model(model: ModelConfig, optimization: OptimizationConfig, fold: Fold) -> MPNN:
    """Build a model with fresh weights for the molecules of a fold.

    Its predictions are in the fold's target units, transforms applied; it scales molecule
    features and outputs itself, by what the training molecules say.

    Parameters
    ----------
    model : ModelConfig
    optimization : OptimizationConfig
        Gives the criterion, and the schedule that the model notes.
    fold : Fold
        Must hold the graphs and vectors that ``model`` asks for.
    """
    message_passing = _message_passing(model, fold)
    vectors = vector_scaling(fold, model)
    init_lr, max_lr, final_lr = optimization.learning_rates
    head = build_head(
        model,
        fold.task,
        n_tasks=len(fold.target_cols),
        input_dim=message_passing.output_dim + (0 if vectors is None else len(vectors.means)),
        criterion=_criterion(optimization.criterion, fold),
        output_transform=_output_transform(fold),
    )
    return MPNN(
        message_passing,
        _aggregation(model),
        head,
        batch_norm=model.batch_norm,
        warmup_epochs=optimization.warmup_epochs,
        init_lr=init_lr,
        max_lr=max_lr,
        final_lr=final_lr,
        X_d_transform=None if vectors is None else ScaleTransform(vectors.means, vectors.scales),
    )


def save_model(model: MPNN, path: Path, target_cols: Sequence[str]) -> None:
    """Write a model in Chemprop's own format, whole or not at all.

    ``chemprop.models.load_model`` reads it; heads of this package must be importable there.

    Raises
    ------
    OSError
        If it cannot be written; ``path`` is then as it was.
    """
    buffer = io.BytesIO()
    save_stock_model(buffer, model, list(target_cols))
    write_atomically(path, buffer.getbuffer())


def load_model(path: Path) -> MPNN:
    """Read a model that :func:`save_model` or Chemprop wrote, onto the CPU and ready to predict.

    Reading a model runs code that the file names: open only files that you trust.

    Raises
    ------
    CheckpointError
        If there is no such file, or it is damaged.
    """
    try:
        return load_stock_model(path).eval()
    except (OSError, RuntimeError, EOFError, KeyError) as error:
        raise CheckpointError(f"{path}: no model can be read from it ({error})") from error


def _message_passing(model: ModelConfig, fold: Fold) -> MessagePassing:
    kind = BondMessagePassing if model.message_passing == "bond" else AtomMessagePassing
    d_v, d_e = fold.graphs[model.atom_features].dims
    return kind(
        d_v,
        d_e,
        model.message_hidden_dim,
        bias=model.message_bias,
        depth=model.depth,
        dropout=model.dropout,
        activation=model.activation,
        undirected=model.undirected,
    )


def _aggregation(model: ModelConfig) -> Aggregation:
    if model.aggregation == "norm":
        return NormAggregation(norm=model.aggregation_norm)
    return MeanAggregation() if model.aggregation == "mean" else SumAggregation()


def _criterion(criterion: Criterion, fold: Fold) -> ChempropMetric:
    # Chemprop takes the weights of targets from the criterion, not from the head, once it is given.
    kind = BCELoss if fold.task == "classification" else _CRITERIA[criterion]
    return kind(task_weights=torch.tensor(fold.weights))


def _output_transform(fold: Fold) -> UnscaleTransform | None:
    if fold.task == "classification":
        return None
    scaling = target_scaling(fold)
    return UnscaleTransform(scaling.means, scaling.scales)
