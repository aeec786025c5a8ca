"""What a worker imports before it is given a trial: seconds, while the driver reads the data."""

from chemprop_hpo.hpo.trial.imports import nothing_collected

with nothing_collected():
    import chemprop_hpo.hpo.trial.trainable  # noqa: F401
