"""`train.init_from`: a run that begins where another one ended."""

import shutil
from pathlib import Path

import pytest
import torch

from seq.config import Config
from seq.config.read import load_config
from seq.data.corpus import prepare_corpus
from seq.errors import UserError
from seq.models import build_model
from seq.run.directory import RunDirectory
from seq.run.initial import InitialModel
from seq.run.trained import load_run
from seq.tasks import task_of
from tests.helpers import ROOT, run, train
from tests.runs import result, words

pytestmark = pytest.mark.slow


def config_of(folder: Path, *more: str) -> Config:
    return load_config(ROOT / "configs" / "names.yaml", words(folder, "names", *more)[1:])


def initial_of(config: Config) -> InitialModel:
    return InitialModel.load(config, RunDirectory.of(config))


def test_known_labels_and_characters_are_kept(names: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("name,origin\n" + "Sloan,Irish\nAdylov,Martian\nM\u00fcller,German\n" * 9, encoding="utf-8")
    source = ("data.source=csv", f"data.files.train={rows}", "data.text=name", "data.label=origin")
    config = config_of(tmp_path, *source, f"train.init_from={names}")
    initial = initial_of(config)
    before = initial.trained
    assert before is not None
    corpus = prepare_corpus(config.data, task_of(config), like=before)
    assert corpus.tokenizer == before.tokenizer
    assert corpus.labels == ("German", "Irish", "Martian")
    assert any("1 of 3 labels are new" in note and note.endswith("Martian") for note in corpus.notes)
    assert any("characters that the vocabulary lacks" in note for note in corpus.notes)
    model = build_model(config, vocab_size=corpus.tokenizer.vocab_size, num_outputs=3)
    fresh = {name: value.clone() for name, value in model.state_dict().items()}
    initial.copy_weights_to(model, corpus.labels)
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


def test_the_same_bits_at_every_world_size_resumed_and_without_the_source(names: Path, tmp_path: Path) -> None:
    """After its first start, the run no longer needs the one that it began with."""
    source = shutil.copytree(names, tmp_path / "source")
    command = words(tmp_path, "names", f"train.init_from={source}", "train.steps=8")
    for world_size in (1, 2):
        done = train(*command, f"run.name=w{world_size}", world_size=world_size)
        assert done.returncode == 0, done.stderr
    shutil.rmtree(source)
    half = tmp_path / "w2"
    (half / "result.json").unlink()
    (half / "checkpoints" / "step-00000008.pt").unlink()  # goes on after step 4
    assert train(*command, "run.name=w2").returncode == 0
    assert result(half)["params_sha256"] == result(tmp_path / "w1")["params_sha256"]
    shutil.rmtree(half / "checkpoints")  # from the beginning
    replayed = run("python", "-m", "seq.replay", half, "--step", "2")
    assert replayed.returncode == 0, replayed.stdout
    assert "step 2 as recorded" in replayed.stdout


def test_it_begins_with_those_weights(names: Path, tmp_path: Path) -> None:
    done = train(
        *words(tmp_path, "names", f"train.init_from={names}", "run.name=a", "train.steps=2", "optimizer.lr=1e-9")
    )
    assert done.returncode == 0, done.stderr
    begun, before = load_run(tmp_path / "a"), load_run(names)
    for name, value in before.model.state_dict().items():
        torch.testing.assert_close(begun.model.state_dict()[name], value, atol=1e-6, rtol=0)


def test_another_shape_or_kind_is_refused(names: Path, speeches: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"another shape; to begin with it, set model\.hidden_size=8 data\.lowercase=True"
    ):
        initial_of(config_of(tmp_path, f"train.init_from={names}", "model.hidden_size=9", "data.lowercase=false"))
    with pytest.raises(UserError, match=r"set model\.hidden_size=8$"):
        initial_of(config_of(tmp_path, f"train.init_from={names}", "model.hidden_size=9", "data.lowercase=null"))
    with pytest.raises(UserError, match=r"is a language model, and model\.kind=classifier"):
        initial_of(config_of(tmp_path, f"train.init_from={speeches}"))
    with pytest.raises(UserError, match="no run with a checkpoint"):
        initial_of(config_of(tmp_path, f"train.init_from={tmp_path}"))
