"""The interface of a task: one object with everything that data, training and use need to know about it. Each task is one file here.

The object is passed explicitly: a corpus, its splits and a trained model hold it; a trainer and an evaluation receive it.
"""

import argparse
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seq.config import Config, DataConfig
from seq.data.corpus import Corpus
from seq.data.dataset import Batch
from seq.data.examples import SEPARATOR, Examples, Target
from seq.data.outputs import IGNORE_INDEX, Coded, Outputs, Vocabulary
from seq.data.plan import ShardSizes
from seq.data.ragged import Ints, RaggedArray
from seq.data.split import Split
from seq.data.targets import Encoded
from seq.data.tokenizer import UNKNOWN, Tokenizer
from seq.errors import warn
from seq.models import Model
from seq.tasks.metrics import Evaluation, Metric

TOKENS = 32768
"""Time steps of all rows that are read at once. Without gradients there is room for more than in training."""


class Evaluator(Protocol):
    """The counts of one evaluation."""

    sums: int
    """Sums of floats that a shard has."""
    counts: list[Tensor]
    """Integers, added up over all shards."""

    @property
    def lists(self) -> Sequence[list[Tensor]]:
        """Integers (n,) of each shard, which are put one after the other."""
        ...

    in_chunks: bool
    """Whether a row of any length needs only the memory of one piece of it."""

    def add(self, model: Model, batch: Batch) -> Tensor:
        """Counts a shard, and returns its sums (`sums`,) in float64."""
        ...

    def result(self, sums: list[float], counts: list[NDArray[np.int64]]) -> Evaluation:
        """The metrics of the whole split, from `sums`, and `counts` followed by `lists`."""
        ...


@dataclass(frozen=True)
class TrainedModel:
    """In eval mode, with its vocabulary."""

    model: Model
    config: Config
    task: "Task"
    tokenizer: Tokenizer
    outputs: Outputs
    step: int

    @property
    def labels(self) -> tuple[str, ...]:
        return self.outputs.labels

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def encode(self, texts: Sequence[str]) -> RaggedArray:
        """The ids of each text, without markers. A warning says if texts have characters that the training data lack."""
        encoded = self.tokenizer.encode(texts)
        unknown = encoded.values == UNKNOWN
        if unknown.any():
            parts = np.split(unknown, encoded.offsets[1:-1])
            shares = [float(part.mean()) if len(part) else 0.0 for part in parts]
            worst = max(range(len(texts)), key=shares.__getitem__)
            warn(
                f"{np.count_nonzero(shares)} of {len(texts)} text(s) have characters that the model does not know: "
                f"{shares[worst]:.0%} of {texts[worst][:60]!r}"
            )
        return encoded


class Answer(NamedTuple):
    shown: str
    """For display: the text with its answer."""
    values: Sequence[Any]
    """For programs: one for each field, the columns of CSV and keys of JSON. A list is several labels or tags."""


class Answers(NamedTuple):
    """The answers of a trained model that `seq.predict` prints."""

    fields: Sequence[str]
    """Names of an answer's values: columns of CSV, keys of JSON."""
    answer: Callable[[list[str]], Iterable[Answer]]
    longest: int | None = None
    """Most tokens of a text that has an answer; None if longer ones are cut, or read in pieces."""
    in_pieces: bool = False
    """Whether a text of any length is read to its end."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """Words of a model card."""

    article: str
    """What the model is."""
    usage: str
    """Python, with `model` as `seq.load` gives it."""
    use: str
    """What it is for."""
    pipeline: str = "text-classification"
    """The Hub's name of the task."""
    labels: str = "labels"
    """What its labels are called, if it predicts some."""
    files: str = "`model.onnx`, which has"
    """The files that an export writes."""
    judges_people: bool = False
    """Whether the card says that it must not decide about people."""
    script: str = ""
    """The end of a Python script that uses the ONNX file: `ids` are a text's tokens, `session` and `about` what the file has. Empty if
    an answer takes more than a few lines of numpy, as a search does."""


class Task(ABC):
    """The methods are in the order in which they are used: config, data, training, evaluation, use."""

    name: ClassVar[str]
    chosen_by: ClassVar[tuple[str, ...]]
    """The settings that choose this task, such as `model.kind=tagger`."""
    metrics: ClassVar[tuple[Metric, ...]]
    card: ClassVar[Card]

    labelled: ClassVar[bool] = True
    """Whether the data have a column of targets, `data.label`."""
    predicts_text: ClassVar[bool] = False
    """Whether the tokens of the text itself are predicted, so that bits per character are counted."""
    reads_tokens: ClassVar[bool] = False
    """Whether the data give whole tokens (`data.tokenizer=tokens`), also as CoNLL's files."""
    writes_text: ClassVar[bool] = False
    """Whether targets are texts of their own."""
    can_be_stateful: ClassVar[bool] = False
    """Whether documents may be read in stateful order (`batch.order=stateful`)."""
    splits_long: ClassVar[bool] = False
    """Whether a long sequence may go on in a further one (`data.too_long=split`)."""
    no_target: ClassVar[float] = IGNORE_INDEX
    """What stands in a batch where there is no target."""
    smooths_labels: ClassVar[bool] = True
    """Whether its loss takes `train.label_smoothing`."""
    weighs_classes: ClassVar[bool] = False
    """Whether its loss takes `train.class_weights`."""
    has_hyperparameters: ClassVar[bool] = True
    """Whether `run.auto_hyperparameters=true` has rules for it."""

    # ---- config ----------------------------------------------------------------------------------------------------

    def faults(self, config: Config) -> Iterator[str]:
        """Yield a message for each setting that this task does not support."""
        data, train, monitor = config.data, config.train, config.checkpoint.monitor
        if config.batch.order == "stateful" and not self.can_be_stateful:
            yield "batch.order=stateful is for texts without labels: set model.kind=language_model and model.condition=none"
        if (longest := self.longest_row(config)) > config.batch.tokens:
            yield (
                f"batch.tokens ({config.batch.tokens}) must hold one sequence: at least {longest}, data.max_length and markers"
                + " of source and target" * (longest > data.max_length + 2)
            )
        if train.label_smoothing and not self.smooths_labels:
            yield "train.label_smoothing is for single labels and tokens, not for model.target=labels or number"
        if data.too_long == "split" and not self.splits_long:
            yield "data.too_long=split is for texts without labels; choose error, drop or truncate"
        if self.reads_tokens != (data.tokenizer == "tokens"):
            yield "data.tokenizer=tokens and model.kind=tagger go together: a tagger reads whole tokens"
        if config.run.auto_hyperparameters and not self.has_hyperparameters:
            yield f"run.auto_hyperparameters=true has no rules for model.kind={config.model.kind}; leave it out"
        if train.class_weights and not self.weighs_classes:
            yield "train.class_weights is for model.target=label and for taggers only"
        if monitor is not None and monitor not in (names := [metric.name for metric in self.metrics if metric.better]):
            yield f"checkpoint.monitor={monitor}: this model has {', '.join(names)}"

    def longest_row(self, config: Config) -> int:
        """The most time steps of a training row, with its markers; 0 if there is no limit."""
        return config.data.max_length + 2

    # ---- data ------------------------------------------------------------------------------------------------------

    def read(self, value: Any, config: DataConfig) -> Target:
        """From a column's value. ValueError says what is wrong with it."""
        return value

    def learn(self, targets: Sequence[Any], config: DataConfig) -> Outputs:
        """Return the outputs of a model that is trained on `targets`."""
        return Outputs()

    def labels(self, target: Any) -> Sequence[str]:
        """The labels in a target. The training split must have each of them."""
        return ()

    @abstractmethod
    def encode(
        self, splits: Mapping[str, Examples], vocabulary: Vocabulary, config: DataConfig, notes: list[str]
    ) -> dict[str, Encoded]:
        """The sequences that the model reads, with markers, and their coded targets. Too long ones are treated as `data.too_long` says.
        UserError for a target that the training data do not have."""

    @abstractmethod
    def time_steps(self, sequences: RaggedArray, coded: Coded) -> Ints:
        """Return the time steps that the model reads of each sequence with its markers (N,), or of source and target (N, 2)."""

    @abstractmethod
    def count(self, sizes: ShardSizes) -> int:
        """Predictions that carry loss, in shards of these sizes."""

    @abstractmethod
    def batch(
        self, padded: Ints, stored: Ints, times: Sequence[int], chosen: Any, outputs: Outputs
    ) -> dict[str, Tensor]:
        """`inputs`, `lengths` and `targets` of a batch. `padded` (B, at most T) and `stored` (B,): token ids with their lengths; B may be
        0. `times`: T, the time steps that the batch shall have; of source and target, if the task has pairs. `chosen`: the coded targets
        of the rows."""

    def show(self, target: Any, outputs: Outputs) -> str | None:
        """A row's target in a batch, for people; None if it is the text itself."""
        return None

    # ---- training and evaluation -----------------------------------------------------------------------------------

    @abstractmethod
    def loss(self, logits: Tensor, targets: Tensor, **options: Any) -> Tensor:
        """The sum of the loss over the targets, in fp32 or wider. Without any target it is 0, and so are its gradients. `options`:
        `weights` if it `weighs_classes`, `smoothing` if it `smooths_labels`."""

    @abstractmethod
    def evaluator(self, split: Split, config: Config, device: torch.device) -> Evaluator:
        """Begin an evaluation."""

    def standard_errors(self, evaluation: Evaluation) -> dict[str, float]:
        """The standard errors of a final evaluation, also those that take a while to compute."""
        return evaluation.errors

    def mistakes(
        self, model: Model, corpus: Corpus, split: str, evaluation: Evaluation, device: torch.device
    ) -> list[dict[str, Any]]:
        """Examples of what is confused most; see `seq.tasks.mistakes`. On one rank; may leave the model in eval mode."""
        return []

    # ---- use -------------------------------------------------------------------------------------------------------

    def samples(self, trained: TrainedModel, corpus: Corpus) -> list[dict[str, Any]]:
        """What an evaluation shows: samples, each with `prompt` and `text`, perhaps `label` and the `truth`."""
        return []

    @abstractmethod
    def load(self, trained: TrainedModel) -> Any:
        """What `seq.load` returns."""


class PredictiveTask(Task):
    """A task whose model answers a text. The models of other tasks write."""

    options: ClassVar[frozenset[str]] = frozenset()
    """Options of `seq.predict` that it has."""

    def encode(
        self, splits: Mapping[str, Examples], vocabulary: Vocabulary, config: DataConfig, notes: list[str]
    ) -> dict[str, Encoded]:
        return {name: self.encode_rows(split, vocabulary, config, notes) for name, split in splits.items()}

    @abstractmethod
    def encode_rows(self, split: Examples, vocabulary: Vocabulary, config: DataConfig, notes: list[str]) -> Encoded:
        """One split."""

    @abstractmethod
    def answers(self, trained: TrainedModel, options: argparse.Namespace) -> Answers:
        """What `seq.predict` prints."""


def samples_of(task: Task, model: Model, config: Config, corpus: Corpus, step: int) -> list[dict[str, Any]]:
    """Samples of a model that is being trained; it stays in training mode."""
    try:
        return task.samples(TrainedModel(model.eval(), config, task, corpus.tokenizer, corpus.outputs, step), corpus)
    finally:
        model.train()


def beside(text: str, shown: Sequence[str], values: Sequence[Any]) -> Answer:
    """An answer that is shown on the line of its text."""
    return Answer("\t".join([text.replace(SEPARATOR, "\t"), *shown]), values)
