"""Language modelling: the next token of a text, also of texts that belong to a label. The model writes."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from launch.device import to_device
from launch.seeding import derive_seed
from seq.config import MAX_NGRAM, Config, DataConfig
from seq.config.read import override_config
from seq.data.corpus import Corpus
from seq.data.cut import cut_documents, encode_documents, encode_texts, frame, limit_length
from seq.data.dataset import Batch
from seq.data.examples import Examples
from seq.data.outputs import IGNORE_INDEX, Coded, Outputs, Vocabulary
from seq.data.plan import ShardSizes
from seq.data.ragged import Ints, RaggedArray
from seq.data.split import Split
from seq.data.targets import Encoded
from seq.errors import UserError
from seq.models import LanguageModel, Model
from seq.tasks.generation import Writer
from seq.tasks.loaded import LoadedModel
from seq.tasks.losses import cross_entropy
from seq.tasks.metrics import Evaluation, Metric, compute
from seq.tasks.next_token import next_token_batch
from seq.tasks.sequence_task import OneLabel, one_label_each
from seq.tasks.task import TOKENS, Card, Task, TrainedModel

CHUNK = 256
"""Time steps that a language model reads at once, so that the logits of a long text need not all be in memory."""
USE = (
    "To study and to play: it writes text in the style of its training data. What it writes is made up, and may repeat\n"
    "passages of the training text word for word."
)


@dataclass(frozen=True)
class Counts:
    """What the metrics follow from."""

    loss: float
    """The sum, in nats."""
    window_loss: float | None
    """The same sum for windows, each read from a fresh state; None if no windows were read."""
    targets: int
    characters: int
    unknown_bits: float
    """The bits that say which characters the unknown ones are."""

    def bits(self, loss: float | None) -> float | None:
        """Bits of all targets, end markers included, and of unknown characters, for each character of the text."""
        return None if loss is None else (loss / math.log(2) + self.unknown_bits) / max(1, self.characters)


class LanguageModeling(Task):
    """The targets are the text itself: at every position the next token. A sequence's last token is only a target."""

    name = "language_modeling"
    chosen_by = ("model.kind=language_model", "model.condition=none")
    metrics = (
        Metric("loss", "loss", ".4f", "lower", lambda found: found.loss / found.targets, "nats"),
        Metric("bits_per_char", "bits per character", ".4f", "lower", lambda found: found.bits(found.loss)),
        Metric(
            "perplexity", "perplexity", ".4f", "lower", lambda found: math.exp(min(found.loss / found.targets, 700))
        ),
        Metric(
            "window_loss",
            "loss, in windows",
            ".4f",
            "lower",
            lambda found: None if found.window_loss is None else found.window_loss / found.targets,
            "nats",
        ),
        Metric(
            "window_bits_per_char",
            "bits per character, in windows",
            ".4f",
            "lower",
            lambda found: found.bits(found.window_loss),
        ),
    )
    card = Card(
        article="A language model",
        usage='print(model.generate("...", length=200)[0])',
        use=USE,
        pipeline="text-generation",
    )
    labelled = False
    predicts_text = can_be_stateful = splits_long = True

    def faults(self, config: Config) -> Iterator[str]:
        yield from super().faults(config)
        if (config.checkpoint.monitor or "").startswith("window_") and not self.reads_windows(config):
            yield f"checkpoint.monitor={config.checkpoint.monitor} needs data.unit=document; without it, there is bits_per_char"

    def longest_row(self, config: Config) -> int:
        return 0 if config.data.unit == "document" else super().longest_row(config)

    def reads_windows(self, config: Config) -> bool:
        """Whether an evaluation also reads windows: where it reads whole documents."""
        return config.data.reads_whole_documents

    def encode(
        self, splits: Mapping[str, Examples], vocabulary: Vocabulary, config: DataConfig, notes: list[str]
    ) -> dict[str, Encoded]:
        documents = {name: encode_documents(split.texts, vocabulary.tokenizer) for name, split in splits.items()}
        return {
            name: (own, None) for name, own in cut_documents(documents, config, vocabulary.tokenizer, notes).items()
        }

    def time_steps(self, sequences: RaggedArray, coded: Coded) -> Ints:
        return sequences.lengths - 1

    def count(self, sizes: ShardSizes) -> int:
        return int(sizes.tokens.sum())

    def batch(
        self, padded: Ints, stored: Ints, times: Sequence[int], chosen: Any, outputs: Outputs
    ) -> dict[str, Tensor]:
        return next_token_batch(padded, stored, times[0])

    def loss(self, logits: Tensor, targets: Tensor, **options: Any) -> Tensor:
        return cross_entropy(logits, targets, **options)

    def evaluator(self, split: Split, config: Config, device: torch.device) -> "TextEvaluator":
        return TextEvaluator(split, config.evaluation.window if self.reads_windows(config) else None)

    def sample_labels(self, trained: TrainedModel) -> Sequence[str | None]:
        """The labels of which an evaluation writes samples."""
        return [None]

    def samples(self, trained: TrainedModel, corpus: Corpus) -> list[dict[str, Any]]:
        """A sample for each of `generation.prompts` and each label. The text depends on the weights, the seed and the step."""
        config, found = trained.config, []
        for number, prompt in enumerate(config.generation.prompts):
            for place, label in enumerate(self.sample_labels(trained)):
                key = (trained.step, number) if label is None else (trained.step, number, place)
                seed, own = derive_seed(config.run.seed, "sample", *key), {} if label is None else {"label": label}
                (text,) = writer_of(trained).generate(
                    prompt, config.generation, seed=seed, label=self.label_id(trained, label)
                )
                found.append({"prompt": prompt, "text": text} | own)
        return found

    def label_id(self, trained: TrainedModel, label: str | None) -> int | None:
        """The place of the label of a text to be written. UserError for one that the model does not have."""
        if label is not None:
            raise UserError(f"label {label!r}: the model was not trained by label (model.condition=label)")
        return None

    def load(self, trained: TrainedModel) -> "LoadedLanguageModel":
        return LoadedLanguageModel(trained, self)


class ConditionalLanguageModeling(OneLabel, LanguageModeling):
    """The next token of a text whose label is given. The label is coded as that of classification."""

    name = "conditional_language_modeling"
    chosen_by = ("model.kind=language_model", "model.condition=label")
    card = Card(
        article="A language model by label",
        usage="print(model.generate(label=model.labels[0], num=10))",
        use=USE,
        pipeline="text-generation",
        labels="",
    )
    labelled = True
    can_be_stateful = splits_long = False

    def longest_row(self, config: Config) -> int:
        return config.data.max_length + 2

    def reads_windows(self, config: Config) -> bool:
        return True

    def encode(
        self, splits: Mapping[str, Examples], vocabulary: Vocabulary, config: DataConfig, notes: list[str]
    ) -> dict[str, Encoded]:
        encoded: dict[str, Encoded] = {}
        for name, split in splits.items():
            texts = encode_texts(split.texts, vocabulary.tokenizer)
            texts, kept = limit_length(texts, split.name, split.where, config, notes, markers=0)
            encoded[name] = frame(texts), one_label_each(split.take(kept), vocabulary.outputs)
        return encoded

    def batch(
        self, padded: Ints, stored: Ints, times: Sequence[int], chosen: Ints, outputs: Outputs
    ) -> dict[str, Tensor]:
        return next_token_batch(padded, stored, times[0]) | {"labels": torch.from_numpy(chosen.astype(np.int64))}

    def sample_labels(self, trained: TrainedModel) -> Sequence[str | None]:
        return trained.labels

    def label_id(self, trained: TrainedModel, label: str | None) -> int | None:
        if label not in trained.labels:
            given = "a label is missing" if label is None else f"label {label!r} is not a label of the training data"
            raise UserError(f"{given}; there are {', '.join(trained.labels)}")
        return trained.labels.index(label)


class TextEvaluator:
    """A language model predicts each token once, with the state of training: each sequence is read from a fresh state to its end.
    The sequences are whole documents where training carries the state through them, else lines, paragraphs or windows as in
    training. With `window`, they are also read in windows of this many tokens, each from a fresh state."""

    in_chunks, lists = True, ()

    def __init__(self, split: Split, window: int | None) -> None:
        self._window, self.sums, self.counts = window, 1 if window is None else 2, list[Tensor]()
        self._split, self._targets = split, int(split.lengths.sum())

    def add(self, model: Model, batch: Batch) -> Tensor:
        readings = [carried(model, batch)]
        if self._window is not None:
            readings.append(in_windows(model, batch, self._window))
        sums = torch.zeros(self.sums, dtype=torch.float64, device=batch.inputs.device)
        for number, reading in enumerate(readings):
            for logits, targets in reading:
                sums[number] += cross_entropy(logits, targets)
        return sums

    def result(self, sums: list[float], counts: list[NDArray[np.int64]]) -> Evaluation:
        loss, window_loss = (*sums, None)[:2]
        assert loss is not None
        split = self._split
        found = Counts(loss, window_loss, self._targets, split.num_characters, split.unknown_bits)
        return Evaluation(figures=compute(LanguageModeling.metrics, found))


def carried(model: Model, batch: Batch) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits and targets of each row from beginning to end, with the state carried along."""
    hidden: Tensor | None = None
    padded = functional.pad(batch.inputs, (MAX_NGRAM, 0))
    for start in range(0, int(batch.lengths.max()), CHUNK):
        lengths = (batch.lengths - start).clamp(max=CHUNK)
        now = slice(start, start + int(lengths.max()))
        running = to_device((lengths > 0).nonzero()[:, 0], batch.inputs.device)
        before: dict[str, Any] = (
            {"labels": batch.labels} if hidden is None else {"hidden": hidden.index_select(1, running)}
        )
        before["preceding"] = padded[:, start : start + MAX_NGRAM].index_select(0, running)
        logits, last = model(batch.inputs[:, now].index_select(0, running), lengths[lengths > 0], **before)
        hidden = last.new_zeros(len(last), len(lengths), last.shape[2]) if hidden is None else hidden
        hidden.index_copy_(1, running, last)
        yield logits, batch.targets[:, now].index_select(0, running)


def in_windows(model: Model, batch: Batch, window: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits and targets of the rows in windows, each from a fresh state; as many windows at once as there is room for."""
    window = min(window, batch.inputs.shape[1])
    count = -(-batch.inputs.shape[1] // window)
    missing = count * window - batch.inputs.shape[1]
    inputs, targets = (
        functional.pad(tensor, (0, missing), value=padding).view(-1, window)
        for tensor, padding in ((batch.inputs, 0), (batch.targets, IGNORE_INDEX))
    )
    lengths = (batch.lengths[:, None] - window * torch.arange(count)).clamp(0, window).flatten()
    for rows in (lengths > 0).nonzero()[:, 0].split(max(1, TOKENS // window)):  # type: ignore[no-untyped-call]
        places = to_device(rows, inputs.device)
        labels = None if batch.labels is None else batch.labels.index_select(0, places // count)
        yield model(inputs.index_select(0, places), lengths[rows], labels=labels)[0], targets.index_select(0, places)


def writer_of(trained: TrainedModel) -> Writer:
    assert isinstance(trained.model, LanguageModel)
    return Writer(trained.model, trained.tokenizer, trained.config.data.unit)


@dataclass(frozen=True)
class LoadedLanguageModel(LoadedModel):
    """A model that writes."""

    task: LanguageModeling

    def generate(
        self, prompt: str = "", *, num: int = 1, seed: int = 1, label: str | None = None, **settings: Any
    ) -> list[str]:
        """`num` texts that continue `prompt` and do not contain it. `settings`: keys of the config section `generation`,
        such as `length=200, temperature=0.7, top_p=0.9`; the others are as in the run. UserError for an unknown key or
        label."""
        if num < 1 or not -(2**63) <= seed < 2**63:
            raise UserError(f"generate: num={num} must be at least 1, and seed={seed} a number of 64 bits")
        plain = {key: value.item() if hasattr(value, "item") else value for key, value in settings.items()}
        overrides = [f"generation.{key}={json.dumps(value, default=str)}" for key, value in plain.items()]
        config = override_config(self.trained.config, overrides, where="generate").generation
        place = self.task.label_id(self.trained, label)
        return writer_of(self.trained).generate(prompt, config, seed=seed, num=num, label=place)
