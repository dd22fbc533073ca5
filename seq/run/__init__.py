"""The disk: what a run keeps in its directory."""
