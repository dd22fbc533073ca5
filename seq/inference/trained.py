"""A trained model read back: from a run's newest checkpoint, or from the files that the run exported."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import load_file

from seq.config import Config
from seq.config.model import KIND_NAMES
from seq.config.read import parse_config
from seq.data.outputs import Outputs
from seq.data.ragged import RaggedArray
from seq.data.tokenizer import UNKNOWN, Tokenizer
from seq.errors import UserError, warn
from seq.files import read_text
from seq.models import Model, build_model
from seq.models.classifier import MEANS, Classifier, Ensemble
from seq.run.checkpoint import DamagedError, checkpoints_in, errors_as_damage, load_checkpoint, params_sha256
from seq.run.directory import RunDirectory, runs_beside


@dataclass(frozen=True)
class TrainedModel:
    """In eval mode, with its vocabulary."""

    model: Model
    config: Config
    tokenizer: Tokenizer
    outputs: Outputs
    step: int

    @property
    def labels(self) -> tuple[str, ...]:
        return self.outputs.labels

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def encode(self, texts: Sequence[str]) -> RaggedArray:
        """The ids of each text, without markers. A warning says if texts have characters that the training data lack."""
        encoded = self.tokenizer.encode(texts)
        unknown = encoded.values == UNKNOWN
        if unknown.any():
            parts = np.split(unknown, encoded.offsets[1:-1])
            shares = [float(part.mean()) if len(part) else 0.0 for part in parts]
            worst = max(range(len(texts)), key=shares.__getitem__)
            warn(
                f"{np.count_nonzero(shares)} of {len(texts)} text(s) have characters that the model does not know: "
                f"{shares[worst]:.0%} of {texts[worst][:60]!r}"
            )
        return encoded

    def label_id(self, label: str | None) -> int | None:
        """For a model that writes by label; None for others. UserError if the label is unknown, missing, or given to a
        model without labels."""
        if self.config.task != "conditional_language_modeling":
            if label is not None:
                raise UserError(f"label {label!r}: the model was not trained by label (model.condition=label)")
            return None
        if label not in self.labels:
            given = "a label is missing" if label is None else f"label {label!r} is not a label of the training data"
            raise UserError(f"{given}; there are {', '.join(self.labels)}")
        return self.labels.index(label)


def load_run(run: Path, checkpoint: str | None = None, device: torch.device | None = None) -> TrainedModel:
    """Load the best checkpoint of a run, else the newest. `checkpoint` may be a step, a file name or a path. `run` may also be a checkpoint
    file or an exported `model/` folder. The model is on `device`, or else on the GPU if there is one. UserError if there is no model."""
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if run.suffix == ".pt" and run.is_file():
        return load_trained(run, device)
    if checkpoint is not None and Path(checkpoint).name != checkpoint:
        return load_trained(Path(checkpoint), device)
    if checkpoint is not None and checkpoint.isdigit():
        checkpoint = RunDirectory(run).checkpoint_at(int(checkpoint)).name
    elif checkpoint is not None:
        checkpoint = checkpoint if Path(checkpoint).suffix else f"{checkpoint}.pt"
    folder = RunDirectory(run).checkpoints
    best = RunDirectory(run).best
    names = [path.name for path in [*checkpoints_in(folder), *([best] if best.exists() else [])]]
    exported = [path for path in (run, run / "model") if (path / "model.safetensors").is_file()]
    if checkpoint is None and exported and (not names or exported[0] == run):
        return load_exported(exported[0], device)
    if not names:
        raise UserError(f"{run}: no run with a checkpoint{runs_beside(run)}")
    if checkpoint is not None and checkpoint not in names:
        raise UserError(f"{run}: no checkpoint {checkpoint}; it has {', '.join(names)}")
    return load_trained(folder / (checkpoint or names[-1]), device)


def load_ensemble(
    runs: Sequence[Path], checkpoint: str | None = None, device: torch.device | None = None
) -> TrainedModel:
    """The models of several classifiers' runs as one, each as `load_run` finds it; of a single run, its model. UserError if they
    do not belong together."""
    members = [load_run(run, checkpoint, device) for run in runs]
    first, classifiers = members[0], [member.model for member in members if isinstance(member.model, Classifier)]
    if len(members) == 1:
        return first
    for run, member in zip(runs, members, strict=True):
        if not isinstance(member.model, Classifier):
            raise UserError(f"{run}: is {KIND_NAMES[member.config.model.kind]}; only classifiers can be averaged")
        if _reads(member) != _reads(first):
            raise UserError(
                f"{run}: has other labels, numbers, characters, data.max_length or columns of data.text than {runs[0]}; their "
                "predictions cannot be averaged"
            )
    # It is called as a classifier is; what looks into a classifier, such as an export, reads single runs.
    return replace(first, model=cast(Classifier, Ensemble(classifiers, MEANS[first.config.task]).eval()))


def _reads(trained: TrainedModel) -> tuple[object, ...]:
    """Describe how a model reads texts. Members of an ensemble must agree in it, since a text is read once for all of them."""
    data = trained.config.data
    columns = data.text_columns if len(data.text_columns) > 1 else ()  # the name of a single column does not matter
    return trained.outputs, trained.tokenizer, trained.config.task, data.max_length, columns


def load_trained(path: Path, device: torch.device) -> TrainedModel:
    """The model of the checkpoint `path`."""
    state = load_checkpoint(path)
    with errors_as_damage(path):
        weights = state["selection"]["average"] or state["model"]
        return _build(path, state, state["tokenizer"], weights, int(state["progress"]["step"]), device)


def load_exported(folder: Path, device: torch.device) -> TrainedModel:
    """The model of a folder that `export_model` wrote."""
    try:
        about, tokenizer = (json.loads(read_text(folder / name)) for name in ("config.json", "tokenizer.json"))
        weights = load_file(folder / "model.safetensors")
    except Exception as error:  # safetensors and json raise their own errors
        raise DamagedError(f"{folder}: damaged or no exported model ({' '.join(str(error).split())[:120]})") from None
    with errors_as_damage(folder):
        if about["config"]["model"].get("tie_weights"):  # safetensors keeps a shared weight once
            (shared,) = (weights[name] for name in ("embedding.weight", "output.weight") if name in weights)
            weights |= {"embedding.weight": shared, "output.weight": shared}
        trained = _build(folder, about, tokenizer, weights, int(about["step"]), device)
        if params_sha256(trained.model) != about["params_sha256"]:
            raise DamagedError(f"{folder}: model.safetensors is damaged (its weights are not those that were written)")
        return trained


def _build(
    path: Path, about: dict[str, Any], tokenizer: Any, weights: dict[str, Any], step: int, device: torch.device
) -> TrainedModel:
    config, known = parse_config(about["config"], where=str(path)), Tokenizer(**tokenizer)
    outputs = Outputs.from_dict(about["outputs"])
    with torch.device("meta"):  # sizes without memory: a stranger's config may claim any
        claimed = build_model(config, vocab_size=known.vocab_size, num_outputs=outputs.size)
    claimed.load_state_dict(weights, assign=True)  # compares the sizes; without `assign`, torch warns of each weight
    model = build_model(config, vocab_size=known.vocab_size, num_outputs=outputs.size)
    model.load_state_dict(weights)
    return TrainedModel(model.to(device).eval(), config, known, outputs, step)
