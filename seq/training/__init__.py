"""What a run does with data and model: objective, updates, evaluation, records, checkpoints."""
