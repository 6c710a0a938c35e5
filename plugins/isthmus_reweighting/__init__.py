"""The reweighting plugin."""
