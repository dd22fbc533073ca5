"""What it costs to prepare data: seconds, and the most memory of all processes, for data that it makes itself.

python -m benchmarks.prepare [--text BYTES] [--rows NUMBER] [--labels NUMBER]
"""

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil

from benchmarks.timing import Report
from seq.config.read import SHIPPED, load_config
from seq.data.corpus import prepare_corpus
from seq.tasks import task_of

LETTERS = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz  \n", np.uint8)
BLOCK = 1 << 20


def make_text(path: Path, size: int) -> None:
    """Words of random letters in lines, and paragraphs."""
    random = np.random.default_rng(0)
    with path.open("wb") as file:
        while (left := size - file.tell()) > 0:
            file.write(LETTERS[random.integers(0, len(LETTERS), min(BLOCK, left))].tobytes() + b"\n\n")


def make_rows(path: Path, rows: int, labels: int) -> None:
    """Texts of ten letters with a label each."""
    random = np.random.default_rng(0)
    with path.open("wb") as file:
        file.write(b"text,label\n")
        for first in range(0, rows, BLOCK):
            texts = LETTERS[random.integers(0, 26, (min(BLOCK, rows - first), 10))]
            ends = (f",label{place % labels:05d}\n".encode() for place in range(first, first + len(texts)))
            file.writelines(text.tobytes() + end for text, end in zip(texts, ends, strict=True))


def prepare(config: str, words: Sequence[str]) -> None:
    loaded = load_config(SHIPPED / f"{config}.yaml", words)
    prepare_corpus(loaded.data, task_of(loaded))


def measured(command: Sequence[str | Path]) -> tuple[float, float]:
    """Seconds, and the largest sum of the memory of a program and its children, in GB."""
    begin, peak = time.perf_counter(), 0

    def watch(process: psutil.Process) -> None:
        nonlocal peak
        while process.is_running():
            with suppress(psutil.Error):
                own = [each.memory_full_info() for each in (process, *process.children(recursive=True))]
                peak = max(peak, sum(getattr(each, "pss", each.rss) for each in own))
            time.sleep(0.05)

    running = subprocess.Popen(command)
    threading.Thread(target=watch, args=(psutil.Process(running.pid),), daemon=True).start()
    if running.wait():
        raise SystemExit(running.returncode)
    return time.perf_counter() - begin, peak / 1e9


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.prepare", description=__doc__)
    parser.add_argument("--text", type=float, default=1e8, help="bytes of a text (default 100 MB)")
    parser.add_argument("--rows", type=float, default=1e6, help="rows of a table (default a million)")
    parser.add_argument("--labels", type=int, default=100)
    parser.add_argument("--prepare", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.prepare:
        return prepare(options.prepare[0], options.prepare[1:])
    report = Report("prepare", "data that are prepared", ["data", "s", "GB"])
    with tempfile.TemporaryDirectory(dir=".") as folder:
        text, rows = Path(folder) / "text.txt", Path(folder) / "rows.csv"
        make_text(text, int(options.text))
        make_rows(rows, int(options.rows), options.labels)
        for name, config, path in (
            (f"text of {options.text:,.0f} bytes", "char_lm", text),
            (f"{options.rows:,.0f} rows", "classifier", rows),
        ):
            words = [config, f"data.files.train={path}", f"data.cache_dir={folder}/cache"]
            seconds, memory = measured([sys.executable, "-m", "benchmarks.prepare", "--prepare", *words])
            report.add(name, seconds, memory)
    report.show()


if __name__ == "__main__":
    main(sys.argv[1:])
