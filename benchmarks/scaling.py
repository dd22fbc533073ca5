"""More processes: the config's batch shared among them (strong), and one shard for each process (weak).

python -m benchmarks.scaling [CONFIG] [section.key=value ...]
"""

import os
import statistics
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path

from benchmarks.timing import Report
from seq.command_line import config_and_overrides, config_from, config_parser, exit_code
from seq.run.json_lines import read_lines

STEPS, EVERY, ROUNDS = 250, 50, 3
"""The speed is read every 50 steps; the first reading is of a process that warms up, and does not count."""
SIZES = [size for size in (1, 2, 4, 8) if size <= (os.cpu_count() or 1)]
TRAINER = Path(__file__).parents[1] / "train_ddp.py"


def main(arguments: list[str]) -> None:
    path, overrides = config_and_overrides(config_parser("benchmarks.scaling", __doc__).parse_args(arguments).words)
    shards = config_from([str(path), *overrides]).batch.shards
    cases = [("strong", size) for size in SIZES if size <= shards] + [("weak", size) for size in SIZES]
    speeds: dict[tuple[str, int], list[float]] = {case: [] for case in cases}
    with tempfile.TemporaryDirectory() as folder:
        for number, (kind, size) in product(range(ROUNDS), speeds):
            weak = [f"batch.shards={size}"] if kind == "weak" else []
            run = Path(folder) / f"{kind}-{size}-{number}"
            speeds[kind, size].append(_tokens_per_second(size, [str(path), *overrides, *weak], run))
    columns = ["scaling", "processes", "tokens/s", "times one", "efficiency", "quartiles"]
    report = Report("scaling", f"{path.stem}: {STEPS} steps, {ROUNDS} runs in turn", columns)
    for (kind, size), found in speeds.items():
        gains = [many / one for many, one in zip(found, speeds[kind, 1], strict=True)]
        low, middle, high = statistics.quantiles(gains, n=4)
        report.add(kind, size, statistics.median(found), middle, middle / size, f"{low:.2f} to {high:.2f}")
    report.show()


def _tokens_per_second(size: int, words: list[str], run: Path) -> float:
    """Of a real run, in the time of training alone: without start-up, evaluation and saving. Median of the readings."""
    settings = [
        f"train.steps={STEPS}",
        f"logging.every_steps={EVERY}",
        f"run.output_dir={run.parent}",
        f"run.name={run.name}",
        "logging.wandb=disabled",
    ]
    settings += ["logging.report=false", "evaluation.every_steps=1000000", "checkpoint.every_steps=1000000"]
    settings += ["evaluation.window=1000000", "generation.prompts=[]"]
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={size}"]
    subprocess.run([sys.executable, *launcher, str(TRAINER), *words, *settings], check=True, stdout=subprocess.DEVNULL)
    lines = read_lines(run / "metrics.jsonl")
    readings = [line["tokens_per_second"] for line in lines if line["event"] == "train"]
    return float(statistics.median(readings[1:]))


if __name__ == "__main__":
    sys.exit(exit_code(lambda: main(sys.argv[1:])))
