"""The alignment plugin."""
