"""From a source of text to the padded batches of a step. Knows nothing of models."""
