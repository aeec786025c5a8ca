"""Which model is in use: records of models in, decisions with their reasons out."""
