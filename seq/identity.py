"""A run's identity: the part of the config that decides its bits."""

from typing import Any

from seq.config import Config

NOT_IDENTITY = (
    *("run.name", "run.output_dir", "run.timeout_seconds", "data.cache_dir", "sync.check_every"),
    *("train.max_bad_steps", "train.warm_up_largest"),
    *("evaluation.", "generation.", "checkpoint.", "logging."),
)
"""Keys that may change between a run and its resumption: they leave the parameters as they are, to the last bit."""


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"batch": {"rows": 8}}` -> `{"batch.rows": 8}`."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        path = f"{prefix}{key}"
        flat |= flatten(value, f"{path}.") if isinstance(value, dict) else {path: value}
    return flat


def identity(config: Config) -> dict[str, Any]:
    """The keys, dotted, that decide the run's bits."""
    flat = flatten(config.model_dump(mode="json"))
    return {key: value for key, value in flat.items() if not key.startswith(NOT_IDENTITY)}
