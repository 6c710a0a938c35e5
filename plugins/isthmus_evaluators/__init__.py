"""The evaluators plugin."""
