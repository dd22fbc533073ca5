"""The networks: token ids in, logits out. Knows nothing of text or files."""
