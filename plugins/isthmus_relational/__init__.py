"""The relational plugin."""
