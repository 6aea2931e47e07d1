"""The stacked loop: many jobs in one batch."""
