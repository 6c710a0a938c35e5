"""Adaptation of images themselves, before a network learns from them."""
