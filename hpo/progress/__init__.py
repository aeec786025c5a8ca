"""Show a running sweep: live on a terminal, as plain lines elsewhere."""
