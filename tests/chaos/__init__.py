"""Faults on real torchrun runs: python -m tests.chaos [--faults N] [--seed S] [--only NAME]

One to four faults strike each run; it is started again as its user (or SLURM, or torchrun itself) would, with any number of
processes, and must end as the run that nobody disturbed: `check` says what that means.

`run.py` is the run that is disturbed. The faults come from outside: `processes.py` (kills and signals), `files.py` (disks, and
what somebody does to a run's files) and `hosts.py` (two hosts, a network, another user); `tests/faults.py` has those that are
inside a process.
"""
