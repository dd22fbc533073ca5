"""What rank 0 says about the run, and to whom."""
