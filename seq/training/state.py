"""What a run is made of while it trains, and what a checkpoint therefore holds."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from seq.config import Config
from seq.config_file import parse_config
from seq.data.corpus import Corpus
from seq.data.tokenizer import Tokenizer
from seq.errors import UserError
from seq.models.build import Model, build_model
from seq.training.checkpoint import load_checkpoint
from seq.training.optimizer import make_optimizer
from seq.training.precision import grad_scaler
from seq.training.progress import Progress


@dataclass
class TrainState:
    """Everything that the next step reads, apart from the data."""

    model: Model
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    progress: Progress

    @classmethod
    def create(cls, config: Config, corpus: Corpus, device: torch.device) -> "TrainState":
        model = build_model(config, vocab_size=corpus.tokenizer.vocab_size, num_labels=len(corpus.labels)).to(device)
        optimizer = make_optimizer(model, config.optimizer)
        return cls(model, optimizer, grad_scaler(config.train.precision, device), Progress())

    def state_dict(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "progress": asdict(self.progress),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.progress = Progress(**state["progress"])


def describe_run(config: Config, corpus: Corpus) -> dict[str, Any]:
    """The part of a checkpoint that says what its weights mean."""
    return {
        "config": config.model_dump(mode="json"),
        "tokenizer": corpus.tokenizer.to_dict(),
        "labels": list(corpus.labels),
        "data": corpus.fingerprint,
    }


def load_for_resume(path: Path | None, corpus: Corpus) -> dict[str, Any] | None:
    """A checkpoint that goes on with `corpus`. UserError if the data are others than those it was trained on."""
    if path is None:
        return None
    state = load_checkpoint(path)
    if state["data"] != corpus.fingerprint:
        raise UserError(
            f"{path}: was trained on other data than data.source holds now; restore the data, choose another run.name, "
            "or start over with --fresh"
        )
    return state


@dataclass(frozen=True)
class TrainedModel:
    """A model read back for use, in eval mode."""

    model: Model
    config: Config
    tokenizer: Tokenizer
    labels: tuple[str, ...]
    step: int

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device


def load_trained(path: Path, device: torch.device) -> TrainedModel:
    """The model of the checkpoint `path`."""
    state = load_checkpoint(path)
    config, tokenizer = parse_config(state["config"], where=str(path)), Tokenizer(**state["tokenizer"])
    model = build_model(config, vocab_size=tokenizer.vocab_size, num_labels=len(state["labels"]))
    model.load_state_dict(state["model"])
    return TrainedModel(model.to(device).eval(), config, tokenizer, tuple(state["labels"]), state["progress"]["step"])
