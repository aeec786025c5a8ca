"""From a configuration to suggestions, and when to stop a trial."""
