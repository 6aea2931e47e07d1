"""The embedded suite and CrossFit."""
