"""Chemprop models: built, computed quickly, saved and loaded."""
