"""Entry point of the relational plugin."""
