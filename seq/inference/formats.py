"""A trained model in the formats of other programs: ONNX, safetensors."""

import io
import json
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

import seq
from seq.data.tokenizer import BOS, EOS, PAD, RESERVED, UNKNOWN
from seq.errors import UserError
from seq.files import write_bytes
from seq.inference.model_files import FORMAT, save_weights
from seq.inference.trained import TrainedModel
from seq.models import Classifier, LanguageModel, Model, Seq2Seq, Tagger
from seq.models.gru import GRU
from seq.models.seq2seq import Memory

SUFFIXES = ("onnx", "safetensors")
"""The formats, which are also the ends of the files' names."""
OPSET = 20
"""ONNX operators of 2023: what onnxruntime reads since 1.17."""


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
    """One token further: the last `tokens` (B, 1), and the encoder's outputs."""

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
        read["hidden"] = torch.zeros(len(model.gru.layers), 2, model.gru.hidden_size)
        if model.reach:
            read["preceding"] = torch.zeros(2, model.reach, dtype=torch.int64)
        return [Part(WholeModel(model), read, {"logits": (0, 1), "last": ()})]
    return [Part(WholeModel(model), read, {"logits": (0, 1) if isinstance(model, Tagger) else (0,)})]


def export(trained: TrainedModel, kind: str, path: Path) -> list[Path]:
    """Write `trained` to `path` in the format `kind`, or each part of it to a file beside `path`; returns the files. UserError if a
    package that the format needs is missing; OSError if a file cannot be written."""
    model = trained.model.cpu()
    if kind == "safetensors":
        save_weights(model, path)
        return [path]
    # The old exporter: the new one (torch.export) makes the length of a GRU's input a constant.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parts = {_beside(path, part.suffix): part for part in parts_of(model)}
        for file, part in parts.items():
            part.module.eval()
            _to_onnx(part, file, json.dumps(metadata(trained)))
    return list(parts)


def metadata(trained: TrainedModel) -> dict[str, Any]:
    """Describe how text becomes ids and what the outputs are, for programs that use an exported file."""
    return {
        "format": FORMAT,
        "lockstep": seq.__version__,
        "name": trained.config.run.name,
        "task": trained.config.task,
        "max_length": trained.config.data.max_length,
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
        raise UserError('--format onnx needs the package: pip install ".[export]"') from None
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


def write_label_states(trained: TrainedModel, path: Path) -> Path:
    """The states that texts begin with, by label, in a file beside `path`. For a model that writes by label."""
    assert isinstance(trained.model, LanguageModel)
    states = trained.model.label_states(torch.arange(len(trained.labels))).transpose(0, 1).contiguous()
    beside = path.with_suffix(".labels.safetensors")
    write_bytes(beside, save({"states": states.detach()}))
    return beside
