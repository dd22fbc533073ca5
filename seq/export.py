"""Export a run's model for other programs: python -m seq.export RUN --format onnx | safetensors | model.

All formats take any number of texts of any length: `inputs` (B, T) token ids, zero after each text's end, `lengths` (B,).
A classifier gives `logits` (B, classes), a tagger (B, T, tags). A model of numbers gives (B, 1): multiply by `scale` and add `mean`,
both under `outputs` in config.json. A language model also takes the state `hidden` (layers, B, hidden_size), zeros at a
text's beginning, and gives `logits` (B, T, vocabulary) and the state to continue from. One with n-grams also takes the tokens before
`inputs`, `preceding` (B, ngrams - 1), zeros where the text has none. For one that writes by label, the initial states are written to a
separate file beside it, as `*.labels.safetensors`: `states` (labels, layers, hidden_size), in the order of config.json.

An encoder-decoder becomes two files. `*.encoder.*` gives `states`, `keys`, and the state `hidden` in which the decoder begins.
`*.decoder.*` takes these with `lengths`, and the last token of each output, `tokens` (B, 1), at first 1; it gives `logits` (B,
vocabulary) of the next token, and the state `last` to continue from. Token 2 ends an output.

ONNX files have the vocabulary, the labels and the markers as JSON in their metadata, under `lockstep`. The model card, model/README.md,
has a script that uses them.

`--format model` writes the folder `model/` of a finished run again, as the run itself does at its end.
"""

import sys
from pathlib import Path

from seq.command_line import answer_help, exit_code, run_parser

PARSER = run_parser("seq.export", __doc__)
PARSER.add_argument("--format", choices=["onnx", "safetensors", "model"], default="onnx", help="default: onnx")
PARSER.add_argument("--output", type=Path, metavar="FILE", help="default: model/model.SUFFIX in the run directory")
answer_help(__file__, PARSER)  # before the imports below, which take seconds

from seq.errors import UserError
from seq.inference.formats import export, export_model
from seq.run.directory import RunDirectory
from seq.run.result import chosen_step
from seq.run.trained import load_run
from seq.tasks import TrainedModel
from seq.terminal import spinner


def main(arguments: list[str]) -> None:
    options = PARSER.parse_args(arguments)
    if options.output and not options.output.parent.is_dir():
        raise UserError(f"{options.output}: cannot be written (there is no folder {options.output.parent})")
    trained = load_run(options.run, options.checkpoint)
    if options.format == "model":
        return print(_write_folder(options.run, trained))
    path = options.output or _default_path(options.run, options.checkpoint, options.format)
    try:
        path.parent.mkdir(exist_ok=True)
        with spinner(f"exporting to {path}"):
            written = export(trained, options.format, path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error}); choose another --output") from None
    print(*written, sep="\n")


def _write_folder(run: Path, trained: TrainedModel) -> Path:
    result = RunDirectory(run).read_result()
    if result is None or chosen_step(result) != trained.step:
        raise UserError(f"{run}: --format model is for finished runs, and for their last step")
    try:
        return export_model(run, trained.model, trained.config, trained.task, trained, result)
    except OSError as error:
        raise UserError(f"{run / 'model'}: cannot be written ({error.strerror or error})") from None


def _default_path(run: Path, checkpoint: str | None, suffix: str) -> Path:
    """Return `model/model.SUFFIX` for the run's final model; the file for another checkpoint is named after it."""
    folder = run if (run / "model.safetensors").is_file() else run / "model"
    return folder / f"{'model' if checkpoint is None else Path(checkpoint).stem}.{suffix}"


if __name__ == "__main__":
    sys.exit(exit_code(lambda: main(sys.argv[1:])))
