"""How processes run: torch.distributed, launchers and randomness. Nothing here knows what a sequence is."""
