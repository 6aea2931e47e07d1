"""What the loss is, and what is predicted."""
