"""Figures: arrays in, axes out."""
