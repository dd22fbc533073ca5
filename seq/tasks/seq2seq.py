"""Sequence to sequence: another text for a text, such as how a word is spoken."""

import argparse
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seq.config import Config, DataConfig
from seq.data.corpus import Corpus
from seq.data.cut import encode_texts, frame, limit_length
from seq.data.dataset import Batch
from seq.data.examples import Examples
from seq.data.outputs import Coded, Outputs, Vocabulary
from seq.data.plan import ShardSizes
from seq.data.ragged import Ints, RaggedArray
from seq.data.split import Split
from seq.data.targets import Encoded
from seq.data.tokenizer import BOS, EOS, Tokenizer, refuse_list_as_text
from seq.data.tokens import join_tokens, split_tokens
from seq.errors import UserError
from seq.models import Model, Seq2Seq
from seq.models.ensemble import Seq2SeqEnsemble
from seq.models.search import Found, search
from seq.tasks.loaded import LoadedModel, one_or_many
from seq.tasks.losses import cross_entropy
from seq.tasks.metrics import Evaluation, Metric, compute, share_error
from seq.tasks.next_token import next_token_batch
from seq.tasks.references import References
from seq.tasks.sequence_task import row_batch
from seq.tasks.task import Answer, Answers, Card, PredictiveTask, TrainedModel, beside

ROWS = 128
"""Texts that go through the model together."""
SAMPLES, PICTURES = 12, 3
"""Rows that an evaluation shows, and pictures of the attention."""


@dataclass(frozen=True)
class Counts:
    """What the metrics follow from."""

    loss: float
    """The sum."""
    tokens: NDArray[np.int64]
    """(right, all), each after the true tokens before it."""
    errors: NDArray[np.int64]
    """The errors of whole outputs, as `References.errors` counts them."""
    plain: NDArray[np.int64] | None
    """The errors of the outputs without ignored characters; None if no characters are ignored."""


def _sequence_error(errors: NDArray[np.int64]) -> float:
    sources, wrong, _, _ = (int(count) for count in errors)
    return wrong / sources


def _token_error(errors: NDArray[np.int64]) -> float:
    _, _, distance, size = (int(count) for count in errors)
    return distance / max(1, size)


class SequenceToSequence(PredictiveTask):
    """Targets are coded as their token ids with markers around them."""

    name = "seq2seq"
    chosen_by = ("model.kind=seq2seq",)
    metrics = (
        Metric("loss", "loss", ".4f", "lower", lambda found: found.loss / int(found.tokens[1]), "nats"),
        Metric("accuracy", "accuracy", ".4f", "higher", lambda found: int(found.tokens[0]) / int(found.tokens[1])),
        Metric("sequence_error", "wrong outputs", ".2%", "lower", lambda found: _sequence_error(found.errors)),
        Metric("token_error", "token error rate", ".2%", "lower", lambda found: _token_error(found.errors)),
        Metric(
            "plain_sequence_error",
            "wrong outputs, plain",
            ".2%",
            "lower",
            lambda found: None if found.plain is None else _sequence_error(found.plain),
        ),
        Metric(
            "plain_token_error",
            "token error rate, plain",
            ".2%",
            "lower",
            lambda found: None if found.plain is None else _token_error(found.plain),
        ),
    )
    card = Card(
        article="An encoder-decoder (encoder, attention, decoder)",
        usage='print(model.predict("..."))  # or a list of texts',
        use="To write a sequence for texts of the kind that it was trained on.",
        pipeline="text2text-generation",
        files="`model.encoder.onnx` and `model.decoder.onnx`, which have",
    )
    writes_text = True
    has_hyperparameters = False
    options = frozenset({"beam", "nbest"})

    def faults(self, config: Config) -> Iterator[str]:
        yield from super().faults(config)
        if (config.checkpoint.monitor or "").startswith("plain_") and not config.evaluation.ignore:
            yield f"checkpoint.monitor={config.checkpoint.monitor} needs evaluation.ignore, the characters that do not count"

    def longest_row(self, config: Config) -> int:
        return 2 * super().longest_row(config)

    def read(self, value: Any, config: DataConfig) -> str:
        tokens = join_tokens(value) if isinstance(value, list) else value
        if not isinstance(tokens, str) or not tokens.strip():
            raise ValueError("is empty" if not tokens else f"holds {value!r}, not text")
        if config.target_tokenizer != "tokens":
            return tokens
        refuse_list_as_text(tokens, "blanks between the tokens")
        return " ".join(split_tokens(tokens))

    def learn(self, targets: Sequence[str], config: DataConfig) -> Outputs:
        kind, size = config.target_tokenizer, config.vocab_size
        return Outputs(tokenizer=Tokenizer.train(kind, targets, lowercase=False, min_count=1, vocab_size=size))

    def encode_rows(self, split: Examples, vocabulary: Vocabulary, config: DataConfig, notes: list[str]) -> Encoded:
        assert vocabulary.outputs.tokenizer is not None
        tokens = encode_texts(split.texts, vocabulary.tokenizer)
        tokens, kept = limit_length(tokens, split.name, split.where, config, notes, markers=0)
        split = split.take(kept)
        name, where = f"{split.name} ({config.label})", lambda place: f"{split.where(place)} ({config.label})"
        targets = encode_texts(split.targets or (), vocabulary.outputs.tokenizer)
        targets, kept = limit_length(targets, name, where, config, notes, markers=0)
        return frame(tokens.take(kept)), frame(targets)

    def time_steps(self, sequences: RaggedArray, coded: Coded) -> Ints:
        assert isinstance(coded, RaggedArray)
        return np.column_stack((sequences.lengths, coded.lengths - 1))

    def count(self, sizes: ShardSizes) -> int:
        return int(sizes.target_tokens.sum())

    def batch(
        self, padded: Ints, stored: Ints, times: Sequence[int], chosen: RaggedArray, outputs: Outputs
    ) -> dict[str, Tensor]:
        """The decoder's inputs and the targets are those of a language model."""
        decoder = next_token_batch(*chosen.pad(np.arange(len(chosen))), times[1])
        targets = {"target_inputs": decoder["inputs"], "target_lengths": decoder["lengths"]}
        return row_batch(padded, stored, times, decoder["targets"]) | targets

    def show(self, target: list[int], outputs: Outputs) -> str:
        assert outputs.tokenizer is not None
        return outputs.tokenizer.decode(target)

    def loss(self, logits: Tensor, targets: Tensor, **options: Any) -> Tensor:
        return cross_entropy(logits, targets, **options)

    def evaluator(self, split: Split, config: Config, device: torch.device) -> "OutputEvaluator":
        return OutputEvaluator(split, config, device)

    def samples(self, trained: TrainedModel, corpus: Corpus) -> list[dict[str, Any]]:
        """Sources of the validation split, spread over it, with the outputs of the model beside the true ones, and what it looked at."""
        split = corpus.splits.get("validation", corpus.splits["train"])
        assert isinstance(split.targets, RaggedArray)
        samples: list[dict[str, Any]] = []
        for row in np.unique(np.linspace(0, len(split) - 1, SAMPLES).astype(np.int64)):
            inputs, lengths = (torch.from_numpy(part) for part in split.sequences.pad(row[None]))
            target = split.targets.take(row[None]).values.tolist()
            said = _search(trained, inputs, lengths, beam=trained.config.evaluation.beam).tokens[0, 0].tolist()
            prompt = corpus.tokenizer.decode(inputs[0].tolist())
            sample = {"prompt": prompt, "text": f": {_text(trained, said)}", "truth": _text(trained, target)}
            pictured = {"attention": attention(trained, inputs, said)} if len(samples) < PICTURES else {}
            samples.append(sample | pictured)
        return samples

    def answers(self, trained: TrainedModel, options: argparse.Namespace) -> Answers:
        beam, nbest = options.beam or 5, options.nbest or 1

        def answer(texts: list[str]) -> Iterator[Answer]:
            for text, found in decode(trained, texts, beam=beam, nbest=nbest):
                shown = [f"{output.text} {output.probability:.3f}" for output in found]
                yield beside(text, shown, [[one.text for one in found], [one.probability for one in found]])

        return Answers(["prediction", "probability"], answer, trained.config.data.max_length)

    def load(self, trained: TrainedModel) -> "LoadedSeq2Seq":
        return LoadedSeq2Seq(trained)


class OutputEvaluator:
    """The loss and the accuracy of single tokens, with the true ones before them; and of the outputs that a search finds, how
    many are wrong, and by how many tokens. A source may come several times with different targets: each distinct source counts
    once, and the target that is nearest to the output counts."""

    in_chunks, lists = False, ()

    def __init__(self, split: Split, config: Config, device: torch.device) -> None:
        self.sums, self._beam, self._targets = 1, config.evaluation.beam, int(split.by_length.lengths[:, 1].max())
        self._references = References(split, config.evaluation.ignore)
        self._tokens = torch.zeros(2, dtype=torch.int64, device=device)
        self._errors = torch.zeros(2, 4, dtype=torch.int64, device=device)
        self.counts = [self._tokens, self._errors]

    def add(self, model: Model, batch: Batch) -> Tensor:
        assert isinstance(model, Seq2Seq | Seq2SeqEnsemble)
        logits = model(**batch.arguments())[0]
        there = batch.targets >= 0
        self._tokens += torch.stack([((logits.argmax(-1) == batch.targets) & there).sum(), there.sum()])
        if len(first := np.flatnonzero(self._references.is_first[batch.rows] & (batch.rows >= 0))):
            chosen = torch.from_numpy(first)
            inputs = batch.inputs.index_select(0, chosen.to(batch.inputs.device))
            # 1.5 times as long as the longest target, in case a model does not stop.
            found = search(model, inputs, batch.lengths[chosen], beam=self._beam, most=self._targets * 3 // 2)
            errors = self._references.errors(batch.rows[first], found.tokens[:, 0].tolist())
            self._errors += torch.from_numpy(errors).to(self._errors.device)
        return cross_entropy(logits, batch.targets)[None].double()

    def result(self, sums: list[float], counts: list[NDArray[np.int64]]) -> Evaluation:
        tokens, errors = counts
        plain = errors[1] if self._references.ignore else None
        figures = compute(SequenceToSequence.metrics, Counts(sums[0], tokens, errors[0], plain))
        # A source counts once, however many targets it has.
        names = [name for name in ("sequence_error", "plain_sequence_error") if name in figures]
        return Evaluation(
            figures=figures, errors={name: share_error(figures[name], int(errors[0, 0])) for name in names}
        )


class Output(NamedTuple):
    text: str
    probability: float
    """The probability of the whole output, or of its beginning if it was cut off at `data.max_length`."""


def decode(
    trained: TrainedModel, texts: Iterable[str], *, beam: int = 5, nbest: int = 1
) -> Iterator[tuple[str, list[Output]]]:
    """For each text its `nbest` likeliest outputs that a search with `beam` beams finds, the likeliest first. UserError for a text
    longer than `data.max_length`, or without any character."""
    remaining = iter(texts)
    while batch := list(islice(remaining, ROWS)):
        found = _search(trained, *_read(trained, batch), beam=max(beam, nbest))
        for text, tokens, totals in zip(batch, found.tokens.tolist(), found.log_probabilities.tolist(), strict=True):
            best = zip(tokens[:nbest], totals[:nbest], strict=True)
            yield text, [Output(_text(trained, ids), math.exp(total)) for ids, total in best if total > -math.inf]


def _search(trained: TrainedModel, inputs: Tensor, lengths: Tensor, *, beam: int) -> Found:
    """The targets of training are no longer than `data.max_length`, and so are outputs."""
    assert isinstance(trained.model, Seq2Seq | Seq2SeqEnsemble)
    most = trained.config.data.max_length + 1
    return search(trained.model, inputs.to(trained.device), lengths, beam=beam, most=most)


def _read(trained: TrainedModel, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    limit, encoded = trained.config.data.max_length, trained.encode(texts)
    for text, length in zip(texts, encoded.lengths.tolist(), strict=True):
        if not 0 < length <= limit:
            reason = f"{length} tokens, more than data.max_length={limit}" if length else "there is nothing to read"
            raise UserError(f"{text[:60]!r}: {reason}")
    inputs, lengths = frame(encoded).pad(np.arange(len(texts)))
    return torch.from_numpy(inputs), torch.from_numpy(lengths)


def _text(trained: TrainedModel, ids: Sequence[int]) -> str:
    assert trained.outputs.tokenizer is not None
    return trained.outputs.tokenizer.decode(ids)


@torch.inference_mode()
def attention(trained: TrainedModel, inputs: Tensor, ids: Sequence[int]) -> dict[str, Any]:
    """Return the decoder's attention to `inputs` (1, S) while it wrote `ids`: `source` and `target` tokens, and `weights` by target and
    source token."""
    assert isinstance(trained.model, Seq2Seq)
    assert trained.outputs.tokenizer is not None
    written = [token for token in ids if token > EOS]
    before = torch.tensor([[BOS, *written]], device=trained.device)
    sizes = torch.tensor([inputs.shape[1]]), torch.tensor([before.shape[1]])
    weights = trained.model.attention(inputs.to(trained.device), sizes[0], before, sizes[1])[0].float().cpu()
    source = ["<", *(trained.tokenizer.decode([token]) for token in inputs[0, 1:-1].tolist()), ">"]
    target = [*(trained.outputs.tokenizer.decode([token]) for token in written), ">"]
    return {"source": source, "target": target, "weights": [[round(w, 3) for w in row] for row in weights.tolist()]}


@dataclass(frozen=True)
class LoadedSeq2Seq(LoadedModel):
    """A model that writes another sequence for each text."""

    @one_or_many
    def predict(self, texts: Sequence[str], *, beam: int = 5) -> list[str]:
        """The likeliest output for each text. UserError for an empty or a too long text."""
        return [found[0].text for _, found in decode(self.trained, self.joined(texts), beam=beam)]

    @one_or_many
    def nbest(self, texts: Sequence[str], *, number: int = 5, beam: int = 5) -> list[list[Output]]:
        """For each text, as in `predict`, its likeliest outputs with their probabilities."""
        return [found for _, found in decode(self.trained, self.joined(texts), beam=beam, nbest=number)]
