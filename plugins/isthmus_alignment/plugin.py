"""Entry point of the alignment plugin."""
