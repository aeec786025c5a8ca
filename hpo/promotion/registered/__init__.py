"""Predictors as MLflow models: packed, registered, and read back."""
