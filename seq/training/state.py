"""What a run is made of while it trains, and what a checkpoint therefore holds."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from launch.seeding import derive_seed
from seq.config import Config
from seq.config_file import parse_config
from seq.data.corpus import Corpus
from seq.errors import UserError
from seq.identity import identity
from seq.models.build import Model, build_model
from seq.training.carried import CarriedState
from seq.training.checkpoint import DamagedError, complaining_about, load_checkpoint
from seq.training.initial import copy_initial_weights
from seq.training.optimizer import make_optimizer
from seq.training.precision import grad_scaler
from seq.training.progress import Progress
from seq.training.trained import TrainedModel


@dataclass
class TrainState:
    """Everything that the next step reads, apart from the data."""

    model: Model
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    progress: Progress
    carried: CarriedState

    @classmethod
    def create(
        cls, config: Config, corpus: Corpus, device: torch.device, initial: TrainedModel | None = None
    ) -> "TrainState":
        """At the beginning: random weights, or those of `initial`."""
        model = build_model(config, vocab_size=corpus.tokenizer.vocab_size, num_labels=len(corpus.labels)).to(device)
        if initial is not None:
            copy_initial_weights(model, initial, corpus.labels)
        optimizer = make_optimizer(model, config.optimizer)
        scaler = grad_scaler(config.train.precision, device)
        return cls(model, optimizer, scaler, Progress(), CarriedState(config, device))

    def state_dict(self) -> dict[str, Any]:
        """Called by every rank: each has the carried states of its own shards only."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "progress": asdict(self.progress),
            "carried": self.carried.gather(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.progress = Progress(**state["progress"])
        self.carried.load(state["carried"])


def describe_run(config: Config, corpus: Corpus) -> dict[str, Any]:
    """The part of a checkpoint that says what its weights mean."""
    return {
        "config": config.model_dump(mode="json"),
        "tokenizer": corpus.tokenizer.to_dict(),
        "labels": list(corpus.labels),
        "data": corpus.fingerprint,
    }


def fingerprint(description: dict[str, Any], step: int) -> int:
    """63 bits of all that decides how a run goes on: the ranks must agree on it."""
    config = identity(parse_config(description["config"], where="config"))
    return derive_seed(json.dumps(config, sort_keys=True), description["data"], step)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as read back."""

    path: Path
    state: dict[str, Any]


def load_for_resume(paths: list[Path], config: Config, corpus: Corpus) -> Checkpoint | None:
    """The first of `paths` that is not damaged; None where there are none. UserError if all are damaged, if it is of
    another run, or if the data are others than those it was trained on."""
    for number, path in enumerate(paths, 1):
        try:
            return Checkpoint(path, _load_of_this_run(path, config, corpus))
        except DamagedError:
            if number == len(paths):
                raise
    return None


def _load_of_this_run(path: Path, config: Config, corpus: Corpus) -> dict[str, Any]:
    state = load_checkpoint(path)
    with complaining_about(path):
        saved, data = identity(parse_config(state["config"], where=str(path))), state["data"]
        Progress(**state["progress"])
    if saved != identity(config):
        raise UserError(f"{path}: is a checkpoint of a run with another config; move it away")
    if data != corpus.fingerprint:
        raise UserError(
            f"{path}: was trained on other data than data.source holds now; restore the data, choose another run.name, "
            "or start over with --fresh"
        )
    return state
