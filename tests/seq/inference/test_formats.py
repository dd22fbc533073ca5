from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from seq.config import (
    ClassifierConfig,
    Config,
    DataConfig,
    GRUConfig,
    LanguageModelConfig,
    Seq2SeqConfig,
    TaggerConfig,
)
from seq.data.outputs import Outputs
from seq.data.tokenizer import Tokenizer
from seq.inference.formats import export
from seq.models import Seq2Seq, build_model
from seq.models.search import search
from seq.tasks import TrainedModel, task_of

CASES = {
    "names": ClassifierConfig(hidden_size=12, num_layers=2, ngrams=4, ngram_buckets=97, output_dropout=0.3),
    "one direction": ClassifierConfig(hidden_size=12, bidirectional=False),
    "speeches": LanguageModelConfig(hidden_size=12, num_layers=2, embedding_dropout=0.2),
    "speeches with n-grams": LanguageModelConfig(hidden_size=12, ngrams=4, ngram_buckets=97),
    "tagger": TaggerConfig(hidden_size=12, num_layers=2, ngrams=3, ngram_buckets=97),
    "tied": LanguageModelConfig(hidden_size=16, embedding_dim=16, tie_weights=True),
}


LENGTHS = ([9, 1, 4], [3], [2, 2, 2, 2], [40, 39, 7, 1, 1])
"""None is what the exporter traced; texts shorter than an n-gram are among them."""


def trained(model: GRUConfig) -> TrainedModel:
    data = DataConfig(tokenizer="tokens" if isinstance(model, TaggerConfig) else "characters")
    config = Config(model=model, data=data)  # type: ignore[arg-type]
    built = build_model(config, vocab_size=24, num_outputs=5)
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, std=0.5)  # the n-grams begin with zeros
    return TrainedModel(
        built.eval(), config, task_of(config), Tokenizer(kind="characters"), Outputs(labels=tuple("abcde")), 1
    )


def uneven(lengths: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    rows = [torch.randint(4, 24, (length,)) for length in lengths]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), torch.tensor(lengths)


def compare(got: list[NDArray[np.float32]], want: tuple[torch.Tensor, torch.Tensor], lengths: torch.Tensor) -> None:
    """All logits and last states; of a language model's logits those before each row's end."""
    for mine, theirs in zip(got, want[: len(got)], strict=True):
        expected = theirs.detach().numpy()
        real = np.ones(expected.shape[:2], bool)
        if expected.ndim == 3 and expected.shape[0] == len(lengths):
            real = np.arange(expected.shape[1]) < lengths.numpy()[:, None]
        np.testing.assert_allclose(mine[real], expected[real], atol=1e-4)


@pytest.mark.parametrize("case", CASES)
def test_formats_compute_the_same(tmp_path: Path, case: str) -> None:
    model, path = trained(CASES[case]), tmp_path / "model"
    language = CASES[case].kind == "language_model"  # type: ignore[attr-defined]
    reference = trained(CASES[case])
    reference.model.load_state_dict(model.model.state_dict())
    export(model, "onnx", path)
    for lengths in LENGTHS:
        inputs, sizes = uneven(lengths)
        given = {"inputs": inputs, "lengths": sizes}
        if language:
            given["hidden"] = torch.randn(model.config.model.num_layers, len(sizes), model.config.model.hidden_size)
        if language and model.model.reach:
            given["preceding"] = torch.randint(0, 24, (len(sizes), 3))
        got = _run_onnx(path, given)
        assert len(got) == (2 if language else 1)
        compare(got, reference.model(**given), sizes)


def test_encoder_and_decoder_write_what_a_greedy_search_writes(tmp_path: Path) -> None:
    model = trained(Seq2SeqConfig(hidden_size=12, num_layers=2, output_dropout=0.3))
    reference = trained(model.config.model)
    reference.model.load_state_dict(model.model.state_dict())
    assert isinstance(reference.model, Seq2Seq)
    encoder, decoder = export(model, "onnx", tmp_path / "model.x")
    assert [encoder.name, decoder.name] == ["model.encoder.x", "model.decoder.x"]
    for lengths in LENGTHS:
        inputs, sizes = uneven(lengths)
        states, keys, hidden = map(torch.from_numpy, _run_onnx(encoder, {"inputs": inputs, "lengths": sizes}))
        tokens, running = torch.ones(len(lengths), 1, dtype=torch.int64), np.ones(len(lengths), bool)
        written = [list[int]() for _ in lengths]
        for _ in range(6):
            given = {"tokens": tokens, "lengths": sizes, "states": states, "keys": keys, "hidden": hidden}
            logits, last = _run_onnx(decoder, given)
            logits[:, [0, 1, 3]] = -np.inf
            best, hidden = logits.argmax(1), torch.from_numpy(last)
            for row in np.flatnonzero(running):
                written[row].append(int(best[row]))
            running &= best != 2
            tokens = torch.from_numpy(best)[:, None]
        found = search(reference.model, inputs, sizes, beam=1, most=6)
        assert [[token for token in own if token] for own in found.tokens[:, 0].tolist()] == written


def _run_onnx(path: Path, given: dict[str, torch.Tensor]) -> list[NDArray[np.float32]]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found: list[NDArray[np.float32]] = session.run(None, {name: value.numpy() for name, value in given.items()})
    return found
