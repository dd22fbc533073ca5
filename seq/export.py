"""Export a run's model for other programs: python -m seq.export RUN --format onnx | torchscript | safetensors.

All formats take any number of texts of any length: `inputs` (B, T) token ids, zero after each text's end, `lengths` (B,).
A classifier gives `logits` (B, classes). A language model also takes the state `hidden` (layers, B, hidden_size), zeros at a
text's beginning, and gives `logits` (B, T, vocabulary) and the state to go on from. One with n-grams also takes the tokens before
`inputs`, `preceding` (B, ngrams - 1), zeros where the text has none. For one that writes by label, the states to begin with are
written beside it, as `*.labels.safetensors`: `states` (labels, layers, hidden_size), in the order of config.json.
"""

import argparse
import io
import logging
import sys
import warnings
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from seq.command_line import exit_code
from seq.errors import UserError
from seq.models.build import Model
from seq.models.language_model import LanguageModel
from seq.training.export import save_weights
from seq.training.trained import TrainedModel, load_run

SUFFIXES = {"onnx": "onnx", "torchscript": "pt", "safetensors": "safetensors"}
OPSET = 20
"""ONNX operators of 2023: what onnxruntime reads since 1.17."""


class Traceable(nn.Module):
    """The model with tensors in and out, its GRU along the dense path, which is plain operators."""

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


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m seq.export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="run directory, such as runs/names")
    parser.add_argument("--format", choices=sorted(SUFFIXES), default="onnx", help="default: onnx")
    parser.add_argument("--output", type=Path, metavar="FILE", help="default: model/model.SUFFIX in the run directory")
    parser.add_argument("--checkpoint", metavar="NAME", help="such as step-00000500.pt (default: the newest)")
    options = parser.parse_args(arguments)
    trained = load_run(options.run, options.checkpoint)
    path = options.output or _default_path(options.run, options.checkpoint, SUFFIXES[options.format])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        export(trained, options.format, path)
        if trained.config.task == "write_by_label":
            print(_write_label_states(trained, path))
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error}); choose another --output") from None
    print(path)


def _default_path(run: Path, checkpoint: str | None, suffix: str) -> Path:
    """`model/model.SUFFIX` is the run's final model; one of another checkpoint has its name."""
    folder = run if (run / "model.safetensors").is_file() else run / "model"
    return folder / f"{'model' if checkpoint is None else Path(checkpoint).stem}.{suffix}"


def export(trained: TrainedModel, kind: str, path: Path) -> None:
    """UserError where a package that the format needs is missing."""
    model = trained.model.cpu()
    if kind == "safetensors":
        save_weights(model, path)
        return
    # Both exporters are the old ones: the new one (torch.export) makes the length of a GRU's input a constant.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write = _to_onnx if kind == "onnx" else _to_torchscript
        write(Traceable(model).eval(), _example(model), path)


def _to_torchscript(traceable: Traceable, example: dict[str, Tensor], path: Path) -> None:
    buffer = io.BytesIO()  # its own way to write a file ends the process on a full disk
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
    if "hidden" in example:
        axes |= {"hidden": {1: "batch"}, "logits": {0: "batch", 1: "time"}, "last": {1: "batch"}}
    buffer = io.BytesIO()
    torch.onnx.export(
        traceable,
        tuple(example.values()),
        buffer,  # type: ignore[arg-type]  # the old exporter takes a file, too
        input_names=list(example),
        output_names=["logits", "last"] if "hidden" in example else ["logits"],
        dynamic_axes=axes,
        opset_version=OPSET,
        dynamo=False,
    )
    path.write_bytes(buffer.getvalue())


def _write_label_states(trained: TrainedModel, path: Path) -> Path:
    assert isinstance(trained.model, LanguageModel)
    states = trained.model.label_states(torch.arange(len(trained.labels))).transpose(0, 1).contiguous()
    beside = path.with_suffix(".labels.safetensors")
    save_file({"states": states.detach()}, str(beside))
    return beside


def _example(model: Model) -> dict[str, Tensor]:
    """Rows of uneven length, so that what is traced is the way for those."""
    example = {"inputs": torch.tensor([[1, 4, 4, 2], [1, 2, 0, 0]]), "lengths": torch.tensor([4, 2])}
    if isinstance(model, LanguageModel):
        example["hidden"] = torch.zeros(len(model.gru.layers), 2, model.gru.hidden_size)
        if model.reach:
            example["preceding"] = torch.zeros(2, model.reach, dtype=torch.int64)
    return example


if __name__ == "__main__":
    sys.exit(exit_code(lambda: main(sys.argv[1:])))
