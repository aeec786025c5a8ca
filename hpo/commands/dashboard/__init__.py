"""The ``dashboard`` command: optuna-dashboard on the studies, which it cannot change."""
