"""What is remembered: studies, trials and who runs them."""
