"""`run.auto_hyperparameters=true`: settings that follow from the size of the data. docs/hyperparameters.md says where the rules come from."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from seq.config import ClassifierConfig, Config
from seq.config.identity import flatten
from seq.config.read import load_config, override_config
from seq.data.corpus import Corpus
from seq.data.loader import steps_per_epoch

MOST_TOKENS = 16_000_000
"""Maximum number of tokens that a classifier reads in all, but at least two passes: some minutes on two cores."""
FEWEST_STEPS = 300


def with_hyperparameters(config: Config, corpus: Corpus) -> Config:
    """`config` with settings that follow from the data where it has none of its own; as it is unless `run.auto_hyperparameters=true`."""
    if not config.run.auto_hyperparameters:
        return config
    chosen = [f"{key}={json.dumps(value)}" for key, value in chosen_for(config, corpus).items()]
    return override_config(config, chosen, where="run.auto_hyperparameters=true")


def with_earlier_hyperparameters(config: Config, file: Path, *, fresh: bool = False) -> Config:
    """`config` with those settings as the run's first start wrote them into its config `file`, if there is one and the run
    is not to start over (`fresh`). So a run's directory can be checked before its data are read, also if the run has finished."""
    if not config.run.auto_hyperparameters or fresh or not file.is_file():
        return config
    keys = KEYS_OF_ROWS if isinstance(config.model, ClassifierConfig) else KEYS_OF_TEXT
    earlier = flatten(load_config(file))
    chosen = [f"{key}={json.dumps(earlier.get(key))}" for key in keys if not is_given(config, key)]
    return override_config(config, chosen, where="run.auto_hyperparameters=true")


def chosen_for(config: Config, corpus: Corpus) -> dict[str, Any]:
    """The settings by their dotted keys, without those that the config gives. The steps follow from the plan of the batches."""
    split, of_rows = corpus.splits["train"], isinstance(config.model, ClassifierConfig)
    rules = _for_rows(len(split), int(split.lengths.sum()), config.batch.shards) if of_rows else {}
    rows = config.batch.rows if is_given(config, "batch.rows") else rules.get("batch.rows", config.batch.rows)
    per_epoch = steps_per_epoch(split, config.batch.model_copy(update={"rows": rows}))
    passes = passes_of_rows(len(split), int(split.lengths.sum())) if of_rows else passes_of_text(split.num_characters)
    steps = config.train.steps or config.train.epochs * per_epoch
    if not is_given(config, "train.steps") and not is_given(config, "train.epochs"):
        rules["train.steps"] = steps = max(FEWEST_STEPS, round(passes * per_epoch))
    rules |= {"evaluation.every_steps": max(1, steps // 12)} if of_rows else _dropout_of_text(steps / per_epoch)
    if config.train.init_from:  # the shape is that of the other run
        rules.pop("model.ngram_buckets", None)
    return {key: value for key, value in rules.items() if not is_given(config, key)}


def is_given(config: Config, key: str) -> bool:
    """Whether a config file or a command line has set the key."""
    section, _, name = key.partition(".")
    return section in config.model_fields_set and name in getattr(config, section).model_fields_set


def passes_of_rows(rows: int, tokens: int) -> float:
    """Small data are read more often. Long texts are read less often, for the time they take."""
    return min(float(np.clip(24 / (rows / 10_000) ** 0.5, 2, 60)), max(2.0, MOST_TOKENS / tokens))


def passes_of_text(characters: int) -> float:
    return float(np.clip(12 * (1_000_000 / characters) ** 0.7, 1, 15))


def _for_rows(rows: int, tokens: int, shards: int) -> dict[str, Any]:
    """Small data have smaller steps and more dropout. Each n-gram of a long text learns faster, since the text is read less often."""
    size = rows / 10_000
    dropout = float(np.clip(0.4 / size**0.25, 0.1, 0.5))
    return {
        "batch.rows": max(1, round(float(np.clip(64 * size**0.5, 32, 512)) / shards)),
        "model.ngram_buckets": int(np.clip(1 << int(tokens / 8).bit_length(), 1 << 15, 1 << 18)),
        "optimizer.ngram_lr_scale": round(float(np.clip(tokens / rows / 10, 1, 4)), 1),
        "model.output_dropout": round(dropout, 2),
        "model.embedding_dropout": round(0.4 * dropout, 2),
        "model.token_dropout": round(0.4 * dropout, 2),
    }


def _dropout_of_text(passes: float) -> dict[str, Any]:
    """Text that is read often needs more dropout, so that it is not learned by heart."""
    return {
        "model.output_dropout": round(min(0.02 * passes, 0.4), 3),
        "model.embedding_dropout": round(min(0.01 * passes, 0.2), 3),
        "model.ngram_dropout": round(min(0.1 + 0.02 * passes, 0.5), 3),
    }


KEYS_OF_ROWS = ("train.steps", "evaluation.every_steps", *_for_rows(1, 1, 1))
KEYS_OF_TEXT = ("train.steps", *_dropout_of_text(1.0))
