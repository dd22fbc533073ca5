"""Texts of any length are tagged: each token once, and the same whether alone or with others."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import seq
from seq.config.read import parse_config
from seq.data.outputs import Outputs
from seq.data.tokenizer import Tokenizer
from seq.models import build_model
from seq.tasks import TrainedModel, task_of
from seq.tasks.tagging import LoadedTagger, show, tag
from tests.helpers import run, train
from tests.runs import result, words

LABELS = ("A|", "A|,", "a|", "a|.")


def make_tagger(max_length: int = 8) -> TrainedModel:
    about = {"kind": "tagger", "hidden_size": 6, "embedding_dim": 5, "ngrams": 3}
    data = {"tokenizer": "tokens", "max_length": max_length}
    tree = {"model": about, "data": data, "batch": {"tokens": 2 * max_length + 4}}
    config, tokenizer = (
        parse_config(tree, where="test"),
        Tokenizer.train("tokens", ["a b c d"], lowercase=False, min_count=1),
    )
    model = build_model(config, vocab_size=tokenizer.vocab_size, num_outputs=4)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    return TrainedModel(model.eval(), config, task_of(config), tokenizer, Outputs(labels=LABELS), 1)


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 12, 13, 40, 101])
def test_each_token_once(length: int) -> None:
    trained, random = make_tagger(), np.random.default_rng(length)
    text = [str(token) for token in random.choice(["a", "b", "c", "d", "new"], length)]
    alone = tag(trained, [text])[0]
    assert len(alone) == length
    assert tag(trained, [["a"], text, [], text]) == [tag(trained, [["a"]])[0], alone, [], alone]
    if 0 < length <= 8:  # one window: what the model says
        ids = torch.from_numpy(trained.tokenizer.encode([" ".join(text)]).values)[None]
        best = trained.model(ids, torch.tensor([length]))[0][0].argmax(-1)
        assert alone == [LABELS[place] for place in best.tolist()]


def test_a_token_far_from_an_edge_is_tagged_as_in_the_window_that_has_it_in_its_middle() -> None:
    trained = make_tagger()
    text = ["a", "b", "c", "d"] * 6
    # Windows begin at 0, 4, 8, ...; the third writes from its third token on, until the fourth does.
    window = tag(trained, [text[8:16]])[0]
    assert tag(trained, [text])[0][10:14] == window[2:6]


def test_windows_longer_than_all_that_is_read_at_once_and_spaces_in_tokens() -> None:
    assert len(tag(make_tagger(max_length=20_000), [["a", "b"]])[0]) == 2
    assert len(tag(make_tagger(), [["a b", "c"]])[0]) == 2


def test_what_people_see() -> None:
    trained = make_tagger()
    assert show(trained, ["we", "go"], ["A|,", "a|."]) == "We, go."
    other = replace(trained, outputs=Outputs(labels=("B", "I", "O", "X")))
    assert show(other, ["we", "go"], ["B", "O"]) == "we\tB\ngo\tO\n"


@pytest.mark.slow
def test_from_training_to_use(tmp_path: Path) -> None:
    more = ("train.steps=200", "optimizer.lr=0.02", "evaluation.every_steps=100", "logging.report=true")
    command = words(tmp_path, "tagger", *more, "run.name=t", "checkpoint.monitor=macro_f1_1", "logging.wandb=offline")
    done = train(*command, world_size=2)
    assert done.returncode == 0, done.stderr
    found = result(tmp_path / "t")
    assert found["eval"]["macro_f1_1"] > 0.9  # the first part says whether the number is odd
    assert [row["part"] for row in found["parts"]] == [1, 1, 2, 2]
    page = (tmp_path / "t" / "report.html").read_text()
    assert "Parts of tags" in page
    assert "Samples" in page
    model = seq.load(tmp_path / "t")
    assert isinstance(model, LoadedTagger)
    assert [token for token, _ in model.predict(["1 2 3"])[0]] == ["1", "2", "3"]
    assert [label[0] for _, label in model.predict(["1 2 3"])[0]] == ["A", "a", "A"]
    done = run("python", "-m", "seq.predict", tmp_path / "t", "1 2 3")
    assert done.stdout.strip() == model.restore(["1 2 3"])[0]
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": ["1", "2"]}\n{"text": "' + "3 " * 5000 + '"}\n')
    table = run("python", "-m", "seq.predict", tmp_path / "t", "--file", rows, "--json")
    assert [len(json.loads(line)["prediction"]) for line in table.stdout.splitlines()] == [2, 5000], table.stderr
    endless = run("python", "-m", "seq.predict", tmp_path / "t", "--json", stdin="3 " * 5000 + "\n")
    assert len(json.loads(endless.stdout)["prediction"]) == 5000
    done = run("python", "-m", "seq.predict", tmp_path / "t", stdin="1 2 3\n\n4\n")
    assert done.stdout.splitlines() == [model.restore(["1 2 3"])[0], "", model.restore(["4"])[0]]
    assert run("python", "-m", "seq.evaluate", tmp_path / "t").returncode == 0
    done = run("python", "-m", "seq.inspect", tmp_path / "t" / "config.yaml")
    assert "13 tokens" in done.stdout, done.stderr
    assert run("python", "-m", "seq.generate", tmp_path / "t").returncode == 2
    misused = run("python", "-m", "seq.predict", tmp_path / "t", "1", "--beam", "3")
    assert "--beam is not for this model" in misused.stderr
