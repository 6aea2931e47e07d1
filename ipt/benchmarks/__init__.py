"""What stacking gains, and what a search costs."""
