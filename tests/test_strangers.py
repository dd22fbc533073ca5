"""Files from strangers: no code runs, no other file is written, the memory has a bound, and nothing steers terminal or spreadsheet.

`tests/test_fuzz.py` has damaged and random files; the ones here were made with care.
"""

import io
import json
import multiprocessing
import os
import pickle
import resource
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import yaml

from seq.command_line import exit_code
from seq.config import DataConfig
from seq.config.read import load_config
from seq.data.tables import Form, read_table
from seq.data.text_files import bounded_lines, refuse_format
from seq.errors import UserError, warn
from seq.inference.formats import export_model
from seq.inference.model_card import model_card
from seq.inference.rows import harmless
from seq.log.console import print_result
from seq.report import write_report
from seq.run.checkpoint import load_checkpoint
from seq.run.directory import RunDirectory
from seq.run.json_lines import read_lines
from seq.run.trained import load_exported, load_trained
from tests.helpers import run
from tests.runs import few_rows, result, words

CPU = torch.device("cpu")
ROOM = 1 << 30
"""Bytes that a reader may take before it refuses a file."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small finished run."""
    folder = tmp_path_factory.mktemp("runs")
    done = run("python", "train_ddp.py", *words(folder, "names", *few_rows(folder), "run.name=run"))
    assert done.returncode == 0, done.stderr
    return folder / "run"


class Attack:
    """Pickled, it is a command."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.victim),)


def test_no_code_runs(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    torch.save({"format": Attack(victim)}, tmp_path / "step-00000001.pt")
    (tmp_path / "old.pt").write_bytes(pickle.dumps(Attack(victim)))
    (tmp_path / "config.yaml").write_text(f"run: !!python/object/apply:os.mkdir ['{victim}']\n")
    for read in (
        lambda: load_checkpoint(tmp_path / "step-00000001.pt"),
        lambda: load_checkpoint(tmp_path / "old.pt"),
        lambda: load_config(tmp_path / "config.yaml"),
    ):
        with pytest.raises(UserError):
            read()
    assert not victim.exists()


# ---- memory -------------------------------------------------------------------------------------------------------


def _claiming(exported: Path, folder: Path, **model: Any) -> Callable[[], object]:
    """An exported model whose config says that it is larger."""
    folder.mkdir()
    for file in exported.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    about = json.loads((folder / "config.json").read_text())
    about["config"]["model"] |= model
    (folder / "config.json").write_text(json.dumps(about))
    return lambda: load_exported(folder, CPU)


def _zip_bomb(path: Path) -> Callable[[], object]:
    """A megabyte that unpacks to a gigabyte, among the parts of a sound checkpoint."""
    torch.save({"format": 1}, path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/9", bytes(1 << 30))
    return lambda: load_trained(path, CPU)


def _laughs(path: Path) -> Callable[[], object]:
    """Each list has ten times the one before it."""
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    path.write_text("\n".join(lines))
    return lambda: load_config(path)


def _long_line(path: Path, first: bytes) -> Path:
    """Two gigabytes without a line end; they take no room on the disk."""
    with path.open("wb") as file:
        file.write(first)
        file.truncate(2 << 30)
    return path


def _large_header(path: Path) -> Callable[[], object]:
    path.mkdir()
    for name in ("config.json", "tokenizer.json"):
        (path / name).write_text("{}")
    (path / "model.safetensors").write_bytes((10 << 30).to_bytes(8, "little") + b"{}")
    return lambda: load_exported(path, CPU)


def _devices(folder: Path) -> Iterator[Callable[[], object]]:
    for name, device in (("zero", "/dev/zero"), ("pipe", None)):
        path = folder / f"{name}.yaml"
        path.symlink_to(device) if device else os.mkfifo(path)
        yield lambda path=path: load_config(path)  # type: ignore[misc]
    (folder / "result.json").symlink_to("/dev/zero")
    yield RunDirectory(folder).read_result


def _attacks(folder: Path, exported: Path) -> dict[str, Callable[[], object]]:
    csv = _long_line(folder / "rows.csv", b"text,label\n")
    config = DataConfig(source="csv")
    return {
        "hidden_size": _claiming(exported, folder / "hidden", hidden_size=20000),
        "ngram_buckets": _claiming(exported, folder / "buckets", ngrams=8, ngram_buckets=200_000_000),
        "embedding_dim": _claiming(exported, folder / "embedding", embedding_dim=20_000_000),
        "num_layers": _claiming(exported, folder / "layers", num_layers=1_000_000_000),
        "safetensors header": _large_header(folder / "header"),
        "zip bomb": _zip_bomb(folder / "step-00000001.pt"),
        "YAML aliases": _laughs(folder / "laughs.yaml"),
        "long row": lambda: list(read_table(csv, "csv", Form.of(config))),
        "long row to predict": lambda: list(bounded_lines(csv.open())),
        "large config": lambda: load_config(csv),
        **{f"device {n}": attack for n, attack in enumerate(_devices(folder))},
    }


def _attack(folder: Path, exported: Path, outcomes: Any) -> None:
    """In a process that gets no more memory than `ROOM` beside what it has."""
    torch.set_num_threads(1)
    attacks = _attacks(folder, exported)
    limit = psutil.Process().memory_info().vms + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for name, attack in attacks.items():
        try:
            attack()
            outcomes[name] = "not refused"
        except UserError:
            outcomes[name] = "refused"
        except BaseException as error:
            outcomes[name] = repr(error)
    lines = list(read_lines(_long_line(folder / "metrics.jsonl", b'{"step": 1}\n')))
    outcomes["long line of metrics"] = "refused" if lines == [{"step": 1}] else "read"


@pytest.mark.slow
def test_memory_has_a_bound(finished: Path, tmp_path: Path) -> None:
    forkserver = multiprocessing.get_context("forkserver")
    with forkserver.Manager() as manager:
        outcomes = manager.dict()
        process = forkserver.Process(target=_attack, args=(tmp_path, finished / "model", outcomes))
        process.start()
        process.join(120)
        assert process.exitcode == 0
        assert set(outcomes.values()) == {"refused"}, dict(outcomes)
        assert len(outcomes) == 14


@pytest.mark.parametrize("begin", [b"PK\x03\x04", b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ", bytes(257) + b"ustar"])
def test_archives_are_not_unpacked(tmp_path: Path, begin: bytes) -> None:
    path = tmp_path / "rows.parquet"
    path.write_bytes(begin)
    with pytest.raises(UserError, match="archive; unpack it first"):
        refuse_format(path)


# ---- what people look at ------------------------------------------------------------------------------------------

STEERING = "\x1b]0;title\x07\x1b[31m\x9b31m\u202egnp.exe"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_nothing_steers_a_terminal(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", terminal)

    def fail() -> int:
        raise UserError(f"no column {STEERING}")

    warn(f"new label {STEERING}")
    assert exit_code(fail) == 2
    print_result(finished, result(finished) | {"params_sha256": STEERING, "split": STEERING})
    terminal.write(str(harmless(STEERING)))
    seen = terminal.getvalue()
    assert seen.count("gnp.exe") == 5
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(seen)


@pytest.mark.parametrize("text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_spreadsheet_runs_nothing(text: str) -> None:
    assert harmless(text) == f"'{text}"


@pytest.mark.parametrize("cell", ["-5", "+3.2", "-1e-5", "a=b", "", 7, None])
def test_other_cells_stay(cell: Any) -> None:
    assert harmless(cell) == cell


def test_predictions_as_csv(finished: Path) -> None:
    done = run("python", "-m", "seq.predict", finished, "=HYPERLINK(1)", "--csv")
    assert done.stdout.splitlines()[1].startswith("'=HYPERLINK(1),")


def test_the_card_shows_labels_and_runs_nothing(finished: Path) -> None:
    trained = load_exported(finished / "model", CPU)
    label = "<img src=x onerror=alert(1)> | [x](http://x) `"
    outputs = type(trained.outputs)(labels=(label, *trained.labels[1:]))
    about = result(finished)
    about["environment"]["command"] = "train `$(reboot)` <b>"
    card = model_card(trained.model, trained.config, trained.task, replace(trained, outputs=outputs), about)
    assert "<img" not in card
    assert r"&lt;img src=x onerror=alert(1)&gt; \| \[x\](http://x) \`" in card
    assert "`train '$(reboot)' <b>`" in card


# ---- paths --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/b", "..", ".hidden", "a\nb", "a\0b", ""])
def test_run_names_are_no_paths(tmp_path: Path, name: str) -> None:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"run": {"name": name}}))
    with pytest.raises(UserError, match=r"run\.name"):
        load_config(tmp_path / "config.yaml")


@pytest.mark.parametrize("entry", ["model", "metrics.jsonl", "wandb-id", "checkpoints"])
def test_an_export_follows_no_link(finished: Path, tmp_path: Path, entry: str) -> None:
    copy = tmp_path / "run"
    copy.mkdir()
    (copy / entry).symlink_to(tmp_path / "victim")
    trained = load_exported(finished / "model", CPU)
    with pytest.raises(UserError, match="is a symbolic link"):
        export_model(copy, trained.model, trained.config, trained.task, trained, result(finished))
    assert not (tmp_path / "victim").exists()


ODD = [10**400, -1, 1e999, "x", [], {}, None, True]


@pytest.mark.parametrize("key", ["step", "epoch", "world_size", "best", "eval", "ledger", "classes", "labels", "data"])
def test_an_odd_result_is_shown_or_refused(finished: Path, tmp_path: Path, key: str) -> None:
    (tmp_path / "config.yaml").write_bytes((finished / "config.yaml").read_bytes())
    for value in ODD:
        (tmp_path / "result.json").write_text(json.dumps(result(finished) | {key: value}))
        _report_or_advice(tmp_path)


@pytest.mark.parametrize("key", ["step", "loss", "tokens_seen", "wall_seconds", "event", "split"])
def test_odd_metrics_are_shown_or_refused(finished: Path, tmp_path: Path, key: str) -> None:
    (tmp_path / "config.yaml").write_bytes((finished / "config.yaml").read_bytes())
    line = {"event": "train", "step": 1, "loss": 1e308, "tokens_seen": 3, "wall_seconds": 0.5}
    for value in ODD:
        (tmp_path / "metrics.jsonl").write_text(json.dumps(line) + "\n" + json.dumps(line | {key: value}) + "\n")
        assert RunDirectory(tmp_path).wall_seconds() >= 0
        _report_or_advice(tmp_path)


def _report_or_advice(folder: Path) -> None:
    advice = ""
    try:
        write_report([folder])
    except UserError as error:
        advice = str(error)
    assert not advice or "damaged" in advice or "earlier release" in advice
