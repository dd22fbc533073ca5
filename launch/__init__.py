"""How processes run: torch.distributed, launchers, reduction and randomness. Nothing here knows what a sequence is."""
