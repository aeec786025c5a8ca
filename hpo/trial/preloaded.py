"""What a worker imports before it is given a trial: seconds, while the driver reads the data."""

from contextlib import suppress

from chemprop_hpo.hpo.trial.imports import nothing_collected

# What goes wrong here goes wrong once more for the trial, which says so.
with nothing_collected(), suppress(Exception):
    import chemprop_hpo.hpo.trial.trainable  # noqa: F401
