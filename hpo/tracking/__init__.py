"""What MLflow is told, and the manifest that goes with it."""
