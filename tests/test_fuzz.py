"""Every reader on what no one should give it: only the documented errors come out.

`make fuzz` gives each reader its full share, 50,000 inputs in all; the tests a twentieth of it.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launch.rendezvous import first_host
from seq.config import Config, DataConfig
from seq.config.read import load_config, override_config
from seq.data.conll import read_conll
from seq.data.corpus import Corpus, prepare_corpus
from seq.data.examples import Examples
from seq.data.tokenizer import Tokenizer
from seq.errors import UserError
from seq.inference.rows import harmless, rows_of_file
from seq.models import Model, build_model
from seq.report import write_report
from seq.report.record import RunRecord
from seq.run.checkpoint import (
    describe_run,
    errors_as_damage,
    load_checkpoint,
    load_for_resume,
    params_sha256,
    serialize,
)
from seq.run.directory import RunDirectory
from seq.run.model_files import write_model
from seq.run.recorded import RecordedSteps
from seq.run.trained import load_exported, load_trained
from seq.tasks import TASKS, TrainedModel, task_of
from seq.training.state import TrainState
from tests.helpers import ROOT, alone

pytestmark = pytest.mark.slow

SHARE = 1.0 if os.environ.get("LOCKSTEP_FUZZ") == "full" else 0.05


def inputs(number: int) -> Callable[[Any], Any]:
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=int(number * SHARE), deadline=None, suppress_health_check=checks)


def documented(read: Callable[[], Any], mention: str = "") -> Any:
    """What `read` gives, or None where it refuses with a message that has `mention`."""
    try:
        return read()
    except UserError as error:
        if not str(error) or mention not in str(error):
            raise AssertionError(f"no advice: {error}") from error
        return None


@contextmanager
def holding(path: Path, content: bytes) -> Iterator[None]:
    """The file with another content, which is gone afterwards, though not all damage is noticed and put right."""
    whole = path.read_bytes()
    path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(whole)


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """The file with a few bits flipped, a piece cut out, doubled or replaced, or its end missing."""
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 3))):
        begin = draw(st.integers(0, len(content)))
        end = min(len(content), begin + draw(st.integers(0, 40)))
        match draw(st.sampled_from(["flip", "cut", "end", "double", "replace"])):
            case "flip" if begin < len(content):
                content[begin] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del content[begin:end]
            case "end":
                del content[begin:]
            case "double":
                content[begin:begin] = content[begin:end]
            case "replace":
                content[begin:end] = draw(st.binary(max_size=40))
    return bytes(content)


Anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)


@inputs(1500)
@given(data=st.data())
def test_pages(tmp_path: Path, data: st.DataObject) -> None:
    """A report shows what it reads or says that it is damaged; no text of the run becomes a tag."""
    (tmp_path / "config.yaml").write_text("")
    lines = st.dictionaries(st.sampled_from(["step", "text", "prompt", "label", "event", "split", "loss"]), Anything)
    written = [{"step": 1, "event": "train", "loss": 1.0}, {"step": 1, "text": "<script>", "prompt": "<b>"}]
    whole = [line | data.draw(lines) for line in written]
    for name in ("metrics.jsonl", "samples.jsonl"):
        (tmp_path / name).write_text("".join(json.dumps(line) + "\n" for line in whole))
    page = documented(lambda: write_report([tmp_path]), "damaged")
    assert page is None or "<script>" not in page.read_text()


CONFIGS = [path.read_bytes() for path in sorted((ROOT / "configs").glob("*.yaml"))]


@inputs(8900)
@given(content=st.sampled_from(CONFIGS).flatmap(damaged) | st.binary(max_size=300))
def test_configs(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.yaml").write_bytes(content)
    documented(lambda: load_config(tmp_path / "config.yaml"))


KEYS = st.sampled_from(["run", "run.name", "optimizer.lr", "batch.shards", "data.files", "model.kind", "x.y"])


@inputs(6000)
@given(word=st.text(max_size=40) | st.tuples(KEYS, Anything).map(lambda pair: f"{pair[0]}={json.dumps(pair[1])}"))
def test_overrides(word: str) -> None:
    documented(lambda: override_config(Config(), [word], where="fuzz"))


@dataclass(frozen=True, repr=False)
class Trained:
    """A small run's config and data, its checkpoint as bytes and as read, its model, and the folder that it is exported to."""

    config: Config
    corpus: Corpus
    checkpoint: bytes
    state: dict[str, Any]
    model: Model
    exported: Path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("trained")
    (folder / "rows.csv").write_text("text,label\n" + "".join(f"ab{n},{n % 3}\n" for n in range(40)))
    small = (
        "data.source=csv",
        f"data.files.train={folder / 'rows.csv'}",
        "model.hidden_size=2",
        "model.embedding_dim=2",
    )
    config = override_config(Config(), [*small, f"data.cache_dir={folder / 'cache'}"], where="test")
    corpus = prepare_corpus(config.data, task=TASKS["classification"])
    with alone():
        state = TrainState.create(config, corpus, torch.device("cpu")).state_dict()
    path, exported = folder / "step-00000000.pt", folder / "model"
    path.write_bytes(serialize(state | describe_run(config, corpus) | {"ledger": {"compute": 1.0}}).getvalue())
    model = build_model(config, vocab_size=corpus.tokenizer.vocab_size, num_outputs=len(corpus.labels))
    exported.mkdir()
    write_model(exported, model, config, corpus, 1)
    return Trained(config, corpus, path.read_bytes(), load_checkpoint(path), model, exported)


def _plain(value: Any) -> str:
    return json.dumps(value, default=lambda tensor: tensor.tolist(), sort_keys=True)


@inputs(5000)
@given(data=st.data())
def test_checkpoints(tmp_path: Path, trained: Trained, data: st.DataObject) -> None:
    """Damaged ones are refused, or the damage is where nothing is read: then they say what they always said."""
    config, corpus, whole = trained.config, trained.corpus, trained.checkpoint
    path = tmp_path / "step-00000000.pt"
    path.write_bytes(data.draw(damaged(whole) | st.binary(max_size=300)))
    found = documented(lambda: load_for_resume([path], config, corpus), str(path))
    assert found is None or _plain(found.state) == _plain(trained.state)
    documented(lambda: load_trained(path, torch.device("cpu")), str(path))


@inputs(2000)
@given(data=st.data())
def test_checkpoints_with_other_contents(tmp_path: Path, trained: Trained, data: st.DataObject) -> None:
    """Sound files, in which a part is missing or is something else."""
    config, corpus, state = trained.config, trained.corpus, dict(trained.state)
    path = tmp_path / "step-00000000.pt"
    key = data.draw(st.sampled_from(["model", "config", "tokenizer", "outputs", "data", "progress", "format"]))
    state[key] = data.draw(Anything)
    path.write_bytes(serialize(state).getvalue() if key != "format" else serialize({}).getvalue())
    documented(lambda: load_trained(path, torch.device("cpu")), str(path))
    documented(lambda: load_for_resume([path], config, corpus), str(path))


LINES = (
    b'{"event": "train", "step": 1, "loss": 0.5, "grad_norm": 1.0, "wall_seconds": 2.0}\n{"step": 2, "gradients": {}}\n'
)


@inputs(5000)
@given(content=damaged(LINES) | st.binary(max_size=200) | Anything.map(lambda value: json.dumps(value).encode()))
def test_what_a_run_recorded(tmp_path: Path, content: bytes) -> None:
    for name in ("metrics.jsonl", "digests.jsonl", "result.json"):
        (tmp_path / name).write_bytes(content)
    recorded = RecordedSteps.read(tmp_path)
    recorded.differences(RecordedSteps.of(recorded.last_step, 1.0, 1.0, {}), recorded.last_step)
    directory = RunDirectory(tmp_path)
    assert directory.wall_seconds() >= 0
    documented(directory.read_result, "result.json")


@inputs(2500)
@given(
    content=damaged(LINES)
    | Anything.map(lambda value: json.dumps({"event": "train", "step": 1, "loss": value}).encode())
)
def test_what_a_report_reads(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.yaml").write_text("")
    for name in ("metrics.jsonl", "samples.jsonl"):
        (tmp_path / name).write_bytes(content)
    record = documented(lambda: RunRecord.read(tmp_path), str(tmp_path))
    for axis in ("step", "tokens", "time"):
        for split in (None, "validation"):
            x, y = record.curve("loss", axis, split)
            assert len(x) == len(y)


@inputs(1500)
@given(data=st.data())
def test_exported_models(trained: Trained, data: st.DataObject) -> None:
    folder = trained.exported
    path = folder / data.draw(st.sampled_from(["config.json", "tokenizer.json", "model.safetensors"]))
    with holding(path, data.draw(damaged(path.read_bytes()) | st.binary(max_size=200))):
        loaded = documented(lambda: load_exported(folder, torch.device("cpu")), str(folder))
    assert loaded is None or params_sha256(loaded.model) == params_sha256(trained.model)


@inputs(2500)
@given(data=st.data())
def test_prepared_data(trained: Trained, data: st.DataObject) -> None:
    """A damaged cache is noticed to the last bit, and made anew."""
    config, corpus = trained.config, trained.corpus
    assert config.data.cache_dir is not None
    files = sorted(Path(config.data.cache_dir).glob("*/*.*"))
    path = data.draw(st.sampled_from([file for file in files if file.suffix in (".npy", ".json")]))
    with holding(path, data.draw(damaged(path.read_bytes()) | st.binary(max_size=200))):
        assert prepare_corpus(config.data, task=TASKS["classification"]).fingerprint == corpus.fingerprint


@inputs(3500)
@given(text=st.text(max_size=200), kind=st.sampled_from(["characters", "bytes"]))
def test_texts(text: str, kind: Any) -> None:
    """Of a character that is not in the vocabulary, the unknown id; bytes come back as they were."""
    tokenizer = Tokenizer.train(kind, ["abc"], lowercase=False, min_count=1)
    decoded = tokenizer.decode(tokenizer.encode([text]).values.tolist())
    assert kind == "characters" or decoded == text.encode("utf-8", "replace").decode()


FILES = {
    "csv": b'text,label\nAnna,x\n"Bo, b",y\nCarl,x\n',
    "json": b'{"text": "Anna", "label": "x"}\n{"text": "Bo", "label": "y"}\n',
    "text": b"one line\n\nand another\n",
}


@inputs(600)
@given(data=st.data())
def test_data_files(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(FILES)))
    folder = tmp_path_factory.mktemp("files")
    (folder / f"rows.{kind}").write_bytes(data.draw(damaged(FILES[kind]) | st.binary(max_size=200)))
    words = [f"data.source={kind}", f"data.files.train={folder / f'rows.{kind}'}", f"data.cache_dir={folder / 'cache'}"]
    config = override_config(Config(), words, where="fuzz").data
    corpus = documented(
        lambda: prepare_corpus(config, task=TASKS["language_modeling" if kind == "text" else "classification"])
    )
    assert corpus is None or len(corpus.splits["train"]) >= 1


CONLL = b"-DOCSTART- O\n\nThe DT B-NP\ndog NN I-NP\n\nbarks VB O\n"


@inputs(4000)
@given(content=damaged(CONLL) | st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_tagged_lines(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tagged.txt"
    path.write_bytes(content)
    config = DataConfig(source="text", tokenizer="tokens")

    def read() -> Examples:
        return read_conll("train", [path], config)

    examples = documented(read)
    assert examples is None or len(examples.texts) == len(examples.targets)


TABLES = {
    ".csv": b'text,label,more\nAnna,x,1\n"Bo, b",y,\n"two\nlines",z,=1\n',
    ".tsv": b"text\tlabel\nAnna\tx\nBo\ty\n",
    ".jsonl": b'{"text": "Anna", "n": 1}\n{"text": ["a", "b"]}\n',
    ".txt": b"Anna\nBo\n\nCarl\n",
}


@inputs(4000)
@given(data=st.data())
def test_tables_to_predict(tmp_path: Path, trained: Trained, data: st.DataObject) -> None:
    """Rows in their order; as CSV, nothing that a spreadsheet would run."""
    suffix = data.draw(st.sampled_from(sorted(TABLES)))
    path = tmp_path / f"rows{suffix}"
    path.write_bytes(data.draw(damaged(TABLES[suffix]) | st.binary(max_size=200)))
    config, corpus = trained.config, trained.corpus
    model = TrainedModel(trained.model, config, task_of(config), corpus.tokenizer, corpus.outputs, 1)
    rows = documented(lambda: list(rows_of_file(model, path, ["text"])), str(path))
    for number, row in enumerate(rows or (), 1):
        assert row.number == number
        for cell in row.cells.values():
            safe = harmless(cell)
            assert not isinstance(safe, str) or safe[:1] not in ("=", "@", "\t", "\r")


@inputs(1000)
@given(data=st.data())
def test_tokenizers(data: st.DataObject) -> None:
    """The vocabulary of a checkpoint or an exported model, with a part of it replaced."""
    kind: Any = data.draw(st.sampled_from(["characters", "bytes", "words", "subwords", "tokens"]))
    saved = Tokenizer.train(kind, ["abc abd", "abe"], lowercase=False, min_count=1, vocab_size=300).to_dict()
    part = data.draw(st.sampled_from(sorted(saved)))
    bits = damaged(saved.get("model", "").encode()).map(lambda content: content.decode("utf-8", "replace"))
    saved[part] = data.draw(bits | Anything if part == "model" else Anything)

    def read() -> list[int]:
        with errors_as_damage(Path("model")):
            tokenizer = Tokenizer(**saved)
            ids = tokenizer.encode(["abc x"]).values.tolist()
            return [tokenizer.vocab_size, len(tokenizer.decode(ids)), *ids]

    documented(read, "model")


@inputs(2000)
@given(text=st.text(max_size=40) | st.from_regex(r"[a-z]{1,5}\[[0-9,-]{0,12}\]?,?[a-z0-9]*", fullmatch=True))
def test_node_lists(text: str) -> None:
    """What SLURM calls the nodes."""
    try:
        assert first_host(text)
    except RuntimeError as error:
        assert "set MASTER_ADDR" in str(error)  # noqa: PT017
