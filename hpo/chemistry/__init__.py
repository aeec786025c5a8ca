"""Chemprop without Ray: data, features, models, training and metrics."""
