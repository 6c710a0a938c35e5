"""Entry point of the reweighting plugin."""
