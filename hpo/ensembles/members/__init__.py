"""Train the models of an ensemble, resumable at any kill."""
