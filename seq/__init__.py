"""What is learnt: data, models, training, and the small programs that use a finished run."""
