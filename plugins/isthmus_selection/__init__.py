"""Choosing among strategies without target labels."""
