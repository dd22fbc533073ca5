"""What `python -m seq.benchmark` measures. No test decides by a clock; these say how fast it is, here and now."""
