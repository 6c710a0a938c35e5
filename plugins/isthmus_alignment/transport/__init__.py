"""Optimal transport from the source to the target, one method per file."""
