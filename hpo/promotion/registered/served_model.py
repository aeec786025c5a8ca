"""An ensemble as MLflow serves it: string ``smiles`` in, predictions with reasons out.

MLflow keeps a copy of this file beside the model and runs it wherever the model is loaded, so it
holds no more than the way to the installed package.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel

PREDICTOR = "predictor"
"""The artifact that is the predictor's folder."""


class ServedEnsemble(PythonModel):
    """A predictor of chemprop-hpo."""

    def load_context(self, context: Any) -> None:
        """Load the predictor; a file that was changed since it was registered is refused."""
        from chemprop_hpo import load_ensemble

        self._ensemble = load_ensemble(Path(context.artifacts[PREDICTOR]))

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Predict molecules, row by row in their order.

        Returns
        -------
        DataFrame
            As of `chemprop_hpo.hpo.predictor.predicting.Ensemble.predict`, without ``smiles``,
            and with None for every number that there is not, since JSON knows no NaN.
        """
        predicted = self._ensemble.predict(list(model_input["smiles"])).drop(columns="smiles")
        predicted.index = model_input.index
        return predicted.astype(object).where(predicted.notna(), None)


set_model(ServedEnsemble())
