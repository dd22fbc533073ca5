"""A run's identity: the part of the config that decides its bits."""

from typing import Any

from seq.config import Config

NOT_IDENTITY = (
    "run.name",
    "run.output_dir",
    "run.timeout_seconds",
    "run.pass_tokens",
    "run.profile",
    "data.cache_dir",
    "sync.check_every",
    "sync.witness_every",
    "sync.on_corruption",
    "train.max_bad_steps",
    "train.memory_check",
    "evaluation.",
    "generation.",
    "checkpoint.every_steps",
    "checkpoint.keep",
    "checkpoint.background",
    "checkpoint.copy_to",
    "checkpoint.required",
    "logging.",
)
"""Keys that may change when a run is resumed, because they leave the parameters the same to the last bit."""
CHOOSING = ("evaluation.",)
"""Keys of NOT_IDENTITY that count if `checkpoint.monitor` is set, since evaluations then decide which weights are kept."""


def identity(config: Config) -> dict[str, Any]:
    """The dotted keys that decide the run's bits, with their values."""
    others = tuple(key for key in NOT_IDENTITY if not (config.checkpoint.monitor and key in CHOOSING))
    return {key: value for key, value in flatten(config).items() if not key.startswith(others)}


def differing_keys(config: Config, other: Config) -> list[str]:
    """The keys of the identity whose values differ."""
    values = identity(other)
    return [key for key, value in identity(config).items() if value != values.get(key)]


def flatten(config: Config) -> dict[str, Any]:
    """All keys, dotted, with their values: `{"batch.rows": 8, ...}`."""
    return _flatten(config.model_dump(mode="json"), "")


def _flatten(tree: dict[str, Any], prefix: str) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        path = f"{prefix}{key}"
        flat |= _flatten(value, f"{path}.") if isinstance(value, dict) else {path: value}
    return flat
