"""`model.class` and `train.loss`: the example of docs/extending.md, and code that is wrong or not trusted."""

import re
import shutil
from pathlib import Path

import pytest

import seq
from seq.config.own_code import TRUST, own_code, trusting
from seq.config.read import dump_config, load_config
from seq.errors import UserError
from seq.tasks.classification import LoadedClassifier
from tests.helpers import ROOT, run, run_many
from tests.runs import result, words

(EXAMPLE,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "extending.md").read_text(), flags=re.DOTALL)
OWN = "data:\n  max_length: 32\nmodel:\n  class: my_net:Mean\ntrain:\n  loss: my_net:focal\n"


@pytest.fixture(autouse=True)
def _nothing_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRUST, "")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A config that names code beside it."""
    (tmp_path / "my_net.py").write_text(EXAMPLE)
    file = tmp_path / "own.yaml"
    file.write_text(OWN)
    return file


@pytest.mark.slow
def test_a_run_of_own_code_is_like_any_other(config: Path, tmp_path: Path) -> None:
    """The same bits at every world size and after a resume, and in use from the run directory alone."""
    settings = [str(config), "--trust-code", *words(tmp_path, "names")[1:]]
    for size in (1, 2, 3):
        run_many(size, [(None, [*settings, f"run.name=w{size}"])])
    whole, *others = (result(tmp_path / f"w{size}") for size in (1, 2, 3))
    run_many(2, [(None, [*settings, "run.name=plain", "model.class=null", "train.loss=null"])])
    for file in ("checkpoints/step-00000012.pt", "result.json"):
        (tmp_path / "w3" / file).unlink()
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    shutil.move(tmp_path / "my_net.py", moved / "my_net.py")
    resumed = [str(tmp_path / "w3"), "--trust-code", f"run.output_dir={tmp_path}"]
    run_many(1, [(None, resumed)])  # with the code that the run keeps
    others.append(result(tmp_path / "w3"))
    assert {each["params_sha256"] for each in others} == {whole["params_sha256"]}
    assert {each["eval"]["loss"] for each in others} == {whole["eval"]["loss"]}
    assert result(tmp_path / "plain")["params_sha256"] != whole["params_sha256"]

    for what in (tmp_path / "w1", tmp_path / "w1" / "model"):
        with pytest.raises(UserError, match=r"model\.class=my_net:Mean: the config brings its own Python code"):
            seq.load(what)
        model = seq.load(what, trust_code=True)
        assert isinstance(model, LoadedClassifier)
        assert type(model.trained.model).__name__ == "Mean"
        assert model.predict("Adylov") in model.labels
    card = (tmp_path / "w1" / "model" / "README.md").read_text()
    assert "`my_net:Mean`, a class of its own" in card
    assert "bidirectional" not in card
    assert run("python", "-m", "seq.predict", tmp_path / "w1", "Adylov").returncode == 2
    assert run("python", "-m", "seq.replay", tmp_path / "w1", "--step", "12", "--trust-code").returncode == 0
    exported = run("python", "-m", "seq.export", tmp_path / "w1", "--trust-code")
    assert (exported.returncode, (tmp_path / "w1" / "model" / "model.onnx").is_file()) == (0, True), exported.stderr

    (tmp_path / "my_net.py").write_text(EXAMPLE.replace("** 2", "** 3"))
    changed = run("python", "train_ddp.py", *settings, "run.name=w3")
    assert (changed.returncode, "run.code.my_net" in changed.stderr) == (2, True)


UNEXPORTABLE = EXAMPLE.replace(
    "        logits = self.output(",
    "        if len(inputs) > 3:\n            last = last + 1\n            states = states * 2\n        logits = self.output(",
)
"""What a trace does not see."""


@pytest.mark.slow
@pytest.mark.extended
def test_an_onnx_file_that_would_be_wrong_is_not_written(config: Path, tmp_path: Path) -> None:
    (tmp_path / "my_net.py").write_text(UNEXPORTABLE)
    run_many(1, [(None, [str(config), "--trust-code", *words(tmp_path, "names")[1:], "run.name=one"])])
    done = run("python", "-m", "seq.export", tmp_path / "one", "--trust-code", "--output", tmp_path / "one.onnx")
    assert (done.returncode, (tmp_path / "one.onnx").exists()) == (2, False)
    assert "ONNX cannot express your own class (the file computes something else" in done.stderr
    safe = ["--trust-code", "--format", "safetensors"]
    assert run("python", "-m", "seq.export", tmp_path / "one", *safe).returncode == 0


def test_the_config_keeps_the_code(config: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(dump_config(load_config(config)))
    kept = load_config(tmp_path / "run" / "config.yaml")
    assert kept == load_config(config)
    assert kept.run.code == {"my_net": EXAMPLE}
    assert load_config(config, ["model.class=null", "train.loss=null"]).run.code == {}


def test_a_strangers_code_does_not_run(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not beside its config, not inside it, and not if the command line names a class of the same name."""
    (tmp_path / "my_net.py").write_text(f"from pathlib import Path\nPath({str(tmp_path / 'ran')!r}).touch()\n")
    with pytest.raises(UserError, match="add --trust-code"):
        own_code(load_config(config), "train.loss")
    (tmp_path / "run").mkdir()
    file = tmp_path / "run" / "config.yaml"
    file.write_text(dump_config(load_config(config)))
    for program in ("train_ddp.py", "-m seq.inspect", "-m seq.submit"):
        assert "add --trust-code" in run("python", *program.split(), file, f"run.output_dir={tmp_path}").stderr
    monkeypatch.chdir(tmp_path / "run")
    with pytest.raises(UserError, match=r"model.class=my_net:Mean: there is no my_net.py in \. or "):
        load_config(file, ["model.class=my_net:Mean"])
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("class Mean:\n    pass\n", "must derive from seq.models.Classifier"),
        ("x = 1 +\n", r"SyntaxError: invalid syntax \(my_net.py, line 1\)"),
        (
            "import nothing_of_this_name\n",
            "No module named 'nothing_of_this_name'; the file may import installed packages",
        ),
        ("y = 1\ndef f(): pass\n", "my_net.py has no Mean; it has f"),
        (
            "from seq.models import Classifier\nclass Mean(Classifier):\n    def __init__(self): pass\n",
            "takes 1 positional argument",
        ),
    ],
)
def test_code_that_does_not_work_is_refused(config: Path, code: str, message: str) -> None:
    from seq.models import build_model

    (config.parent / "my_net.py").write_text(code)
    found = load_config(config, ["train.loss=null"])
    with trusting(True), pytest.raises((UserError, TypeError), match=message):
        build_model(found, vocab_size=9, num_outputs=3)


@pytest.mark.slow
@pytest.mark.extended
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("* each).sum()", "* each).mean()", "train.loss: must be a sum, but twice the rows give"),
        ("else logits, last\n", "else logits\n", "model.class: `forward` must return two things"),
        ("def focal(", "class focal:\n    pass\n\n\ndef other(", "train.loss=my_net:focal: is no function"),
        (
            "def forward(",
            "def __init__(self) -> None:\n        pass\n\n    def forward(",
            "model.class=my_net:Mean: TypeError: ",
        ),
    ],
)
def test_a_mistake_is_said_in_one_line(config: Path, tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in EXAMPLE
    (tmp_path / "my_net.py").write_text(EXAMPLE.replace(old, new))
    done = run("python", "train_ddp.py", config, "--trust-code", *words(tmp_path, "names")[1:])
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(OWN)
    with pytest.raises(UserError, match=f"model.class=my_net:Mean: there is no my_net.py in {tmp_path}"):
        load_config(tmp_path / "own.yaml")
    with pytest.raises(UserError, match=r"model\.class: A class of your own"):
        load_config(tmp_path / "own.yaml", ["model.class=Mean"])
