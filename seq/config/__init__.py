"""The config: immutable typed sections. Every key has a default, a meaning and a range; no key mentions the hardware.

The text under a field is its documentation: `train_ddp.py --help` prints it.
"""

from seq.config.data import DataConfig, FilesConfig
from seq.config.model import (
    MAX_NGRAM,
    ClassifierConfig,
    GRUConfig,
    LanguageModelConfig,
    Seq2SeqConfig,
    TaggerConfig,
)
from seq.config.run import CheckpointConfig, Config, EvaluationConfig, GenerationConfig, LoggingConfig, RunConfig
from seq.config.section import Section
from seq.config.training import BatchConfig, OptimizerConfig, SyncConfig, TrainConfig

__all__ = [
    "MAX_NGRAM",
    "BatchConfig",
    "CheckpointConfig",
    "ClassifierConfig",
    "Config",
    "DataConfig",
    "EvaluationConfig",
    "FilesConfig",
    "GRUConfig",
    "GenerationConfig",
    "LanguageModelConfig",
    "LoggingConfig",
    "OptimizerConfig",
    "RunConfig",
    "Section",
    "Seq2SeqConfig",
    "SyncConfig",
    "TaggerConfig",
    "TrainConfig",
]
