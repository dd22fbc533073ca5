"""`model/`: the trained model in files that other programs read, with a card that says what it is."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_model

from seq.config_file import parse_config
from seq.models.build import Model
from seq.training.checkpoint import params_sha256
from seq.training.run_directory import explaining

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
`tokenizer.json` the characters by id (after 0 padding, 1 begin, 2 end, 3 unknown). For other programs:
`python -m seq.export {folder} --format onnx`.

## Intended use and limits

{use}
{limits}
Weights: params_sha256 `{digest}`.
"""
CAUTION = """
Where the texts are names or words of people, a guess about a text is no knowledge of the person: do not decide about
people by it.
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
    "write": ("character language model", 'print(model.generate("...", length=200)[0])', WRITES),
    "write_by_label": (
        "character language model by label",
        "print(model.generate(label=model.labels[0], num=10))",
        WRITES,
    ),
}
"""By task: what the model is, an example, what it is for."""


def export_model(folder: Path, model: Model, description: dict[str, Any], result: dict[str, Any]) -> None:
    """Write `model.safetensors`, `config.json`, `tokenizer.json` and a model card, `README.md`.

    `description`: see `describe_run`; `result`: see `make_result`.
    """
    with explaining(folder):
        folder.mkdir(exist_ok=True)
        write_model(folder, model, description, result["step"])
        (folder / "README.md").write_text(model_card(folder, description, result), encoding="utf-8")


def write_model(folder: Path, model: Model, description: dict[str, Any], step: int) -> None:
    """The files that `load_exported` reads. OSError where that fails."""
    about = {key: description[key] for key in ("config", "labels")} | {"step": step}
    about |= {"params_sha256": params_sha256(model)}  # safetensors has no checksum of its own
    save_weights(model, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(about, indent=1))
    (folder / "tokenizer.json").write_text(json.dumps(description["tokenizer"], indent=1))


def save_weights(model: Model, path: Path) -> None:
    """As safetensors. OSError where that fails."""
    try:
        save_model(model, str(path))
    except SafetensorError as error:
        raise OSError(str(error)) from None


def model_card(folder: Path, description: dict[str, Any], result: dict[str, Any]) -> str:
    """As Markdown. It says what a classifier must not be used for."""
    config, tokenizer = description["config"], description["tokenizer"]
    task = parse_config(config, where="config").task
    kind, usage, use = TEXTS[task]
    characters = f"{len(tokenizer['characters'])} characters" if tokenizer["kind"] == "characters" else "256 bytes"
    limits = f"\nLabels: {', '.join(description['labels'])}.\n" if description["labels"] else ""
    if task == "classify":
        limits += NOT_FOR_PEOPLE if config["data"]["source"] == "names" else CAUTION
    return CARD.format(
        name=config["run"]["name"],
        kind=kind,
        directions="bidirectional " if config["model"].get("bidirectional") else "",
        parameters=result["num_parameters"],
        step=result["step"],
        source=config["data"]["source"],
        examples=result["examples_seen"],
        tokens=result["tokens_seen"],
        vocabulary=characters,
        split=result["split"],
        figures=", ".join(f"{name} {value:.4g}" for name, value in result["eval"].items()),
        folder=folder,
        usage=usage,
        use=use,
        limits=limits,
        digest=result["params_sha256"],
    )
