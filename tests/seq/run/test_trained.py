"""Several runs as one."""

from pathlib import Path
from typing import Any

import pytest

from seq.config.read import parse_config
from seq.data.outputs import Outputs
from seq.data.tokenizer import Tokenizer
from seq.errors import UserError
from seq.models import build_model
from seq.run import trained
from seq.run.trained import load_ensemble
from seq.tasks import TrainedModel, task_of


def member(lowercase: bool = False, **data: object) -> TrainedModel:
    tree = {"data": data, "model": {"kind": "classifier", "hidden_size": 4, "embedding_dim": 4}}
    config, outputs = parse_config(tree, where="test"), Outputs(labels=("a", "b"))
    tokenizer = Tokenizer(kind="characters", characters="abc", lowercase=lowercase)
    model = build_model(config, vocab_size=tokenizer.vocab_size, num_outputs=2)
    return TrainedModel(model.eval(), config, task_of(config), tokenizer, outputs, 1)


@pytest.mark.parametrize("other", [{"max_length": 12}, {"text": ["title", "body"]}, {"lowercase": True}], ids=str)
def test_members_that_read_otherwise_are_refused(other: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The text is read once for all members: the first one's way would change the others' answers."""
    members = {Path("one"): member(), Path("two"): member(**other), Path("three"): member(text="another")}
    monkeypatch.setattr(trained, "load_run", lambda run, *_: members[run])
    load_ensemble([Path("one"), Path("three")])
    with pytest.raises(
        UserError, match=r"two: has other labels, numbers, characters \(or case\), data\.max_length or columns"
    ):
        load_ensemble([Path("one"), Path("two")])


def test_the_order_of_columns_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    members = {Path("one"): member(text=["title", "body"]), Path("two"): member(text=["body", "title"])}
    monkeypatch.setattr(trained, "load_run", lambda run, *_: members[run])
    with pytest.raises(UserError, match="columns"):
        load_ensemble([Path("one"), Path("two")])
