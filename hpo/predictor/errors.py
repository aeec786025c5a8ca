"""What is wrong with a predictor's folder."""

from __future__ import annotations

from chemprop_hpo.configs.errors import UsageError


class PredictorError(UsageError):
    """A folder that is no predictor, or whose files are missing or changed."""
