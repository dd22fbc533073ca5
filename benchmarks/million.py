"""Is a run of a million steps, each of them logged, still usable? Time and memory of the programs that read its record.

python -m benchmarks.million [--steps N] [CONFIG] [section.key=value ...]
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.timing import Report
from seq.command_line import exit_code
from seq.run.checkpoint import checkpoints_in, load_checkpoint, serialize, write_checkpoint
from seq.run.directory import RunDirectory

ROOT = Path(__file__).parent.parent
MORE = 20
"""Steps that are left to do."""
SMALL = (
    "batch.rows=4",
    "model.hidden_size=16",
    "logging.every_steps=1",
    "logging.report=false",
    "checkpoint.best=null",
)


def main(arguments: list[str]) -> int:
    steps = int(arguments.pop(arguments.index("--steps") + 1)) if "--steps" in arguments else 1_000_000
    words = [word for word in arguments if word != "--steps"] or ["names"]
    with tempfile.TemporaryDirectory() as folder:
        every = [f"checkpoint.every_steps={MORE}", f"evaluation.every_steps={MORE}", f"train.steps={steps + MORE}"]
        train = ["train_ddp.py", *words, *SMALL, *every, f"run.output_dir={folder}", "run.name=run"]
        run = RunDirectory(Path(folder) / "run")
        begin(train, run)
        pretend(run, steps)
        report = Report("million", f"{steps:,} steps", ["program", "seconds", "MB at most"])
        report.add("python -m seq.report", *measure(["-m", "seq.report", str(run.path)]))
        report.add("its page: MB", (run.path / "report.html").stat().st_size / 1e6, "")
        for wandb in ("disabled", "offline"):
            report.add(f"resumed, {MORE} steps, W&B {wandb}", *measure([*train, f"logging.wandb={wandb}"]))
            run.result_file.unlink()
            run.checkpoint_at(steps + MORE).unlink()
    report.show()
    return 0


def begin(train: list[str], run: RunDirectory) -> None:
    """A run that is stopped after its first checkpoint."""
    process = subprocess.Popen([sys.executable, *train, "logging.wandb=disabled"], cwd=ROOT, stdout=subprocess.DEVNULL)
    while not checkpoints_in(run.checkpoints):
        time.sleep(0.05)
    process.terminate()
    process.wait()


def pretend(run: RunDirectory, steps: int) -> None:
    """Its checkpoint says that it has done so many steps, and its record has them."""
    path = checkpoints_in(run.checkpoints)[-1]
    state = load_checkpoint(path)
    state["progress"]["step"] = steps
    write_checkpoint(run.checkpoint_at(steps), serialize(state))
    path.unlink()
    metrics = run.path / "metrics.jsonl"
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    first = [line for line in lines if 1 <= line["step"] <= MORE]
    with metrics.open("w") as file:
        for base in range(0, steps, MORE):
            file.writelines(json.dumps(line | {"step": base + line["step"]}) + "\n" for line in first)


def measure(command: list[str]) -> tuple[float, float]:
    """Seconds, and the most memory of the process in MB."""
    begin = time.perf_counter()
    process = subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{' '.join(command)} has failed; see its messages")
    return time.perf_counter() - begin, usage.ru_maxrss / 1e3


if __name__ == "__main__":
    sys.exit(exit_code(lambda: main(sys.argv[1:])))
