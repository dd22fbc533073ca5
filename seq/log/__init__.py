"""Logging: rank 0 reports the run to the console, files, W&B and TensorBoard."""
