"""Entry point of the evaluators plugin."""
