"""The explorer: a local page to walk in a run with, and the answers behind it."""
