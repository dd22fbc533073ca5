"""A trained model in the formats of other programs: the folder `model/`, ONNX, safetensors."""

import io
import json
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn

import seq
from seq.config import Config
from seq.data.examples import SEPARATOR
from seq.data.outputs import Vocabulary
from seq.data.tokenizer import BOS, EOS, PAD, RESERVED, UNKNOWN
from seq.errors import UserError, warn
from seq.files import refuse_links, write_atomically, write_bytes
from seq.inference.model_card import model_card
from seq.models import Classifier, LanguageModel, Model, Seq2Seq, Tagger
from seq.models.gru import GRU
from seq.models.seq2seq import Memory
from seq.run.model_files import FORMAT, save_weights, write_model
from seq.run.result import chosen_step
from seq.run.run import Run
from seq.tasks import Task, TrainedModel

SUFFIXES = ("onnx", "safetensors")
"""The formats, which are also the suffixes of the files."""
OPSET = 20
"""ONNX operators of 2023: what onnxruntime reads since 1.17."""


def export_at_end(run: Run, model: Model, result: dict[str, Any]) -> None:
    """`export_model` of a run that is finished and has its result. A warning if that fails: nothing is lost."""
    try:
        export_model(run.directory.path, model, run.config, run.task, run.corpus, result)
    except Exception as error:
        path, reason = run.directory.path, " ".join(str(error).split())[:200]
        warn(f"{path / 'model'}: not written ({reason}); to write it: python -m seq.export {path} --format model")


def export_model(
    run: Path, model: Model, config: Config, task: Task, vocabulary: Vocabulary, result: dict[str, Any]
) -> Path:
    """Write `model.safetensors`, `config.json`, `tokenizer.json` and a model card, `README.md`, into `model/` of the directory
    `run`. `result`: see `seq.run.result.make_result`. OSError if that fails."""
    folder = run / "model"
    refuse_links(run)
    folder.mkdir(exist_ok=True)
    write_atomically(folder / "README.md", model_card(model, config, task, vocabulary, result))
    write_model(folder, model, config, vocabulary, chosen_step(result))
    return folder


@dataclass(frozen=True)
class Part:
    """A part of a model that is exported by itself, with tensors in and out."""

    module: nn.Module
    inputs: dict[str, Tensor]
    """An example of its inputs, by name: rows of uneven length, so that the path for such rows is traced."""
    outputs: dict[str, tuple[int, ...]]
    """Its outputs by name, with the axes of rows and time steps; see `AXES`."""
    suffix: str = ""
    """The suffix of the file's name; empty for a model that is one part."""


AXES = {
    "inputs": ("batch", "time"),
    "lengths": ("batch",),
    "hidden": ("", "batch"),
    "preceding": ("batch",),
    "tokens": ("batch",),
    "states": ("batch", "time"),
    "keys": ("batch", "time"),
    "last": ("", "batch"),
}
"""The axes of tensors that may have any size."""


class WholeModel(nn.Module):
    """A classifier's or a tagger's logits, or a language model's with the state to continue from."""

    def __init__(self, model: Classifier | Tagger | LanguageModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, inputs: Tensor, lengths: Tensor, hidden: Tensor | None = None, preceding: Tensor | None = None
    ) -> Tensor | tuple[Tensor, Tensor]:
        if isinstance(self.model, LanguageModel):
            logits, last = self.model(inputs, lengths, hidden, preceding=preceding)
            return logits, last
        return self.model(inputs, lengths)[0]  # type: ignore[no-any-return]


class Encoder(nn.Module):
    def __init__(self, model: Seq2Seq) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        memory, hidden = self.model.encode(inputs, lengths)
        return memory.states, memory.keys, hidden


class DecoderStep(nn.Module):
    """One decoder step, from the last `tokens` (B, 1) and the encoder's outputs."""

    def __init__(self, model: Seq2Seq) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, tokens: Tensor, lengths: Tensor, states: Tensor, keys: Tensor, hidden: Tensor
    ) -> tuple[Tensor, Tensor]:
        outside = torch.arange(states.shape[1]) >= lengths[:, None]
        memory = Memory(states, keys, outside[:, None])
        logits, last = self.model.decode(tokens, torch.ones_like(lengths), memory, hidden)
        return logits[:, 0], last


def parts_of(model: Model) -> list[Part]:
    """The parts in which a model is exported. Its GRUs take the dense path, which consists of plain operators."""
    for module in model.modules():
        if isinstance(module, GRU):
            module.path = "dense"
    read = {"inputs": torch.tensor([[1, 4, 4, 2], [1, 2, 0, 0]]), "lengths": torch.tensor([4, 2])}
    if isinstance(model, Seq2Seq):
        memory, hidden = model.encode(**read)
        own = {"lengths": read["lengths"], "states": memory.states, "keys": memory.keys, "hidden": hidden}
        step = {"tokens": torch.tensor([[1], [1]])} | {name: tensor.detach() for name, tensor in own.items()}
        return [
            Part(Encoder(model), read, dict.fromkeys(("states", "keys", "hidden"), ()), "encoder"),
            Part(DecoderStep(model), step, {"logits": (0,), "last": ()}, "decoder"),
        ]
    if isinstance(model, LanguageModel):
        read["hidden"] = model.gru.initial(torch.zeros(1), 2)
        if model.reach:
            read["preceding"] = torch.zeros(2, model.reach, dtype=torch.int64)
        return [Part(WholeModel(model), read, {"logits": (0, 1), "last": ()})]
    return [Part(WholeModel(model), read, {"logits": (0, 1) if isinstance(model, Tagger) else (0,)})]


def export(trained: TrainedModel, kind: str, path: Path) -> list[Path]:
    """Write `trained` to `path` in the format `kind`, or each part of it to a file beside `path`; returns the files. UserError if a
    package that the format needs is missing; OSError if a file cannot be written."""
    model = trained.model.cpu()
    written = [path]
    if kind == "safetensors":
        save_weights(model, path)
    else:
        written = _export_onnx(model, trained, path)
    if isinstance(model, LanguageModel) and model.writes_by_label:
        written.append(_write_label_states(model, len(trained.labels), path))
    return written


def _export_onnx(model: Model, trained: TrainedModel, path: Path) -> list[Path]:
    # The old exporter: the new one (torch.export) makes the length of a GRU's input a constant.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parts = {_beside(path, part.suffix): part for part in parts_of(model)}
        for file, part in parts.items():
            part.module.eval()
            to_onnx = _own_to_onnx if trained.config.model.own_class else _to_onnx
            to_onnx(part, file, json.dumps(metadata(trained)))
    return list(parts)


def _own_to_onnx(part: Part, path: Path, about: str) -> None:
    """For a class that we do not know. UserError if the file cannot be made, or computes something else."""
    # Its import takes a while, and a run that exports nothing to ONNX imports this file too.
    from torch.onnx import OnnxExporterError

    try:
        _to_onnx(part, path, about)
        same, reason = _computes_the_same(part, path), "the file computes something else for texts of other lengths"
    except (RuntimeError, OnnxExporterError) as error:
        same, reason = False, " ".join(str(error).split())[:200]
    if not same:
        path.unlink(missing_ok=True)
        raise UserError(f"model.class: ONNX cannot express your own class ({reason}); use --format safetensors")


def _computes_the_same(part: Part, path: Path) -> bool:
    """Whether the file gives what the module gives, for more rows and more time steps than in the example that was traced."""
    from onnx.reference import ReferenceEvaluator

    inputs = {name: torch.cat([tensor, tensor], AXES[name].index("batch")) for name, tensor in part.inputs.items()}
    if "inputs" in inputs:
        inputs["inputs"] = torch.cat([inputs["inputs"], inputs["inputs"]], 1)
        inputs["lengths"] = inputs["lengths"] + part.inputs["inputs"].shape[1]
    with torch.no_grad():
        expected = part.module(**inputs)
    found = ReferenceEvaluator(str(path)).run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
    tensors = [expected] if isinstance(expected, Tensor) else expected
    return all(np.allclose(own, other.numpy(), atol=1e-4) for own, other in zip(found, tensors, strict=True))


def metadata(trained: TrainedModel) -> dict[str, Any]:
    """Describe how text becomes ids and what the outputs are, for programs that use an exported file."""
    return {
        "format": FORMAT,
        "lockstep": seq.__version__,
        "name": trained.config.run.name,
        "task": trained.task.name,
        "max_length": trained.config.data.max_length,
        "columns": trained.config.data.text_columns,
        "separator": SEPARATOR,
        "tokenizer": trained.tokenizer.to_dict(),
        "markers": {"padding": PAD, "begin": BOS, "end": EOS, "unknown": UNKNOWN, "first": RESERVED},
        "outputs": trained.outputs.to_dict(),
        "step": trained.step,
    }


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(f"{path.stem}.{suffix}{path.suffix}") if suffix else path


def _to_onnx(part: Part, path: Path, about: str) -> None:
    try:
        import onnx
    except ImportError:
        raise UserError("--format onnx needs a package: pip install onnx") from None
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    axes = {
        name: {n: axis for n, axis in enumerate(AXES.get(name, ())) if axis} for name in (*part.inputs, *part.outputs)
    }
    axes |= {name: {n: ("batch", "time")[n] for n in own} for name, own in part.outputs.items() if own}
    buffer = io.BytesIO()
    torch.onnx.export(
        part.module,
        tuple(part.inputs.values()),
        buffer,  # type: ignore[arg-type]  # the old exporter also takes a file
        input_names=list(part.inputs),
        output_names=list(part.outputs),
        dynamic_axes=axes,
        opset_version=OPSET,
        dynamo=False,
    )
    model = onnx.load_from_string(buffer.getvalue())
    onnx.helper.set_model_props(model, {"lockstep": about})
    write_bytes(path, model.SerializeToString())


def _write_label_states(model: LanguageModel, labels: int, path: Path) -> Path:
    """The states that texts begin with, by label, in a file beside `path`."""
    states = model.label_states(torch.arange(labels)).transpose(0, 1).contiguous()
    beside = path.with_suffix(".labels.safetensors")
    write_bytes(beside, save({"states": states.detach()}))
    return beside
