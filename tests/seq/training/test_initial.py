"""`train.init_from`: a run that begins where another one ended."""

from pathlib import Path

import pytest
import torch

from seq.config import Config
from seq.config_file import load_config
from seq.errors import UserError
from seq.models.build import build_model
from seq.training.initial import copy_initial_weights, corpus_for
from seq.training.trained import load_run
from tests.helpers import ROOT, train
from tests.runs import result, words

pytestmark = pytest.mark.slow


def config_of(folder: Path, *more: str) -> Config:
    return load_config(ROOT / "configs" / "names.yaml", words(folder, "names", *more)[1:])


def test_known_labels_and_characters_are_kept(names: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("name,origin\n" + "Sloan,Irish\nAdylov,Martian\nM\u00fcller,German\n" * 9, encoding="utf-8")
    source = ("data.source=csv", f"data.files.train={rows}", "data.text=name", "data.label=origin")
    config = config_of(tmp_path, *source, f"train.init_from={names}")
    corpus, before = corpus_for(config), load_run(names)
    assert corpus.tokenizer == before.tokenizer
    assert corpus.labels == ("German", "Irish", "Martian")
    assert any("1 of 3 labels are new" in note and note.endswith("Martian") for note in corpus.notes)
    assert any("characters that the vocabulary lacks" in note for note in corpus.notes)
    model = build_model(config, vocab_size=corpus.tokenizer.vocab_size, num_labels=3)
    fresh = {name: value.clone() for name, value in model.state_dict().items()}
    copy_initial_weights(model, config, corpus.labels)
    now, there = model.state_dict(), before.model.state_dict()
    for place, label in enumerate(corpus.labels):
        expected = (
            fresh["output.weight"][place] if label == "Martian" else there["output.weight"][before.labels.index(label)]
        )
        assert torch.equal(now["output.weight"][place], expected)
        if label != "Martian":
            column = there["ngrams.table.weight"][:, before.labels.index(label)]
            assert torch.equal(now["ngrams.table.weight"][:, place], column)
    assert torch.equal(now["embedding.weight"], there["embedding.weight"])


def test_it_begins_there_at_every_world_size_and_refuses_another_shape(names: Path, tmp_path: Path) -> None:
    digests = []
    for world_size in (1, 2):
        settings = (f"train.init_from={names}", f"run.name=w{world_size}", "train.steps=2", "optimizer.lr=1e-9")
        done = train(*words(tmp_path, "names", *settings), world_size=world_size)
        assert done.returncode == 0, done.stderr
        digests.append(result(tmp_path / f"w{world_size}")["params_sha256"])
    assert digests[0] == digests[1]
    begun, before = load_run(tmp_path / "w1"), load_run(names)
    for name, value in before.model.state_dict().items():
        torch.testing.assert_close(begun.model.state_dict()[name], value, atol=1e-6, rtol=0)
    with pytest.raises(
        UserError, match=r"another shape; to begin with it, set model\.hidden_size=8 data\.lowercase=True"
    ):
        corpus_for(config_of(tmp_path, f"train.init_from={names}", "model.hidden_size=9", "data.lowercase=false"))
    with pytest.raises(UserError, match="no run with a checkpoint"):
        corpus_for(config_of(tmp_path, f"train.init_from={tmp_path}"))
