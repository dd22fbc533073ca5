"""`run.recipe=auto`: settings that follow from the size of the data. docs/recipes.md says where the rules come from."""

import json
from typing import Any

import numpy as np

from seq.config import Config
from seq.config.read import override_config
from seq.data.corpus import Corpus


def with_recipe(config: Config, corpus: Corpus) -> Config:
    """`config` with the settings of the recipe where it has none of its own; as it is unless `run.recipe=auto`."""
    if config.run.recipe != "auto":
        return config
    chosen = [f"{key}={json.dumps(value)}" for key, value in recipe(config, corpus).items()]
    return override_config(config, chosen, where="run.recipe=auto")


def recipe(config: Config, corpus: Corpus) -> dict[str, Any]:
    """The settings by their dotted keys, without those that the config gives."""
    split = corpus.splits["train"]
    rules = _for_classes(len(split)) if config.task == "classify" else _for_text(split.num_characters)
    if is_given(config, "train.epochs"):
        del rules["train.steps"]
    return {key: value for key, value in rules.items() if not is_given(config, key)}


def is_given(config: Config, key: str) -> bool:
    """Whether a config file or a command line has set the key."""
    section, _, name = key.partition(".")
    return section in config.model_fields_set and name in getattr(config, section).model_fields_set


def _for_classes(rows: int) -> dict[str, Any]:
    """Small data are read more often, in smaller steps, with fewer units; large data need no dropout."""
    per_step = int(np.clip(64 * (rows / 10_000) ** 0.5, 32, 512)) // 4 * 4
    epochs = float(np.clip(20 * (10_000 / rows) ** 0.5, 2, 40))
    steps = max(200, round(epochs * rows / per_step))
    dropout = float(np.clip(0.4 * (10_000 / rows) ** 0.25, 0.1, 0.5))
    return {
        "batch.rows": per_step // 4,
        "train.steps": steps,
        "evaluation.every_steps": max(1, steps // 10),
        "model.output_dropout": round(dropout, 2),
        "model.embedding_dropout": round(0.4 * dropout, 2),
        "model.token_dropout": round(0.3 * dropout, 2),
    }


def _for_text(characters: int) -> dict[str, Any]:
    """Steps for about 20 passes over a small text, fewer over a large one; dropout by the number of passes."""
    passes = float(np.clip(6 * (1_000_000 / characters) ** 0.5, 1, 12))
    return {"train.steps": max(500, round(passes * characters / 2048))}
