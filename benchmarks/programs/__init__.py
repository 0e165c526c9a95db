"""Programs that run in a client's environment."""
