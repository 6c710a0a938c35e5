"""Adaptation between graphs whose instances are nodes, one file per method."""
