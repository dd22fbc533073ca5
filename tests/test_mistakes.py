"""Mistakes that newcomers make: each gives one line that says what is wrong, where, and what to do, and exit code 2.

The table is the list. A config with several faults gives a line for each; everything else gives one.
"""

import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

import train_ddp
from launch import context
from launch.context import Launch, describe_launch, launch_warnings
from launch.group import process_group
from seq.command_line import check_world_size, exit_code
from seq.errors import RunError, UserError
from seq.training.memory import out_of_memory_as_run_error
from tests.helpers import ROOT

Program = Callable[[list[str]], int | None]


@dataclass(frozen=True)
class Mistake:
    what: str
    command: str
    says: str
    """A part of the message, with what to do."""
    files: dict[str, bytes | str] = field(default_factory=dict)


ROWS = "name,origin\n" + "Sloan,Irish\nAdylov,Russian\n" * 5
CSV = "data.source=csv data.files.train=rows.csv data.text=name data.label=origin"


def csv(content: bytes | str) -> dict[str, bytes | str]:
    return {"rows.csv": content}


MISTAKES = [
    # the command line
    Mistake("typo in a key", "train optimizer.lrr=1", "optimizer.lrr: unknown key; did you mean optimizer.lr?"),
    Mistake("key without its section", "train lr=0.1", "lr: unknown key; did you mean optimizer.lr?"),
    Mistake("key in another section", "train train.lr=0.1", "did you mean optimizer.lr?"),
    Mistake("option instead of a setting", "train --lr 0.1", "written section.key=value, such as optimizer.lr=3e-3"),
    Mistake("spaces around =", "train optimizer.lr = 0.1", "without spaces around the `=`"),
    Mistake("decimal comma", "train optimizer.lr=0,1", 'optimizer.lr: must be a number (got "0,1")'),
    Mistake("number as text", 'train train.steps="ten"', 'train.steps: must be a whole number (got "ten")'),
    Mistake("out of range", "train model.output_dropout=1.5", "model.output_dropout: must be less than 1 (got 1.5)"),
    Mistake("unknown choice", "train train.precision=fp8", "train.precision: must be 'fp32', 'tf32', 'bf16' or 'fp16'"),
    Mistake("wrong path of the config", "train config/names.yaml", "did you mean configs/names.yaml?"),
    Mistake("config of a wrong name", "train nmes", "did you mean configs/names.yaml?"),
    Mistake("unknown kind of model", "train model.kind=gru", "model.kind: there is no kind 'gru'; there are 'classifier', 'language_model', 'tagger', 'seq2seq'"),
    Mistake("text or texts", "train data.text=[1]", "data.text: must be text, or a list of texts (got [1])"),
    Mistake("no list", "train generation.prompts=a", "generation.prompts: must be a list, such as [a, b] (got"),
    Mistake("a value for a section", "train data.files=3", "data.files: must be a section with keys (got 3)"),
    Mistake("two configs", "train configs/names.yaml configs/speeches.yaml", "one config at a time"),
    Mistake("not YAML", "train bad.yaml", "bad.yaml: not valid YAML", {"bad.yaml": "train: {steps: [1"}),
    Mistake("tab in YAML", "train bad.yaml", "indent with spaces, not with tabs", {"bad.yaml": "train:\n\tsteps: 1\n"}),
    Mistake("key twice", "train bad.yaml", "line 3: key 'steps' is given twice; keep one", {"bad.yaml": "train:\n  steps: 1\n  steps: 2\n"}),
    Mistake("a key of the other kind of model", "train model.kind=language_model model.bidirectional=true", "model.bidirectional: unknown key; it belongs to another model.kind"),
    Mistake("name with a slash", "train run.name=a/b", "run.name: Name of the run directory: letters, digits"),
    Mistake("no shards", "train batch.shards=0", "batch.shards: must be greater than 0 (got 0)"),
    Mistake("tied, of two sizes", "train configs/speeches.yaml model.tie_weights=true", "tie_weights needs embedding_dim (64) = hidden_size (384)"),
    Mistake("free running for a classifier", "train train.teacher_forcing=0.5", "is for language models and encoder-decoders only; leave it at 1.0"),
    Mistake("stateful order of paragraphs", "train configs/speeches.yaml data.unit=paragraph", "set data.unit=document"),
    Mistake("batch below one sequence", "train batch.tokens=8", "batch.tokens (8) must hold one sequence"),
    Mistake("compressed, but ordered", "train sync.compress=bf16", "compress needs reduction=allreduce"),
    Mistake("an encoding that is none of text", "train data.encoding=hex", "data.encoding: Python knows no encoding 'hex'"),
    Mistake("unknown encoding", "train data.encoding=utf9", "Python knows no encoding 'utf9'; such as utf-8, latin-1"),
    # hardware
    Mistake("tf32 without a GPU", "train train.precision=tf32", "needs a GPU; on a CPU use fp32"),
    # the data
    Mistake("file instead of source", "train data.files.train=rows.csv", "is not read with data.source=names", csv(ROWS)),
    Mistake("path as the source", "train data.source=rows.csv", "write data.source=csv data.files.train=rows.csv", csv(ROWS)),
    Mistake("no such file", "train data.source=csv data.files.train=none.csv", "none.csv: there is no such file (looked in"),
    Mistake("no file at all", "train data.source=csv", "needs data.files.train"),
    Mistake("empty file", f"train {CSV}", "the file is empty", csv("")),
    Mistake("only a header", f"train {CSV}", "no row with text", csv("name,origin\n")),
    Mistake("wrong column", f"train {CSV} data.text=surname", "no column 'surname' (data.text); columns are name, origin", csv(ROWS)),
    Mistake("no label column", f"train {CSV} data.label=country", "no column 'country' (data.label)", csv(ROWS)),
    Mistake("semicolons", f"train {CSV}", "is data.delimiter=';' meant?", csv(ROWS.replace(",", ";"))),
    Mistake("Latin-1", f"train {CSV}", "line 2 is not utf-8; set data.encoding, such as cp1252", csv("name,origin\nM\u00fcller,German\n".encode("latin-1"))),
    Mistake("UTF-16", f"train {CSV}", "such as utf-16", csv(ROWS.encode("utf-16"))),
    Mistake("empty text", f"train {CSV}", "row 2: the text is empty (1 such rows); data.empty=drop", csv("name,origin\nA,b\n,b\n")),
    Mistake("empty label", f"train {CSV}", "row 2: column 'origin' (data.label) is empty", csv("name,origin\nA,b\nA,\n")),
    Mistake("too long", f"train {CSV} data.max_length=4", "raise data.max_length, or set data.too_long=truncate or drop", csv(ROWS)),
    Mistake("label only in the test file", f"train {CSV} data.files.test=test.csv", "test row 1: label 'Elvish' does not occur in the training data", csv(ROWS) | {"test.csv": "name,origin\nA,Elvish\n"}),
    Mistake("broken quotes", f"train {CSV}", "row 1: has 1 fields, and the table has 2", csv('name,origin\n"A,b\n1,2,3,4\n5,6\n')),
    Mistake("two formats in a folder", "train data.source=mixed", "error: data.source=mixed: the folder must hold files of one format, it has csv and text", {"mixed/a.csv": ROWS, "mixed/b.txt": "x"}),
    Mistake("speeches for a classifier", "train data.source=speeches", "has no labels; use model.kind=language_model"),
    Mistake("unknown subset", "train configs/speeches.yaml data.subset=since-2020", "has the subsets since-1790 to since-2014"),
    # other tasks
    Mistake("a tagger of characters", "train model.kind=tagger model.path=auto", "a tagger reads whole tokens"),
    Mistake("no number", "train data.source=csv data.files.train=rows.csv data.text=name data.label=origin model.target=number", "train row 1: column 'origin' (data.label) holds 'Irish', not a number", csv(ROWS)),
    Mistake("tags and tokens", "train configs/punctuation.yaml data.source=csv data.subset=null data.files.train=rows.csv", "train row 1: 2 tokens, but 1 tags; each token needs one", csv("text,label\na b,X\n")),
    Mistake("a token without a tag", "train configs/punctuation.yaml data.source=text data.subset=null data.files.train=rows.csv", "line 1 has a token and no tag", csv("EU\n")),
    Mistake("sounds for a classifier", "train data.source=pronunciation run.auto_hyperparameters=true model.kind=tagger data.tokenizer=tokens", "run.auto_hyperparameters=true has no rules for model.kind=tagger"),
    Mistake("words for a tagger", "train configs/speeches.yaml data.source=punctuation", "use model.kind=tagger, or data.source=speeches"),
    # runs
    Mistake("another config in the same run", "train train.epochs=3 run.output_dir=. run.name=old", "choose another run.name, or start over with --fresh", {"old/config.yaml": "train: {epochs: 2}\n"}),
    Mistake("folder that is no run", "train run.output_dir=. run.name=old", "holds files, but no run", {"old/thesis.txt": "x"}),
    Mistake("damaged result", "train run.output_dir=. run.name=old", "damaged; delete it", {"old/result.json": "{", "old/config.yaml": "SAME"}),
    Mistake("output in a file", "train run.output_dir=rows.csv", "cannot be written; choose another run.output_dir", csv(ROWS)),
    Mistake("not yet trained", "predict runs/none Sloan", "no run with a checkpoint; train one first: python train_ddp.py CONFIG"),
    Mistake("no report of nothing", "report runs/none", "no run (no config.yaml); train one first"),
    Mistake("a typo in a run", "predict runs/nmaes Sloan", "did you mean runs/names?", {"runs/names/config.yaml": "SAME"}),
    Mistake("a typo in a run to replay", "replay runs/nmaes --step 3", "did you mean runs/names?", {"runs/names/config.yaml": "SAME"}),
    Mistake("another name", "evaluate runs/x", "there are runs/a, runs/b", {"runs/a/config.yaml": "SAME", "runs/b/config.yaml": "SAME"}),
    Mistake("export to nowhere", "export runs/a --output none/model.onnx", "there is no folder none"),
    Mistake("top of nothing", "predict runs/a Sloan --top 0", "--top must be at least 1"),
    Mistake("no nodes", "submit --nodes 0", "at least 1"),
    Mistake("damaged checkpoint", "predict old Sloan", "damaged or no checkpoint of lockstep", {"old/checkpoints/step-00000001.pt": b"PK\x03\x04 and no more"}),
    Mistake("init_from nothing", "train train.init_from=runs/none", "runs/none: no run with a checkpoint"),
    Mistake("too short a job", "submit --time 0:01:00", "leaves no time to train before the warning"),
    Mistake("inspect a typo", "inspect data.sauce=csv", "data.sauce: unknown key; did you mean data.source?"),
]  # fmt: skip


def program(name: str) -> Program:
    if name == "train":
        return train_ddp.main
    main: Program = importlib.import_module(f"seq.{name}" + ".__main__" * (name == "report")).main
    return main


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.what)
def test_one_line_says_what_to_do(
    mistake: Mistake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    for name, content in mistake.files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        content = (ROOT / "configs" / "names.yaml").read_text() if content == "SAME" else content
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    name, *arguments = mistake.command.split()
    assert exit_code(lambda: program(name)(arguments)) == 2
    message = capsys.readouterr().err
    assert not torch.distributed.is_initialized()
    assert message.startswith("error: ")
    assert mistake.says in message
    assert "Traceback" not in message
    lines = message.strip().splitlines()
    assert len(lines) == 1 or all(line.startswith("  ") for line in lines[1:])
    assert all(len(line) < 400 for line in lines)


def test_there_are_forty() -> None:
    assert len({mistake.what for mistake in MISTAKES}) == len(MISTAKES) >= 40


def test_too_many_processes() -> None:
    with pytest.raises(
        UserError, match=r"5 processes cannot share batch\.shards=4; start at most 4 \(or set batch\.shards=5"
    ):
        check_world_size(5, 4)


def test_out_of_memory() -> None:
    from tests.seq.training.test_memory import batch_of

    with (
        pytest.raises(RunError, match=r"8 rows x 30 time steps; lower batch\.tokens"),
        out_of_memory_as_run_error(batch_of(8, 30, range(1))),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory")


def test_missing_packages(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert exit_code(lambda: train_ddp.main(["logging.tensorboard=true"])) == 2
    assert "pip install tensorboard" in capsys.readouterr().err


GPUS = {
    "forgotten torchrun": (4, "python", {}, "torchrun --standalone --nproc_per_node=4"),
    "more processes than GPUs": (2, "torchrun", {"LOCAL_WORLD_SIZE": "4"}, "4 processes share 2 GPU(s)"),
    "old driver": (0, "python", {}, "torch cannot use it"),
}


@pytest.mark.parametrize("case", GPUS)
def test_gpus_that_are_not_used(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpus, launcher, environment, says = GPUS[case]
    driver = tmp_path / "version"
    monkeypatch.setattr(context, "NVIDIA_DRIVER", driver)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    process = Launch(launcher=launcher, rank=0, local_rank=0, world_size=1)
    without_driver = list(launch_warnings(process))
    assert len(without_driver) == (1 if gpus else 0)
    driver.write_text("NVRM version 470")
    (warning,) = launch_warnings(process)
    assert says in warning


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"RANK": "0", "WORLD_SIZE": "1"}, "but not MASTER_ADDR"),
        ({"RANK": "x", "WORLD_SIZE": "2"}, "RANK='x' is not a number"),
    ],
)
def test_variables_of_a_launcher_that_are_wrong(
    variables: dict[str, str], says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    def join() -> None:
        with process_group(describe_launch(), timeout_seconds=5):
            pass

    assert exit_code(join) == 2
    assert says in capsys.readouterr().err


def test_an_old_launcher_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(lambda: train_ddp.main(["names", "--local-rank=0"])) == 2
    assert "start it with torchrun instead" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.extended
def test_a_user_without_a_name_and_a_home(tmp_path: Path) -> None:
    """As in a container that is started with `--user 54321`."""
    as_nobody = ["unshare", "--user", "--map-user=54321", "--map-group=54321"]
    if shutil.which("unshare") is None or subprocess.run([*as_nobody, "true"], capture_output=True).returncode:
        pytest.skip("this machine has no user namespaces")
    unset = {"HOME", "USER", "LOGNAME", "XDG_CACHE_HOME"}
    env = {key: value for key, value in os.environ.items() if key not in unset} | {"TMPDIR": str(tmp_path)}
    run = [sys.executable, "train_ddp.py", "names", "train.steps=2", "logging.wandb=offline", "run.name=a"]
    done = subprocess.run(
        [*as_nobody, *run, f"run.output_dir={tmp_path}"], env=env, cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert f"this user has no home directory; {tmp_path / 'lockstep-54321'} is used instead" in done.stderr
    assert (tmp_path / "lockstep-54321" / ".cache" / "lockstep").is_dir()


@pytest.mark.slow
@pytest.mark.extended
def test_not_logged_in_to_wandb(tmp_path: Path) -> None:
    from tests.helpers import train
    from tests.runs import words

    home = {"HOME": str(tmp_path), "WANDB_API_KEY": "", "NETRC": str(tmp_path / "netrc")}
    done = train(*words(tmp_path, "names", "run.name=a", "logging.wandb=online", "train.steps=2"), env=home)
    assert done.returncode == 0, done.stderr
    assert "wandb login" in done.stdout
    assert json.loads((tmp_path / "a" / "result.json").read_text())["status"] == "finished"


def test_a_metric_to_monitor_without_rows_to_validate_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rows.csv").write_text("text,label\none,a\ntwo,b\n")
    words = ["classifier", f"data.files.train={tmp_path / 'rows.csv'}", f"run.output_dir={tmp_path}"]
    assert exit_code(lambda: train_ddp.main([*words, "checkpoint.monitor=accuracy"])) == 2
    assert "there are no validation rows (validation: none, because" in capsys.readouterr().err
