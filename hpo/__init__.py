"""What is done: sweeps, ensembles and the commands that start them."""
