"""One training on one fold: epochs, metrics, continuation."""
