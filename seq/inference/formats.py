"""A trained model in the formats of other programs: ONNX, TorchScript, safetensors."""

import io
import logging
import warnings
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from seq.errors import UserError
from seq.inference.model_files import save_weights
from seq.inference.trained import TrainedModel
from seq.models import Model, Tagger
from seq.models.language_model import LanguageModel

SUFFIXES = {"onnx": "onnx", "torchscript": "pt", "safetensors": "safetensors"}
OPSET = 20
"""ONNX operators of 2023: what onnxruntime reads since 1.17."""


class Traceable(nn.Module):
    """The model with tensors in and out. Its GRU takes the dense path, which consists of plain operators."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model
        self.model.gru.path = "dense"

    def forward(
        self, inputs: Tensor, lengths: Tensor, hidden: Tensor | None = None, preceding: Tensor | None = None
    ) -> Tensor | tuple[Tensor, Tensor]:
        if isinstance(self.model, LanguageModel):
            logits, last = self.model(inputs, lengths, hidden, preceding=preceding)
            return logits, last
        return self.model(inputs, lengths)[0]  # type: ignore[no-any-return]


def export(trained: TrainedModel, kind: str, path: Path) -> None:
    """Write `trained` to `path` in the format `kind`. UserError if a package that the format needs is missing; OSError if the
    file cannot be written."""
    model = trained.model.cpu()
    if kind == "safetensors":
        save_weights(model, path)
        return
    # The old exporters: the new one (torch.export) makes the length of a GRU's input a constant.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write = _to_onnx if kind == "onnx" else _to_torchscript
        write(Traceable(model).eval(), _example(model), path)


def _to_torchscript(traceable: Traceable, example: dict[str, Tensor], path: Path) -> None:
    buffer = io.BytesIO()  # torch's own writer ends the process on a full disk
    torch.jit.save(torch.jit.trace(traceable, tuple(example.values()), check_trace=False), buffer)  # type: ignore[no-untyped-call]
    path.write_bytes(buffer.getvalue())


def _to_onnx(traceable: Traceable, example: dict[str, Tensor], path: Path) -> None:
    try:
        import onnx  # noqa: F401
    except ImportError:
        raise UserError('--format onnx needs the package: pip install ".[export]"') from None
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    axes = {
        "inputs": {0: "batch", 1: "time"},
        "lengths": {0: "batch"},
        "logits": {0: "batch"},
        "preceding": {0: "batch"},
    }
    if isinstance(traceable.model, Tagger):
        axes |= {"logits": {0: "batch", 1: "time"}}
    if "hidden" in example:
        axes |= {"hidden": {1: "batch"}, "logits": {0: "batch", 1: "time"}, "last": {1: "batch"}}
    buffer = io.BytesIO()
    torch.onnx.export(
        traceable,
        tuple(example.values()),
        buffer,  # type: ignore[arg-type]  # the old exporter also takes a file
        input_names=list(example),
        output_names=["logits", "last"] if "hidden" in example else ["logits"],
        dynamic_axes=axes,
        opset_version=OPSET,
        dynamo=False,
    )
    path.write_bytes(buffer.getvalue())


def write_label_states(trained: TrainedModel, path: Path) -> Path:
    """The states that texts begin with, by label, in a file beside `path`. For a model that writes by label."""
    assert isinstance(trained.model, LanguageModel)
    states = trained.model.label_states(torch.arange(len(trained.labels))).transpose(0, 1).contiguous()
    beside = path.with_suffix(".labels.safetensors")
    save_file({"states": states.detach()}, str(beside))
    return beside


def _example(model: Model) -> dict[str, Tensor]:
    """Rows of uneven length, so that the path for such rows is traced."""
    example = {"inputs": torch.tensor([[1, 4, 4, 2], [1, 2, 0, 0]]), "lengths": torch.tensor([4, 2])}
    if isinstance(model, LanguageModel):
        example["hidden"] = torch.zeros(len(model.gru.layers), 2, model.gru.hidden_size)
        if model.reach:
            example["preceding"] = torch.zeros(2, model.reach, dtype=torch.int64)
    return example
