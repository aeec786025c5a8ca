"""``registry``: which model is in use, and which is to replace it."""
