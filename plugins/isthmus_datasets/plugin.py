"""Entry point of the datasets plugin."""
