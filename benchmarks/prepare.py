"""What data cost before and after training: seconds, and the most memory of all processes, for data that it makes itself.

python -m benchmarks.prepare [--text BYTES] [--rows NUMBER]
"""

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil

from benchmarks.timing import Report
from seq.config.read import SHIPPED, load_config
from seq.data.corpus import prepare_corpus
from seq.tasks import task_of

LETTERS = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz", np.uint8)
WORDS = 50_000
BLOCK = 1 << 18
ROOT = Path(__file__).parents[1]
QUIET = ["logging.wandb=disabled", "logging.every_steps=1"]


def make_text(path: Path, size: int) -> None:
    """Words in lines and paragraphs; the n-th most frequent one occurs 1/n times as often as the first."""
    random = np.random.default_rng(0)
    lengths = random.integers(2, 10, WORDS)
    words = np.array(["".join(map(chr, LETTERS[random.integers(0, 26, length)])) for length in lengths], object)
    ends = np.array([" "] * 12 + [".\n"] * 3 + ["\n\n"], object)
    with path.open("w") as file:
        while file.tell() < size:
            places = (WORDS ** random.random(BLOCK)).astype(np.int64) - 1
            file.write("".join(words[places] + ends[random.integers(0, len(ends), BLOCK)]))
        file.truncate(size)


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


def measured(command: Sequence[str], until: str | None = None) -> tuple[float, float]:
    """Seconds of a program, or until it prints a line that begins with the words `until`; and the largest sum of the memory of it and its
    children, in GB."""
    begin, peak = time.perf_counter(), 0.0
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def watch(watched: psutil.Process) -> None:
        nonlocal peak
        while watched.is_running():
            with suppress(psutil.Error):
                own = [each.memory_full_info() for each in (watched, *watched.children(recursive=True))]
                peak = max(peak, sum(getattr(each, "pss", each.rss) for each in own) / 1e9)
            time.sleep(0.05)

    threading.Thread(target=watch, args=(psutil.Process(process.pid),), daemon=True).start()
    for line in process.stdout or ():
        if until and " ".join(line.split()).startswith(until):
            seconds = time.perf_counter() - begin
            process.terminate()
            process.wait()
            return seconds, peak
    if process.wait():
        raise SystemExit(process.returncode)
    return time.perf_counter() - begin, peak


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.prepare", description=__doc__)
    parser.add_argument("--text", type=float, default=1e8, help="bytes of a text (default 100 MB)")
    parser.add_argument("--rows", type=float, default=1e6, help="rows of a table (default a million)")
    parser.add_argument("--prepare", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.prepare:
        return prepare(options.prepare[0], options.prepare[1:])
    report = Report("prepare", "data", ["what", "s", "GB"])
    with tempfile.TemporaryDirectory(dir=".") as folder:
        for name, command, until in cases(Path(folder), int(options.text), int(options.rows)):
            report.add(name, *measured(command, until))
    report.show()


def cases(folder: Path, size: int, rows: int) -> Iterator[tuple[str, list[str], str | None]]:
    """What is measured, its command, and the line at which the time ends."""
    text, small, table, short, wide = (
        folder / name for name in ("text.txt", "small.txt", "rows.csv", "short.csv", "labels.csv")
    )
    labels, few = min(10_000, rows // 100), min(rows, 10**6)
    make_text(text, size)
    make_text(small, size // 100)
    make_rows(table, rows, 100)
    make_rows(short, few, 18)
    make_rows(wide, 4 * labels, labels)
    keys = [f"data.cache_dir={folder}/cache", f"run.output_dir={folder}"]
    preparing, training = (
        [sys.executable, "-m", "benchmarks.prepare", "--prepare"],
        [sys.executable, str(ROOT / "train_ddp.py")],
    )

    def of(path: Path) -> list[str]:
        return [f"data.files.train={path}", *keys]

    yield f"prepare {size:,} bytes, characters", [*preparing, "char_lm", *of(text)], None
    yield (
        f"prepare {size // 10:,} bytes, subwords",
        [*preparing, "char_lm", *of(_part(text)), "data.tokenizer=subwords"],
        None,
    )
    yield f"prepare {rows:,} rows", [*preparing, "classifier", *of(table)], None
    for path, name in ((small, f"{size // 100:,} bytes"), (text, f"{size:,} bytes, prepared")):
        prepare("char_lm", of(path))
        command = [*training, "char_lm", *of(path), *QUIET, "train.steps=2", f"run.name={path.stem}"]
        yield f"first step on {name}", command, "train step 1 "
    many = [*of(wide), *QUIET, "train.steps=20", "data.validation_fraction=0.5", "run.name=labels"]
    yield f"evaluate {labels:,} labels, {4 * labels:,} rows", [*training, "classifier", *many], None
    origins = [*of(short), *QUIET, "data.source=csv", "train.steps=20", "run.name=rows"]
    subprocess.run([*training, "names", *origins], check=True, stdout=subprocess.DEVNULL)
    predicting = [sys.executable, "-m", "seq.predict", str(folder / "rows"), "--file", str(short), "--csv"]
    yield f"predict {few:,} rows", predicting, None


def _part(text: Path) -> Path:
    """The first tenth of a text."""
    part = text.with_name("part.txt")
    with text.open("rb") as file:
        part.write_bytes(file.read(text.stat().st_size // 10))
    return part


if __name__ == "__main__":
    main(sys.argv[1:])
