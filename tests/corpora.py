"""A small table of names on disk, a `data` section that reads it, and the texts of the corpus made of it."""

import json
from pathlib import Path

import pandas

from seq.config import Config, DataConfig
from seq.config.read import parse_config
from seq.data.corpus import Corpus

ROWS = [
    ("Adylov", "Russian"),
    ("Sloan", "Irish"),
    ("NA", "Irish"),
    ("null", "Russian"),
    ("007", "Irish"),
    ("Harb", "Russian"),
]


def data(**keys: object) -> DataConfig:
    kind = "tagger" if keys.get("tokenizer") == "tokens" else "language_model"
    config: Config = parse_config({"data": keys, "model": {"kind": kind}}, where="test")
    return config.data


def write_rows(folder: Path, kind: str, rows: list[tuple[str, str]] = ROWS, name: str = "train") -> Path:
    path = folder / f"{name}.{kind}"
    table = pandas.DataFrame(rows, columns=["name", "origin"])
    if kind == "csv":
        table.to_csv(path, index=False)
    elif kind == "json":
        path.write_text("\n".join(json.dumps({"name": name, "origin": origin}) for name, origin in rows))
    else:
        table.to_parquet(path)
    return path


def texts(corpus: Corpus, split: str) -> list[str]:
    array = corpus.splits[split].sequences
    bounds = zip(array.offsets[:-1], array.offsets[1:], strict=True)
    return [corpus.tokenizer.decode(array.values[start:stop].tolist()) for start, stop in bounds]
