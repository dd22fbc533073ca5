"""More processes: the same batch shared among them (strong), and a batch that grows with them (weak).

python -m benchmarks.scaling [CONFIG] [section.key=value ...]
"""

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.timing import Report
from seq.command_line import config_and_overrides, config_parser, exit_code
from seq.run.json_lines import read_lines

STEPS, ROUNDS, SIZES = 60, 3, (1, 2, 4)
TRAINER = Path(__file__).parents[1] / "train_ddp.py"


def main(arguments: list[str]) -> None:
    path, overrides = config_and_overrides(config_parser("benchmarks.scaling", __doc__).parse_args(arguments).words)
    rates: dict[tuple[str, int], list[float]] = {(kind, size): [] for kind in ("strong", "weak") for size in SIZES}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(ROUNDS):
            for kind, size in rates:
                shards = max(SIZES) if kind == "strong" else size
                settings = [f"batch.shards={shards}", f"run.output_dir={folder}", f"run.name={kind}-{size}-{number}"]
                rates[kind, size].append(_tokens_per_second(size, [str(path), *overrides, *settings], Path(folder)))
    columns = ["scaling", "processes", "tokens/s", "times one", "efficiency"]
    report = Report("scaling", f"{path.stem}: {STEPS} steps, median of {ROUNDS} runs in turn", columns)
    for (kind, size), found in rates.items():
        gain = statistics.median(found) / statistics.median(rates[kind, 1])
        report.add(kind, size, statistics.median(found), gain, gain / size)
    report.show()


def _tokens_per_second(size: int, words: list[str], folder: Path) -> float:
    """The speed of a real run, without its first logged steps."""
    settings = [
        f"train.steps={STEPS}",
        "logging.every_steps=10",
        "logging.wandb=disabled",
        "evaluation.every_steps=1000000",
    ]
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={size}"]
    command = [sys.executable, *launcher, str(TRAINER), *words, *settings, "checkpoint.every_steps=1000000"]
    subprocess.run(command, check=True, capture_output=True)
    lines = [
        line for line in read_lines(folder / words[-1].partition("=")[2] / "metrics.jsonl") if line["event"] == "train"
    ]
    rates: list[float] = [line["tokens_per_second"] for line in lines[1:]]
    return statistics.median(rates)


if __name__ == "__main__":
    sys.exit(exit_code(lambda: main(sys.argv[1:])))
