"""Looking into steps: trial runs, one step opened, and what a run recorded about its steps."""
