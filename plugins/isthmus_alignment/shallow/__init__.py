"""Shallow alignment methods, one file each."""
