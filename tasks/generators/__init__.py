"""Recipes of the embedded suite."""
