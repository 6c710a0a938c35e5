"""Evaluators that read no target labels, and may therefore choose between models."""
