"""Hyperparameter sweeps of Chemprop models that survive anything and resume anywhere."""

__version__ = "0.1.0"
