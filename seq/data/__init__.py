"""From a source of text to the padded batches of a step. Nothing here knows the models."""
