"""Text-to-text tasks: the embedded suite and its generators, and a user's own files."""
