"""How processes run: torch.distributed, launchers, reduction and randomness. A step has V shards (microbatches), which its processes
share; nothing here knows what a sequence is."""
