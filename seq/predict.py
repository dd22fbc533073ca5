"""Classify text with a finished or running run: python -m seq.predict RUN [TEXT ...]; without TEXT, stdin by line."""

import argparse
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from seq.command_line import exit_code
from seq.data.ragged import slices
from seq.data.tokenizer import frame
from seq.errors import UserError
from seq.models.classifier import Classifier
from seq.training.trained import TrainedModel, load_run

ROWS = 256
"""Texts that go through the model together."""


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m seq.predict", description=__doc__)
    parser.add_argument("run", type=Path, help="run directory, such as runs/names")
    parser.add_argument("text", nargs="*", help="texts to classify; none: read stdin, one a line")
    parser.add_argument("--top", type=int, default=3, metavar="N", help="classes to print (default 3)")
    parser.add_argument("--checkpoint", metavar="NAME", help="such as step-00000500.pt (default: the newest)")
    options = parser.parse_intermixed_args(arguments)
    trained = load_run(options.run, options.checkpoint)
    if not isinstance(trained.model, Classifier):
        raise UserError(f"{options.run}: is a language model; use python -m seq.generate")
    texts = iter(options.text) if options.text else read_lines(trained.config.data.max_length)
    for text, best in predict(trained, texts, top=options.top, rows=ROWS if options.text else 1):
        print(text, *(f"{label} {probability:.3f}" for label, probability in best), sep="\t", flush=True)


def read_lines(max_length: int) -> Iterator[str]:
    """Lines of stdin without their ends. Of a line longer than `max_length`, the rest is read over, not kept."""
    sys.stdin.reconfigure(errors="replace")  # type: ignore[union-attr]
    while line := sys.stdin.readline(max_length + 1):
        whole = line
        while whole and not whole.endswith("\n"):
            whole = sys.stdin.readline(2**16)
        yield line.rstrip("\r\n")


def predict(
    trained: TrainedModel, texts: Iterable[str], *, top: int, rows: int = ROWS
) -> Iterator[tuple[str, list[tuple[str, float]]]]:
    """For each text the `top` likeliest (label, probability). Texts are taken `rows` at a time: any number of them
    needs the memory of one such batch. Of a text longer than `data.max_length` the beginning is read, with a warning.
    """
    remaining = iter(texts)
    number = min(max(1, top), len(trained.labels))
    while batch := list(islice(remaining, rows)):
        best = probabilities(trained, batch).topk(number)
        for text, values, places in zip(batch, best.values.tolist(), best.indices.tolist(), strict=True):
            yield text, [(trained.labels[place], value) for place, value in zip(places, values, strict=True)]


@torch.inference_mode()
def probabilities(trained: TrainedModel, texts: list[str]) -> Tensor:
    """(B, C) probabilities of the classes."""
    limit, encoded = trained.config.data.max_length, trained.tokenizer.encode(texts)
    if long := int((encoded.lengths > limit).sum()):
        print(f"{long} text(s) cut to data.max_length={limit} tokens", file=sys.stderr)
    starts = encoded.offsets[:-1]
    sequences = frame(slices(encoded.values, starts, np.minimum(starts + limit, encoded.offsets[1:])))
    inputs, lengths = (torch.from_numpy(array) for array in sequences.pad(np.arange(len(texts))))
    logits: Tensor = trained.model(inputs.to(trained.device), lengths)[0]
    return logits.softmax(-1).cpu()


if __name__ == "__main__":
    sys.exit(exit_code(lambda: main(sys.argv[1:])))
