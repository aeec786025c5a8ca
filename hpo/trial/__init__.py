"""One trial: from suggested values to reported epochs."""
