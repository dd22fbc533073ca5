"""Figures of this machine: python -m seq.benchmark WHAT [CONFIG] [section.key=value ...]

pipeline   the train loop against a bare loop over the same prebuilt shards
peers      plain PyTorch, Hugging Face's collator, accelerate, Lightning (pip install -e ".[bench]"), and lockstep
gru        every path of the GRU by hidden size, length and padding
data       gathering a batch from the flat arrays against the lecture's loop over sequences
sync       a step with the ordered reduction against plain all-reduce, two processes
scaling    1, 2 and 4 processes: the same batch shared, and a batch that grows with them
generate   many texts sampled together against one
plan       planning for very many sequences and ranks: --sequences 1e9 --ranks 1024 (simulated)

The ways run in turn in one process (or in turn as processes), and what counts is the ratio of medians; other programs on
the machine disturb it. Each prints a table and writes it to benchmark-WHAT.json.
"""

import argparse
import subprocess
import sys

from seq.benchmarks import data, generate, gru, peers, pipeline, plan, scaling
from seq.command_line import exit_code


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m seq.benchmark", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = ("pipeline", "peers", "gru", "data", "sync", "scaling", "generate", "plan")
    parser.add_argument("what", choices=kinds)
    parser.add_argument("words", nargs="*", metavar="CONFIG | section.key=value", help="default: configs/names.yaml")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of gru and peers")
    parser.add_argument("--sequences", type=float, default=1e9)
    parser.add_argument("--ranks", type=int, default=1024)
    options = parser.parse_intermixed_args(arguments)
    match options.what:
        case "sync":
            launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
            command = [sys.executable, *launcher, "-m", "seq.benchmarks.sync", *options.words]
            return subprocess.run(command, check=False).returncode
        case "gru":
            gru.main(options.threads)
        case "peers":
            peers.main(options.threads)
        case "plan":
            plan.main(int(options.sequences), options.ranks)
        case "pipeline":
            pipeline.main(options.words)
        case "data":
            data.main(options.words)
        case "scaling":
            scaling.main(options.words)
        case "generate":
            generate.main()
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(lambda: main(sys.argv[1:])))
