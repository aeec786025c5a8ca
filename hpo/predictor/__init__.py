"""A folder of models that predicts: written once, checked, loaded, and asked for molecules."""

from chemprop_hpo.hpo.predictor.errors import PredictorError
from chemprop_hpo.hpo.predictor.loading import load_ensemble
from chemprop_hpo.hpo.predictor.panel import Panel
from chemprop_hpo.hpo.predictor.predicting import Ensemble
from chemprop_hpo.hpo.predictor.writing import MemberContent, PredictorContent, write_predictor

__all__ = [
    "Ensemble",
    "MemberContent",
    "Panel",
    "PredictorContent",
    "PredictorError",
    "load_ensemble",
    "write_predictor",
]
