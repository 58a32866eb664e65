"""Posteriors to words."""
