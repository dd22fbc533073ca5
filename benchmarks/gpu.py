"""All that needs a GPU, in less than ten minutes: first the tests, then the benchmarks; one JSON each.

bash benchmarks/gpu.sh                          tests, tables, names and speeches
bash benchmarks/gpu.sh large                    configs/speeches_large.yaml, ten minutes of training
PART=tests,gru bash benchmarks/gpu.sh           some of them

Writes to `$OUT` (default: benchmarks/gpu). Exit code 1 if anything failed, or did not end in time.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.timing import machine

ROOT = Path(__file__).parent.parent
LIMIT = 590
"""Seconds for all together."""
PYTHON = (sys.executable, "-m")
CONFIG = {name: str(ROOT / "configs" / f"{name}.yaml") for name in ("names", "speeches", "speeches_large")}
QUIET = ("logging.wandb=disabled", "logging.report=false", "run.output_dir=runs")


def train(config: str, *words: str) -> tuple[str, ...]:
    return (sys.executable, str(ROOT / "train_ddp.py"), CONFIG[config], *QUIET, f"run.name={config}", *words)


SHORT: dict[str, tuple[str, ...]] = {
    "tests": (*PYTHON, "pytest", "-q", "-m", "gpu", "-n", "6", str(ROOT / "tests")),
    "gru": (*PYTHON, "benchmarks.gru"),
    "peers": (*PYTHON, "benchmarks.peers", "--rounds", "5"),
    "sync-names": (*PYTHON, "benchmarks.sync", CONFIG["names"]),
    "sync-speeches": (*PYTHON, "benchmarks.sync", CONFIG["speeches"]),
    "step-names": (*PYTHON, "benchmarks.profile", CONFIG["names"]),
    "step-speeches": (*PYTHON, "benchmarks.profile", CONFIG["speeches"]),
    "names": train("names"),
    "speeches": train("speeches", "train.steps=600"),
}
LARGE = {"speeches_large": train("speeches_large")}


def main(arguments: list[str]) -> int:
    large = arguments == ["large"]
    chosen = os.environ.get("PART", "").split(",")
    jobs = {name: words for name, words in (LARGE if large else SHORT).items() if chosen == [""] or name in chosen}
    folder, end = (
        Path(os.environ.get("OUT", ROOT / "benchmarks" / "gpu")),
        time.monotonic() + (3600 if large else LIMIT),
    )
    folder.mkdir(parents=True, exist_ok=True)
    failed = [name for name, words in jobs.items() if measure(name, words, folder, end)]
    print(f"failed: {', '.join(failed)}" if failed else "all passed")
    return 1 if failed else 0


def measure(name: str, words: tuple[str, ...], folder: Path, end: float) -> int:
    """Run it in a folder of its own; write its exit code, what it printed last, and the table or result that it wrote."""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        code, output = _run(words, Path(place), max(1.0, end - begin))
        found = [*Path(place).glob("benchmark-*.json"), *Path(place).glob("runs/*/result.json")]
        about = {
            "what": name,
            "command": " ".join(words).replace(sys.executable, "python").replace(f"{ROOT}/", ""),
            "exit_code": code,
        }
        about |= {"seconds": round(time.monotonic() - begin, 1), "machine": machine(), "last_lines": output[-40:]}
        results: list[Any] = [json.loads(path.read_text()) for path in found]
    (folder / f"{name}.json").write_text(json.dumps(about | {"results": results}, indent=1) + "\n")
    print("\n".join([*output[-40:], f"{name}: exit code {code}"]), flush=True)
    return code


def _run(words: tuple[str, ...], place: Path, seconds: float) -> tuple[int, list[str]]:
    """124: it did not end in time."""
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    log = place / "log"
    with log.open("w") as file:
        try:
            code = subprocess.run(
                words, cwd=place, env=env, stdout=file, stderr=file, timeout=seconds, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            code = 124
    return code, log.read_text(errors="replace").splitlines()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
