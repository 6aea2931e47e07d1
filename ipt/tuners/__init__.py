"""What is tuned for one job, and where it acts."""
