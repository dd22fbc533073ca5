"""`run.recipe=auto`: settings that follow from the size of the data. docs/recipes.md says where the rules come from."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from launch.seeding import imitates_bf16
from seq.config import ClassifierConfig, Config
from seq.config.identity import flatten
from seq.config.read import load_config, override_config
from seq.data.corpus import Corpus

MOST_TOKENS = 16_000_000
"""Tokens that a classifier reads in all, but at least two passes: some minutes on two cores."""


def with_recipe(config: Config, corpus: Corpus) -> Config:
    """`config` with the settings of the recipe where it has none of its own; as it is unless `run.recipe=auto`."""
    if config.run.recipe != "auto":
        return config
    chosen = [f"{key}={json.dumps(value)}" for key, value in recipe(config, corpus).items()]
    return override_config(config, chosen, where="run.recipe=auto")


def with_earlier_recipe(config: Config, file: Path, *, fresh: bool = False) -> Config:
    """`config` with the recipe's settings as the run's first start wrote them into its config `file`, if there is one and the run
    is not to start over (`fresh`). So the directory of a run, also of a finished one, can be looked at before its data."""
    if config.run.recipe != "auto" or fresh or not file.is_file():
        return config
    keys = _for_rows(1, 1) if isinstance(config.model, ClassifierConfig) else _for_text(1, 1)
    earlier = flatten(load_config(file))
    chosen = [f"{key}={json.dumps(earlier.get(key))}" for key in keys if not is_given(config, key)]
    return override_config(config, chosen, where="run.recipe=auto")


def recipe(config: Config, corpus: Corpus) -> dict[str, Any]:
    """The settings by their dotted keys, without those that the config gives."""
    split = corpus.splits["train"]
    if isinstance(config.model, ClassifierConfig):
        rules = _for_rows(len(split), int(split.lengths.sum()))
    else:
        rules = _for_text(split.num_characters, _tokens_of_a_step(config))
    if config.train.init_from:  # the shape is that of the other run
        rules.pop("model.ngram_buckets", None)
    if is_given(config, "train.epochs"):
        del rules["train.steps"]
    return {key: value for key, value in rules.items() if not is_given(config, key)}


def is_given(config: Config, key: str) -> bool:
    """Whether a config file or a command line has set the key."""
    section, _, name = key.partition(".")
    return section in config.model_fields_set and name in getattr(config, section).model_fields_set


def _tokens_of_a_step(config: Config) -> int:
    """At most; a stream's steps are full but for the last."""
    batch = config.batch
    return batch.shards * (batch.rows * batch.window if batch.order == "stream" else batch.tokens)


def _for_rows(rows: int, tokens: int) -> dict[str, Any]:
    """Small data are read more often, in smaller steps, with more dropout. Long texts are read less often, for the time they take,
    and in turn each n-gram learns faster."""
    size = rows / 10_000
    per_step = int(np.clip(64 * size**0.5, 32, 512)) // 4 * 4
    epochs = min(float(np.clip(24 / size**0.5, 2, 60)), max(2.0, MOST_TOKENS / tokens))
    steps = max(300, round(epochs * rows / per_step))
    dropout = float(np.clip(0.4 / size**0.25, 0.1, 0.5))
    return {
        "batch.rows": per_step // 4,
        "model.ngram_buckets": int(np.clip(1 << int(tokens / 8).bit_length(), 1 << 15, 1 << 18)),
        "optimizer.table_lr": round(float(np.clip(tokens / rows / 10, 1, 4)), 1),
        "train.steps": steps,
        "evaluation.every_steps": max(1, steps // 12),
        "model.output_dropout": round(dropout, 2),
        "model.embedding_dropout": round(0.4 * dropout, 2),
        "model.token_dropout": round(0.4 * dropout, 2),
    }


def _for_text(characters: int, per_step: int) -> dict[str, Any]:
    """A small text is read more often than a large one, with more dropout. In bf16, where the machine of the first start has it."""
    passes = float(np.clip(6 * (1_000_000 / characters) ** 0.7, 1, 20))
    return {
        "train.precision": "fp32" if imitates_bf16() else "bf16",
        "train.steps": max(300, round(passes * characters / per_step)),
        "model.output_dropout": round(min(0.02 * passes, 0.4), 3),
        "model.embedding_dropout": round(min(0.01 * passes, 0.2), 3),
        "model.ngram_dropout": round(min(0.1 + 0.02 * passes, 0.5), 3),
    }
