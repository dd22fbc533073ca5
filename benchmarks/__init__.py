"""Programs that measure speed, beside their results (`cpu/`, `gpu/`). In the root of the repository:

python -m benchmarks.NAME --help

The variants run in turn in one process (or as processes, in turn), and the ratio of their medians counts, because other
programs on the machine disturb both alike. Each program prints a table and writes it to benchmark-NAME.json.
"""
