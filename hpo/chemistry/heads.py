"""The three ways from a molecule's fingerprint to its targets.

Files of models name their head by this module and its class: neither can have another name.
"""

from __future__ import annotations

from typing import Any

import torch
from chemprop.nn import BinaryClassificationFFN, ChempropMetric, Predictor, RegressionFFN
from chemprop.nn.ffn import MLP
from chemprop.nn.transforms import UnscaleTransform
from chemprop.nn.utils import get_activation_function
from torch import Tensor, nn

from chemprop_hpo.configs.schema import ModelConfig

__all__ = [
    "BranchedClassification",
    "BranchedRegression",
    "MixtureClassification",
    "MixtureRegression",
    "build_head",
]


def build_head(
    model: ModelConfig,
    task: str,
    n_tasks: int,
    input_dim: int,
    criterion: ChempropMetric,
    output_transform: UnscaleTransform | None,
) -> Predictor:
    """Build the head that ``model.ffn_type`` names; ``regression`` is Chemprop's own.

    Parameters
    ----------
    model : ModelConfig
    task : str
        ``regression`` or ``classification``.
    n_tasks : int
        How many targets are predicted, one or more.
    input_dim : int
        Width of the fingerprint, molecule features included.
    criterion : ChempropMetric
        The loss, with its task weights.
    output_transform : UnscaleTransform or None
        From standardised to target units.
    """
    stock = {
        "n_tasks": n_tasks,
        "input_dim": input_dim,
        "hidden_dim": model.hidden_dim,
        "n_layers": model.num_layers,
        "dropout": model.dropout,
        "activation": model.activation,
        "criterion": criterion,
        "output_transform": output_transform,
    }
    return _HEADS[model.ffn_type, task](**stock, **_own_arguments(model))


def _own_arguments(model: ModelConfig) -> dict[str, int]:
    if model.ffn_type == "branched":
        return {
            "trunk_hidden_dim": model.trunk_hidden_dim,
            "trunk_n_layers": model.trunk_n_layers,
        }
    return {"n_experts": model.n_experts} if model.ffn_type == "mixture_of_experts" else {}


class Branches(nn.Module):
    """A trunk that all targets share, then a small network for each target.

    The trunk has ``trunk_n_layers`` layers of ``trunk_hidden_dim``, a branch has ``n_layers``
    of ``hidden_dim`` and one output.
    """

    def __init__(
        self,
        n_tasks: int,
        input_dim: int,
        hidden_dim: int,
        n_layers: int,
        dropout: float,
        activation: str,
        trunk_hidden_dim: int,
        trunk_n_layers: int,
    ) -> None:
        super().__init__()
        self.input_dim = input_dim
        self.output_dim = n_tasks
        width = trunk_hidden_dim
        self.trunk = MLP.build(input_dim, width, width, trunk_n_layers - 1, dropout, activation)
        self.fork = nn.Sequential(get_activation_function(activation), nn.Dropout(dropout))
        self.branches = nn.ModuleList(
            MLP.build(width, 1, hidden_dim, n_layers, dropout, activation) for _ in range(n_tasks)
        )

    def forward(self, Z: Tensor) -> Tensor:  # noqa: N803  # Chemprop's name
        """Predict all targets, shape (n, t)."""
        return self.encode(Z, None)

    def encode(self, Z: Tensor, i: int | None) -> Tensor:  # noqa: N803
        """Go through the layers of the trunk, then all branches as one last layer, up to i."""
        for layer in (*self.trunk, self._branch_out)[:i]:
            Z = layer(Z)  # noqa: N806
        return Z

    def _branch_out(self, trunk_output: Tensor) -> Tensor:
        shared = self.fork(trunk_output)
        return torch.cat([branch(shared) for branch in self.branches], dim=1)


class Experts(nn.Module):
    """Networks that each predict all targets, and a gate that shares out trust a molecule.

    The gate is linear in the fingerprint; its softmax weighs the experts' outputs
    (Jacobs et al., Neural Computation 3, 79, 1991).
    """

    def __init__(
        self,
        n_tasks: int,
        input_dim: int,
        hidden_dim: int,
        n_layers: int,
        dropout: float,
        activation: str,
        n_experts: int,
    ) -> None:
        super().__init__()
        self.input_dim = input_dim
        self.output_dim = n_tasks
        self.gate = nn.Linear(input_dim, n_experts)
        self.experts = nn.ModuleList(
            MLP.build(input_dim, n_tasks, hidden_dim, n_layers, dropout, activation)
            for _ in range(n_experts)
        )

    def forward(self, Z: Tensor) -> Tensor:  # noqa: N803
        """Predict all targets, shape (n, t)."""
        return self._mix(Z, [expert(Z) for expert in self.experts])

    def encode(self, Z: Tensor, i: int | None) -> Tensor:  # noqa: N803
        """Mix the experts' i-th hidden representations as their outputs are mixed."""
        return self._mix(Z, [expert[:i](Z) for expert in self.experts])  # type: ignore[index]  # an MLP

    def _mix(self, Z: Tensor, opinions: list[Tensor]) -> Tensor:  # noqa: N803
        trust = self.gate(Z).softmax(dim=1).unsqueeze(1)
        mixed: Tensor = torch.bmm(trust, torch.stack(opinions, dim=1)).squeeze(1)
        return mixed


class _Branched:
    """A predictor of Chemprop's whose network is a trunk with branches."""

    def __init__(
        self,
        n_tasks: int = 1,
        input_dim: int = 300,
        hidden_dim: int = 300,
        n_layers: int = 1,
        dropout: float = 0.0,
        activation: str = "relu",
        trunk_hidden_dim: int = 300,
        trunk_n_layers: int = 2,
        **stock: Any,
    ) -> None:
        shape = n_tasks, input_dim, hidden_dim, n_layers, dropout, activation
        super().__init__(*shape, **stock)  # type: ignore[call-arg]  # Chemprop's predictor
        self.ffn = Branches(*shape, trunk_hidden_dim, trunk_n_layers)

    def encode(self, Z: Tensor, i: int) -> Tensor:  # noqa: N803
        return self.ffn.encode(Z, i)


class _Mixture:
    """A predictor of Chemprop's whose network is a mixture of experts."""

    def __init__(
        self,
        n_tasks: int = 1,
        input_dim: int = 300,
        hidden_dim: int = 300,
        n_layers: int = 1,
        dropout: float = 0.0,
        activation: str = "relu",
        n_experts: int = 4,
        **stock: Any,
    ) -> None:
        shape = n_tasks, input_dim, hidden_dim, n_layers, dropout, activation
        super().__init__(*shape, **stock)  # type: ignore[call-arg]  # Chemprop's predictor
        self.ffn = Experts(*shape, n_experts)

    def encode(self, Z: Tensor, i: int) -> Tensor:  # noqa: N803
        return self.ffn.encode(Z, i)


class BranchedRegression(_Branched, RegressionFFN):
    """A trunk and a branch for each target, for regression."""


class BranchedClassification(_Branched, BinaryClassificationFFN):
    """A trunk and a branch for each target, for binary classification."""


class MixtureRegression(_Mixture, RegressionFFN):
    """Experts that a gate mixes, for regression."""


class MixtureClassification(_Mixture, BinaryClassificationFFN):
    """Experts whose logits a gate mixes, for binary classification."""


_HEADS: dict[tuple[str, str], type[Predictor]] = {
    ("regression", "regression"): RegressionFFN,
    ("regression", "classification"): BinaryClassificationFFN,
    ("branched", "regression"): BranchedRegression,
    ("branched", "classification"): BranchedClassification,
    ("mixture_of_experts", "regression"): MixtureRegression,
    ("mixture_of_experts", "classification"): MixtureClassification,
}
