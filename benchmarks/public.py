"""Known data sets, of which you have a copy: train on one, and print our figures beside published ones.

python -m benchmarks.public                     the sets, where a copy comes from, and the published figures
python -m benchmarks.public SET COPY [--cut BYTES] [section.key=value ...]

The files to train on are written to public/SET, and the run is runs/SET. Words such as train.steps=20000 go to train_ddp.py. Published figures
and their sources are in benchmarks/published.yaml.
"""

import argparse
import csv
import json
import math
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from rich.console import Console
from rich.table import Table

from benchmarks.timing import Report
from seq.config.read import SHIPPED
from seq.data.local_files import SPLITS, splits_named_in
from seq.data.pronunciation import split_of
from seq.errors import UserError
from seq.files import read_text

TRAINER = Path(__file__).parents[1] / "train_ddp.py"
PUBLISHED: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("published.yaml").read_text("utf-8"))
MARKS = ("COMMA", "PERIOD", "QUESTION")
Result = dict[str, Any]
"""A run's result.json."""

SPEAKER = (str(SHIPPED / "pronunciation.yaml"), "data.source=csv", "evaluation.beam=5")
TAGGER = (
    *("model.kind=tagger", "data.source=text", "data.tokenizer=tokens", "data.max_length=100"),
    *("data.vocab_size=50000", "data.min_count=2"),
    *("model.embedding_dim=128", "model.hidden_size=192", "model.ngrams=2", "model.ngram_dropout=0.5"),
    *("model.embedding_dropout=0.3", "model.token_dropout=0.05", "model.output_dropout=0.5"),
    *("batch.shards=4", "batch.rows=16", "batch.tokens=2048", "train.epochs=6", "train.average_last=0.3"),
    *("optimizer.lr=3e-3", "optimizer.ngram_lr_scale=0.3", "optimizer.weight_decay=0.05"),
    *("optimizer.warmup_steps=200", "optimizer.schedule=linear"),
    *("evaluation.every_steps=1000", "checkpoint.monitor=accuracy"),
)


class PublicSet(NamedTuple):
    prepare: Callable[[Path, Path], None]
    """Writes files from a copy into a folder, each named after its split."""
    words: tuple[str, ...]
    """Arguments of train_ddp.py."""
    measure: Callable[[Result], Iterable[float]]
    """The figures of a run, in the order of `published.yaml`."""


# ---- from a copy to the files of a run ----------------------------------------------------------------------------------


def divide_text(copy: Path, folder: Path, shares: dict[str, float]) -> None:
    """Consecutive parts of a text, by their shares."""
    text, start = copy.read_bytes(), 0
    for split, share in shares.items():
        stop = start + round(share * len(text))
        (folder / f"{split}.txt").write_bytes(text[start:stop])
        start = stop


def copy_conllu(copy: Path, folder: Path) -> None:
    for split, file in files_of(copy, "*.conllu").items():
        (folder / f"{split}.conllu").write_bytes(file.read_bytes())


def write_marks(copy: Path, folder: Path) -> None:
    """Words, each with the mark that follows it."""
    for split, file in files_of(copy).items():
        write_tagged(folder / f"{split}.conll", [marked_words(read_text(file))])


def marked_words(text: str) -> Iterator[tuple[str, str]]:
    """Words in lower case with COMMA, PERIOD, QUESTION or O, of lines `word TAG`, or of running text in which `,COMMA` follows a word."""
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if all(len(line) == 2 for line in lines):
        yield from ((word.lower(), mark_of(tag)) for word, tag in lines)
        return
    tokens = [token for line in lines for token in line] + [""]
    for token, following in pairwise(tokens):
        if not is_mark(token):
            yield token.lower(), mark_of(following[1:] if is_mark(following) else "")


def is_mark(token: str) -> bool:
    return re.fullmatch(r"[^\w\s][A-Z]+", token) is not None


def mark_of(tag: str) -> str:
    return next((mark for mark in MARKS if tag.startswith(mark)), "O")


def write_brown(copy: Path, folder: Path) -> None:
    """Write sentences of `word/tag`, one a line, without what the corpus adds to tags for titles, headlines, cited and foreign words.
    `nil` stands for a tag without a word to train on."""
    sentences: dict[str, list[list[tuple[str, str]]]] = {split: [] for split in SPLITS}
    for file in sorted(path for path in copy.iterdir() if re.fullmatch(r"c[a-r]\d\d", path.name)):
        lines = [line.split() for line in read_text(file).splitlines() if line.strip()]
        for number, line in enumerate(lines):
            pairs = [token.rpartition("/")[::2] for token in line]
            split = {9: "test", 8: "validation"}.get(number % 10, "train")
            sentences[split].append([(word, re.sub(r"^fw-|(-(tl|hl|nc))+$", "", tag)) for word, tag in pairs])
    known = {tag for sentence in sentences["train"] for _, tag in sentence}
    for split, own in sentences.items():
        tagged = ([(word, tag if tag in known else "nil") for word, tag in sentence] for sentence in own)
        write_tagged(folder / f"{split}.conll", tagged)


def write_tagged(path: Path, sentences: Iterable[Iterable[tuple[str, str]]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for sentence in sentences:
            file.writelines(f"{word}\t{tag}\n" for word, tag in sentence)
            file.write("\n")


def write_words(copy: Path, folder: Path) -> None:
    """Words with their sounds. Of a single file, a hash of the word decides the split."""
    if copy.is_file():
        rows = list(spoken_words(copy))
        parts = {split: [row for row in rows if split_of(row[0]) == split] for split in SPLITS}
    else:
        parts = {split: list(spoken_words(file)) for split, file in files_of(copy).items()}
    for split, own in parts.items():
        with (folder / f"{split}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *own])


def spoken_words(file: Path) -> Iterator[tuple[str, str]]:
    """Lines such as `WORD(2)  W ER1 D`. Comments, and words with other signs than letters, apostrophes, hyphens and periods, are
    left out."""
    for line in read_text(file).splitlines():
        found = re.fullmatch(r"([A-Za-z][A-Za-z'.-]*)(?:\(\d+\))?\s+([A-Z0-2 ]+?)(?:\s+#.*)?\s*", line)
        if found:
            yield found[1].lower(), " ".join(found[2].split())


def files_of(copy: Path, pattern: str = "*") -> dict[str, Path]:
    """The file of each split in a folder. UserError if there is none to train on or to test."""
    if not copy.is_dir():
        raise UserError(f"{copy}: must be a folder")
    found = {split: path for path in sorted(copy.glob(pattern)) for split in splits_named_in(Path(path.name))}
    if missing := [split for split in ("train", "test") if split not in found]:
        raise UserError(f"{copy}: has no file whose name has {missing[0]!r} in it")
    return found


# ---- from a run to its figures -------------------------------------------------------------------------------------------


def nats(result: Result) -> list[float]:
    return [result["eval"]["loss"]]


def bits(result: Result) -> list[float]:
    return [result["eval"]["loss"] / math.log(2)]


def accuracy(result: Result) -> list[float]:
    return [100 * result["eval"]["accuracy"]]


def errors(result: Result) -> list[float]:
    return [100 * result["eval"][name] for name in ("plain_sequence_error", "plain_token_error")]


def f1_of_marks(result: Result) -> list[float]:
    """The F1 of each mark, and of all marks together."""
    confusion, labels = np.array(result["confusion"]), result["labels"]
    counts = np.zeros((len(MARKS), 2))
    for row, place in enumerate(labels.index(mark) if mark in labels else None for mark in MARKS):
        if place is not None:
            counts[row] = confusion[place, place], confusion[:, place].sum() + confusion[place].sum()
    return [200 * right / max(1, total) for right, total in [*counts, counts.sum(0)]]


SHARES = {"train": 0.9, "validation": 0.05, "test": 0.05}
TEXT = (str(SHIPPED / "char_lm.yaml"), "data.min_count=1", "evaluation.every_steps=1000")
SETS = {
    "tiny_shakespeare": PublicSet(partial(divide_text, shares={"train": 0.9, "test": 0.1}), TEXT, nats),
    "text8": PublicSet(partial(divide_text, shares=SHARES), TEXT, bits),
    # In latin-1 each byte is a character, and the border of two parts divides none.
    "enwik8": PublicSet(partial(divide_text, shares=SHARES), (*TEXT, "data.encoding=latin-1"), bits),
    "cmudict": PublicSet(write_words, SPEAKER, errors),
    "iwslt2011": PublicSet(write_marks, TAGGER, f1_of_marks),
    "ewt": PublicSet(copy_conllu, TAGGER, accuracy),
    "brown": PublicSet(write_brown, TAGGER, accuracy),
}


# ---- the program ---------------------------------------------------------------------------------------------------------


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", nargs="?", choices=SETS)
    parser.add_argument("copy", nargs="?", type=Path)
    parser.add_argument("words", nargs="*", metavar="section.key=value")
    parser.add_argument("--cut", type=int, metavar="BYTES", help="train on the beginning of the training text")
    options = parser.parse_intermixed_args(arguments)
    if options.set is None:
        return show_sets()
    if options.copy is None or not options.copy.exists():
        raise UserError(f"COPY: must be {PUBLISHED[options.set]['copy']}")
    files = prepare(options.set, options.copy, options.cut)
    result = train(options.set, [f"data.files.{split}={path}" for split, path in files.items()] + options.words)
    compare(options.set, result)


def show_sets() -> None:
    for name, about in PUBLISHED.items():
        table = Table(
            "system", "size", *about["figures"], "source", title=f"{name}: {about['title']}", title_justify="left"
        )
        for system, size, figures, source in about["published"]:
            table.add_row(system, str(size), *map(shown, figures), source)
        Console().print(table, f"COPY: {about['copy']}", about["note"], "", sep="\n")


def prepare(name: str, copy: Path, cut: int | None = None) -> dict[str, Path]:
    """The files by their splits."""
    folder = Path("public") / name
    folder.mkdir(parents=True, exist_ok=True)
    SETS[name].prepare(copy, folder)
    files = {split: path for split in SPLITS for path in folder.glob(f"{split}.*")}
    if cut is not None:
        with files["train"].open("r+b") as file:
            file.truncate(cut)
    return files


def train(name: str, words: list[str]) -> Result:
    """The result of a run, which goes on if it was interrupted."""
    command = [sys.executable, str(TRAINER), *SETS[name].words, f"run.name={name}", *words]
    if code := subprocess.run(command, check=False).returncode:
        raise UserError(f"the run ended with exit code {code}")
    found: Result = json.loads((Path("runs") / name / "result.json").read_text())
    return found


def compare(name: str, result: Result) -> None:
    about = PUBLISHED[name]
    report = Report(f"public-{name}", about["title"], ["system", "size", *about["figures"], "source"])
    minutes, where = result["wall_seconds"] / 60, result["environment"]
    size = f"{result['num_parameters'] / 1e6:.1f} million"
    machine = f"{result['world_size']} process(es), {where['device']}, {where['cpu']}"
    report.add("lockstep, this run", size, *SETS[name].measure(result), f"{minutes:.0f} min, {machine}")
    for system, size, figures, source in about["published"]:
        report.add(system, str(size), *figures, source)
    report.show()
    print(about["note"])


def shown(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"error: {error}")
