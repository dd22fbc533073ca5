"""Tagging: a tag for each token of a text."""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seq.config import Config, DataConfig
from seq.data import punctuation
from seq.data.corpus import Corpus
from seq.data.cut import encode_texts, limit_length, split_evenly
from seq.data.dataset import Batch
from seq.data.examples import Examples
from seq.data.outputs import IGNORE_INDEX, Coded, Outputs, Vocabulary, in_order
from seq.data.plan import ShardSizes
from seq.data.ragged import Ints, RaggedArray, at_least
from seq.data.split import Split
from seq.data.targets import Encoded
from seq.data.tokenizer import refuse_list_as_text
from seq.data.tokens import join_tokens, split_tokens
from seq.errors import UserError
from seq.models import Model
from seq.tasks.classification import ClassEvaluator, Classification
from seq.tasks.confusion import Confusion, macro_f1, per_class
from seq.tasks.loaded import LoadedModel, Text, one_or_many
from seq.tasks.losses import cross_entropy
from seq.tasks.metrics import Evaluation, Metric, clustered_error, compute
from seq.tasks.sequence_task import label_ids, row_batch
from seq.tasks.task import Answer, Answers, Card, PredictiveTask, TrainedModel

TOKENS = 16384
"""Tokens that go through the model together."""
SAMPLES = 4
"""Sequences that an evaluation shows."""
PARTS = (1, 2, 3)
"""Parts of a tag that have a metric of their own."""
PART = "|"
"""Between the parts of a tag; all tags of a set must have as many."""


def _part_f1(part: int) -> Metric:
    def value(rows: list[dict[str, Any]]) -> float | None:
        own = [row for row in rows if row["part"] == part]
        return macro_f1(own) if own else None

    return Metric(f"macro_f1_{part}", f"macro F1, part {part}", ".4f", "higher", value)


PART_METRICS = tuple(_part_f1(part) for part in PARTS)


class Tagging(PredictiveTask):
    """Targets are coded like the tokens, by their places in `Outputs.labels`."""

    name = "tagging"
    chosen_by = ("model.kind=tagger",)
    metrics = (*Classification.metrics, *PART_METRICS)
    card = Card(
        article="A tagger",
        usage='print(model.predict("..."))  # or a list of texts, or of lists of tokens',
        use="To give a tag to each token of texts of the kind that it was trained on.",
        pipeline="token-classification",
        labels="tags",
        script="""\
inputs = np.array([ids])
logits = session.run(["logits"], {"inputs": inputs, "lengths": np.array([len(ids)])})[0][0]
for token, tag in zip(tokens, logits.argmax(-1)):
    print(token, about["outputs"]["labels"][tag])
""",
    )
    reads_tokens = splits_long = weighs_classes = True
    has_hyperparameters = False

    def faults(self, config: Config) -> Iterator[str]:
        yield from super().faults(config)
        if len(config.data.text_columns) > 1:
            yield "data.text: a tagger reads one column, since each token needs a tag"

    def read(self, value: Any, config: DataConfig) -> tuple[str, ...]:
        if isinstance(value, str):
            refuse_list_as_text(value, "tags with a space between them", numbers=True)
        tags = split_tokens(value) if isinstance(value, str) else value
        if not isinstance(tags, list | tuple) or not all(isinstance(tag, str | int) for tag in tags):
            raise ValueError(f"holds {str(value)[:60]!r}, not a list of tags")
        return tuple(map(str, tags))

    def learn(self, targets: Sequence[tuple[str, ...]], config: DataConfig) -> Outputs:
        return Outputs(labels=in_order(tag for row in targets for tag in row))

    def labels(self, target: tuple[str, ...]) -> Sequence[str]:
        return target

    def encode_rows(self, split: Examples, vocabulary: Vocabulary, config: DataConfig, notes: list[str]) -> Encoded:
        """A long text is cut into pieces, each with its tags. Without markers: there is nothing to predict for them."""
        for place, (text, tags) in enumerate(zip(split.texts, split.targets or (), strict=True)):
            if (count := str(text).count(" ") + 1) != len(tags):
                raise UserError(f"{split.where(place)}: {count} tokens, but {len(tags)} tags; each token needs one")
        coded = label_ids(split, split.targets or (), vocabulary.outputs)
        tokens = encode_texts(split.texts, vocabulary.tokenizer)
        if config.too_long in ("auto", "split"):
            return split_evenly(tokens, config.max_length), split_evenly(coded, config.max_length)
        limits = (split.name, split.where, config)
        return limit_length(tokens, *limits, notes, markers=0)[0], limit_length(coded, *limits, [], markers=0)[0]

    def time_steps(self, sequences: RaggedArray, coded: Coded) -> Ints:
        return sequences.lengths

    def count(self, sizes: ShardSizes) -> int:
        return int(sizes.tokens.sum())

    def batch(
        self, padded: Ints, stored: Ints, times: Sequence[int], chosen: RaggedArray, outputs: Outputs
    ) -> dict[str, Tensor]:
        tags = at_least(chosen.pad(np.arange(len(chosen)))[0], times[0])
        outside = np.arange(times[0]) >= stored[:, None]
        return row_batch(padded, stored, times, torch.from_numpy(np.where(outside, IGNORE_INDEX, tags)))

    def show(self, target: list[int], outputs: Outputs) -> str:
        return " ".join(outputs.labels[tag] for tag in target if tag >= 0)

    def loss(self, logits: Tensor, targets: Tensor, **options: Any) -> Tensor:
        return cross_entropy(logits, targets, **options)

    def evaluator(self, split: Split, config: Config, device: torch.device) -> "TagEvaluator":
        return TagEvaluator(split.outputs.labels, device)

    def samples(self, trained: TrainedModel, corpus: Corpus) -> list[dict[str, Any]]:
        """The first sequences of the validation split with the tags that the model gives them, beside the true ones."""
        split = corpus.splits.get("validation", corpus.splits["train"])
        assert isinstance(split.targets, RaggedArray)
        samples = []
        for row in range(min(SAMPLES, len(split))):
            ids, tags = (array.take(np.array([row])).values for array in (split.sequences, split.targets))
            tokens, true = trained.tokenizer.decode(ids).split(" "), [trained.labels[tag] for tag in tags]
            shown = {"text": show(trained, tokens, _tag(trained, ids)), "truth": show(trained, tokens, true)}
            samples.append({"prompt": ""} | shown)
        return samples

    def answers(self, trained: TrainedModel, options: argparse.Namespace) -> Answers:
        """A model of `data.source=punctuation` shows the text with its capitals and marks; others show a line for each word."""
        restored = punctuation.restores(trained.labels)

        def answer(texts: list[str]) -> Iterator[Answer]:
            tokens = [split_tokens(text) for text in texts]
            for own, tags in zip(tokens, tag(trained, tokens), strict=True):
                shown = show(trained, own, tags)
                yield Answer(shown, [tags, shown] if restored else [tags])

        return Answers(["prediction", "restored"] if restored else ["prediction"], answer, in_pieces=True)

    def load(self, trained: TrainedModel) -> "LoadedTagger":
        return LoadedTagger(trained)


class TagEvaluator(ClassEvaluator):
    """Every token is a row. Tags may have parts, such as `A|,`: then there are metrics of each part, too."""

    def __init__(self, labels: tuple[str, ...], device: torch.device) -> None:
        super().__init__(Classification.metrics, len(labels), device)
        self._labels = labels
        self._sequences = torch.zeros(3, dtype=torch.int64, device=device)
        """Over the sequences, with r right ones among n tags: the sums of r^2, r n and n^2."""
        self.counts.insert(1, self._sequences)

    def add(self, model: Model, batch: Batch) -> Tensor:
        logits, there = model(**batch.arguments())[0], batch.targets >= 0
        right, size = ((logits.argmax(-1) == batch.targets) & there).sum(1), there.sum(1)
        self._sequences += torch.stack([(right * right).sum(), (right * size).sum(), (size * size).sum()])
        return self.add_logits(logits.flatten(0, 1), batch.targets.flatten())

    def result(self, sums: list[float], counts: list[NDArray[np.int64]]) -> Evaluation:
        whole = super().result(sums, counts)
        assert whole.confusion is not None
        parts = classes_of_parts(self._labels, whole.confusion.dense()) if whole.confusion.is_small else []
        error = clustered_error(counts[1], whole.figures["accuracy"], whole.confusion.total)
        figures = whole.figures | compute(PART_METRICS, parts)
        return replace(whole, figures=figures, errors={"accuracy": error}, parts=parts)


def classes_of_parts(labels: tuple[str, ...], confusion: NDArray[np.int64]) -> list[dict[str, Any]]:
    """As `per_class`, for the parts of tags such as `A|,`: all tags that agree in a part are one class. Empty if tags have no
    parts, or not all as many."""
    parts = [label.split(PART) for label in labels]
    if len({len(own) for own in parts}) != 1 or len(parts[0]) == 1:
        return []
    rows = []
    for number, values in enumerate(zip(*parts, strict=True), 1):
        names = sorted(set(values))
        member = np.array([[value == name for name in names] for value in values], np.int64)
        merged = per_class(Confusion.of(member.T @ confusion @ member))
        rows += [{"part": number, "label": name} | row for name, row in zip(names, merged, strict=True)]
    return rows


def tag(trained: TrainedModel, texts: Sequence[Sequence[str]]) -> list[list[str]]:
    """The tag of each token of each text. A text longer than `data.max_length` is read in windows of that length that overlap by
    half, and each token's tag comes from the window in which it is farther from an edge."""
    ids = trained.tokenizer.encode([join_tokens(text) for text in texts if text])
    tagged = iter(
        [_tag(trained, ids.values[start:stop]) for start, stop in zip(ids.offsets[:-1], ids.offsets[1:], strict=True)]
    )
    return [next(tagged) if text else [] for text in texts]


@torch.inference_mode()
def _tag(trained: TrainedModel, tokens: np.ndarray) -> list[str]:
    size, found = trained.config.data.max_length, np.empty(len(tokens), np.int64)
    stride = max(1, size // 2)
    starts = np.arange(0, max(1, len(tokens) - size + stride), stride)
    windows = RaggedArray.of([tokens[start : start + size] for start in starts])
    edge = (size - stride) // 2  # half of what two windows share
    together = max(1, TOKENS // size)
    for first in range(0, len(starts), together):
        rows = np.arange(first, min(first + together, len(starts)))
        inputs, lengths = (torch.from_numpy(part) for part in windows.pad(rows))
        best = trained.model(inputs.to(trained.device), lengths)[0].argmax(-1).cpu().numpy()
        for row, own in zip(rows, best, strict=True):
            start, stop = starts[row], min(starts[row] + size, len(tokens))
            # A later window overwrites the tags that it knows better.
            skip = edge if row else 0
            found[start + skip : stop] = own[skip : stop - start]
    return [trained.labels[place] for place in found]


def show(trained: TrainedModel, tokens: Sequence[str], tags: Sequence[str]) -> str:
    """For people: the restored text of a model of `punctuation`, else a line for each token, with its tag after a tab."""
    if punctuation.restores(trained.labels):
        return punctuation.restore(tokens, tags)
    return "\n".join(f"{token}\t{own}" for token, own in zip(tokens, tags, strict=True)) + "\n"


@dataclass(frozen=True)
class LoadedTagger(LoadedModel):
    """A model that gives each token of a text a tag."""

    @one_or_many
    def predict(self, texts: Sequence[Text]) -> list[list[tuple[str, str]]]:
        """For each text its tokens with their tags. A text is a sequence of tokens, or tokens with white space between them."""
        if wrong := [text for text in texts if not isinstance(text, str | list | tuple)]:
            raise UserError(f"{str(wrong[0])[:60]!r} is neither text nor a list of tokens")
        tokens = [split_tokens(text) if isinstance(text, str) else list(text) for text in texts]
        return [list(zip(own, tags, strict=True)) for own, tags in zip(tokens, tag(self.trained, tokens), strict=True)]

    @one_or_many
    def restore(self, texts: Sequence[str]) -> list[str]:
        """Texts with the capitals and marks that a model of `data.source=punctuation` gives them."""
        tokens = [split_tokens(text) for text in texts]
        return [show(self.trained, *pair) for pair in zip(tokens, tag(self.trained, tokens), strict=True)]
