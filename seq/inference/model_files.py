"""`model/`: the trained model in files that other programs read, with a model card."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file

from seq.config import ClassifierConfig, Config
from seq.data.corpus import Vocabulary
from seq.errors import warn
from seq.models import Model
from seq.run.checkpoint import params_sha256
from seq.run.directory import Run
from seq.run.result import chosen_step
from seq.training.metrics import show

NOT_FOR_PEOPLE = """
**Not for decisions about people.** The model guesses the language area of a *spelling*. It does not know anyone's origin,
citizenship or ethnicity, is wrong for a quarter of all surnames, and worse for some origins than for others (see the run's
report). Do not use it to sort, rank, select, price, admit or profile people, alone or as one feature among others.
"""

CARD = """# {name}

A {kind} of {parameters:,} parameters (embedding, {directions}GRU, linear), trained by lockstep for {step:,} steps.

## Data

`data.source={source}`; {examples:,} examples seen, {tokens:,} tokens. Vocabulary: {vocabulary}.

## Figures

On the split `{split}`: {figures}.

## Use

```python
import seq
model = seq.load("{folder}")
{usage}
```

`model.safetensors` has the weights by the names of the PyTorch modules, `config.json` the whole config and the labels,
`tokenizer.json` the characters by id (after 0 padding, 1 begin, 2 end, 3 unknown), or in `model` the words or subwords, as the
library `tokenizers` reads them. For other programs:
`python -m seq.export {folder} --format onnx`.

## Intended use and limits

{use}
{limits}
Weights: params_sha256 `{digest}`.
"""
CAUTION = """
Where the texts are names or words of people, a guess about a text says nothing certain about the person. Do not use it for
decisions about people.
"""
WRITES = (
    "To study and to play: it writes text in the style of its training data. What it writes is made up, and may repeat\n"
    "passages of the training text word for word (`copied` in the report)."
)
TEXTS = {
    "classify": (
        "classifier",
        'print(model.predict(["..."]))',
        "To label short texts of the kind that it was trained on.",
    ),
    "classify_many": (
        "classifier of any number of labels",
        'print(model.predict(["..."]))',
        "To give labels to short texts of the kind that it was trained on.",
    ),
    "regress": (
        "regressor",
        'print(model.predict(["..."]))',
        "To estimate a number from short texts of the kind that it was trained on.",
    ),
    "tag": (
        "tagger",
        'print(model.tag(["..."]))',
        "To give a tag to each token of texts of the kind that it was trained on.",
    ),
    "transduce": (
        "transducer (encoder, attention, decoder)",
        'print(model.transduce(["..."]))',
        "To write a sequence for texts of the kind that it was trained on.",
    ),
    "write": ("character language model", 'print(model.generate("...", length=200)[0])', WRITES),
    "write_by_label": (
        "character language model by label",
        "print(model.generate(label=model.labels[0], num=10))",
        WRITES,
    ),
}
"""For each task: the kind of model, an example, the intended use."""


def export_at_end(run: Run, model: Model, result: dict[str, Any]) -> None:
    """`export_model` of a run that is finished and has its result. A warning if that fails: nothing is lost."""
    try:
        export_model(run.directory.path, model, run.config, run.corpus, result)
    except Exception as error:
        path, reason = run.directory.path, " ".join(str(error).split())[:200]
        warn(f"{path / 'model'}: not written ({reason}); to write it: python -m seq.export {path} --format model")


def export_model(run: Path, model: Model, config: Config, vocabulary: Vocabulary, result: dict[str, Any]) -> Path:
    """Write `model.safetensors`, `config.json`, `tokenizer.json` and a model card, `README.md`, into `model/` of the directory
    `run`. `result`: see `seq.run.result.make_result`. OSError if that fails."""
    folder = run / "model"
    folder.mkdir(exist_ok=True)
    write_model(folder, model, config, vocabulary, chosen_step(result))
    (folder / "README.md").write_text(model_card(folder, config, vocabulary, result), encoding="utf-8")
    return folder


def write_model(folder: Path, model: Model, config: Config, vocabulary: Vocabulary, step: int) -> None:
    """The files that `load_exported` reads. OSError if that fails."""
    about = {
        "config": config.model_dump(mode="json"),
        "outputs": vocabulary.outputs.to_dict(),
        "step": step,
        "params_sha256": params_sha256(model),  # safetensors has no checksum of its own
    }
    save_weights(model, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(about, indent=1))
    (folder / "tokenizer.json").write_text(json.dumps(vocabulary.tokenizer.to_dict(), indent=1))


def save_weights(model: Model, path: Path) -> None:
    """Write the weights as safetensors, a shared weight once. OSError if that fails."""
    # Copies: on a GPU, cuDNN keeps all weights of a GRU in one block, and safetensors refuses to write slices of a block.
    weights = {name: weight.detach().to("cpu", copy=True).contiguous() for name, weight in model.named_parameters()}
    try:
        save_file(weights, str(path))
    except SafetensorError as error:
        raise OSError(str(error)) from None


def model_card(folder: Path, config: Config, vocabulary: Vocabulary, result: dict[str, Any]) -> str:
    """The model card, as Markdown. It says what a classifier must not be used for."""
    kind, usage, use = TEXTS[config.task]
    tokenizer, labels = vocabulary.tokenizer, vocabulary.outputs.labels
    limits = f"\nLabels: {', '.join(labels)}.\n" if labels else ""
    if isinstance(config.model, ClassifierConfig):
        limits += NOT_FOR_PEOPLE if config.data.source == "names" else CAUTION
    return CARD.format(
        name=config.run.name,
        kind=kind,
        directions="bidirectional " if getattr(config.model, "bidirectional", False) else "",
        parameters=result["num_parameters"],
        step=chosen_step(result),
        source=config.data.source,
        examples=result["examples_seen"],
        tokens=result["tokens_seen"],
        vocabulary=tokenizer.describe(),
        split=result["split"],
        figures=", ".join(f"{name} {show(name, value)}" for name, value in result["eval"].items()),
        folder=folder,
        usage=usage,
        use=use,
        limits=limits,
        digest=result["params_sha256"],
    )
