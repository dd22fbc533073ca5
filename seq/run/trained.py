"""A trained model read back: from a run's newest checkpoint, or from the files that the run exported."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file

from launch.device import device_of
from seq.config.model import KIND_NAMES
from seq.config.read import parse_config
from seq.data.outputs import Outputs
from seq.data.tokenizer import Tokenizer
from seq.errors import UserError
from seq.files import read_text
from seq.models import Classifier, Model, Seq2Seq, build_model
from seq.models.ensemble import Ensemble, Seq2SeqEnsemble
from seq.run.checkpoint import DamagedError, errors_as_damage, load_checkpoint, params_sha256
from seq.run.checkpoints import checkpoints_in
from seq.run.directory import RunDirectory, runs_beside
from seq.tasks import Loaded, TrainedModel, task_of
from seq.tasks.sequence_task import SequenceTask


def load_run(run: Path, checkpoint: str | None = None, device: torch.device | None = None) -> TrainedModel:
    """Load the best checkpoint of a run, else the newest. `checkpoint` may be a step, a file name or a path. `run` may also be a checkpoint
    file or an exported `model/` folder. The model is on `device`, or else on the GPU if there is one. UserError if there is no model."""
    device = device or device_of()
    if run.suffix == ".pt" and run.is_file():
        return load_trained(run, device)
    if checkpoint is not None and Path(checkpoint).name != checkpoint:
        return load_trained(Path(checkpoint), device)
    checkpoints = RunDirectory(run).checkpoints
    if checkpoint is not None and checkpoint.isdigit():
        checkpoint = checkpoints.at(int(checkpoint)).name
    elif checkpoint is not None:
        checkpoint = checkpoint if Path(checkpoint).suffix else f"{checkpoint}.pt"
    best = [checkpoints.best] if checkpoints.best.exists() else []
    names = [path.name for path in [*checkpoints_in(checkpoints.folder), *best]]
    exported = [path for path in (run, run / "model") if (path / "model.safetensors").is_file()]
    if checkpoint is None and exported and (not names or exported[0] == run):
        return load_exported(exported[0], device)
    if not names:
        raise UserError(f"{run}: no run with a checkpoint{runs_beside(run)}")
    if checkpoint is not None and checkpoint not in names:
        raise UserError(f"{run}: no checkpoint {checkpoint}; it has {', '.join(names)}")
    return load_trained(checkpoints.folder / (checkpoint or names[-1]), device)


def load_ensemble(
    runs: Sequence[Path], checkpoint: str | None = None, device: torch.device | None = None
) -> TrainedModel:
    """Return one model that averages the predictions of several runs of classifiers or of encoder-decoders, each loaded by `load_run`;
    for a single run, its model. UserError if the models do not match."""
    members = [load_run(run, checkpoint, device) for run in runs]
    first = members[0]
    if len(members) == 1:
        return first
    for run, member in zip(runs, members, strict=True):
        if not isinstance(member.model, Classifier | Seq2Seq):
            kind = KIND_NAMES[member.config.model.kind]
            raise UserError(f"{run}: is {kind}; only classifiers and encoder-decoders can be averaged")
        if _reads(member) != _reads(first):
            raise UserError(
                f"{run}: has other labels, numbers, characters (or case), data.max_length or columns of data.text than {runs[0]}; their "
                "predictions cannot be averaged"
            )
        if isinstance(member.model, Seq2Seq) and _state(member) != _state(first):
            raise UserError(
                f"{run}: has another model.hidden_size or num_layers than {runs[0]}; one search needs the same"
            )
    models: list[Any] = [member.model for member in members]
    averaged = Ensemble(models, first.task.mean) if isinstance(first.task, SequenceTask) else Seq2SeqEnsemble(models)
    # It is called as its members are; what looks into a model, such as an export, reads single runs.
    return replace(first, model=cast(Model, averaged.eval()))


def _reads(trained: TrainedModel) -> tuple[object, ...]:
    """Describe how a model reads texts. Members of an ensemble must agree in it, since a text is read once for all of them."""
    data = trained.config.data
    columns = data.text_columns if len(data.text_columns) > 1 else ()  # the name of a single column does not matter
    return trained.outputs, trained.tokenizer, trained.task.name, data.max_length, columns


def _state(trained: TrainedModel) -> tuple[int, int]:
    """The sizes of a decoder's state."""
    return trained.config.model.num_layers, trained.config.model.hidden_size


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
    return TrainedModel(model.to(device).eval(), config, task_of(config), known, outputs, step)


def load_model(runs: Sequence[Path], device: str | torch.device | None = None) -> Loaded:
    """Load the best or newest checkpoint of each run directory, or an exported `model/` folder, on `device`, or on the GPU if there is
    one. UserError for a device that is not there."""
    try:
        where = None if device is None else torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device={device}: {str(error).splitlines()[0]}") from None
    trained = load_ensemble(runs, device=where)
    loaded: Loaded = trained.task.load(trained)
    return loaded
