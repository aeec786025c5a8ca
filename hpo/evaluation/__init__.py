"""What predictions are worth: figures, their intervals, weights and calibration, in plain NumPy."""
