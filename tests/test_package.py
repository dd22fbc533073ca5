"""The wheel, in an environment that has nothing of this repository."""

import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

import seq
from tests.helpers import ROOT
from tests.runs import few_rows, result, words

pytestmark = [pytest.mark.slow, pytest.mark.extended]

PARTS = ("train_ddp.py", "launch", "seq", "configs", "slurm", "pyproject.toml", "README.md")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment with the wheel, which finds the packages that it needs where the tests' are."""
    folder = tmp_path_factory.mktemp("package")
    (folder / "source").mkdir()
    for name in PARTS:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / "source" / name)
    build: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        folder,
    ]
    subprocess.run([*build, folder / "source"], check=True)
    venv.create(folder / "env", with_pip=True)
    (wheel,) = folder.glob("*.whl")
    python = folder / "env" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", wheel], check=True)
    # Only the folder: `.pth` files in it, such as that of an editable lockstep, are not read.
    (own,) = (folder / "env" / "lib").glob("python*/site-packages")
    (own / "packages.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "env" / "bin"


def test_lockstep(installed: Path, tmp_path: Path) -> None:
    def lockstep(*words: str | Path, cwd: Path = tmp_path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([installed / "lockstep", *words], cwd=cwd, capture_output=True, text=True, check=False)

    assert lockstep("--version").stdout == f"lockstep {seq.__version__}\n"
    assert "  predict " in lockstep().stdout
    wrong = lockstep("predikt")
    assert (wrong.returncode, wrong.stderr) == (2, "error: lockstep predikt: no such command; did you mean predict?\n")
    name, *overrides = words(tmp_path, "names", *few_rows(tmp_path), "run.name=a")
    done = lockstep("train", name, *overrides, "--processes=2")
    assert done.returncode == 0, done.stderr
    assert result(tmp_path / "a")["world_size"] == 2
    in_a_clone = lockstep("train", "--processes", "2", name, *overrides, "run.name=clone", cwd=ROOT)
    assert in_a_clone.returncode == 0, in_a_clone.stderr
    refused = lockstep("train", "--processes", "2", name, *overrides, "optimizer.lrr=1")
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[1:] == ["  optimizer.lrr: unknown key; did you mean optimizer.lr?"]
    again = lockstep("train", "names", *overrides)  # a config of ours, by its name
    assert "already finished at step 12" in again.stdout, again.stderr
    for command, said in (
        (("predict", tmp_path / "a", "aaa14"), "aaa14\t"),
        (("evaluate", tmp_path / "a"), "accuracy"),
        (("export", tmp_path / "a", "--format", "onnx"), "model.onnx"),
        (("report", tmp_path / "a"), "report.html"),
        (("replay", tmp_path / "a", "--step", "3"), "as recorded"),
        (("inspect", name, *overrides), "tokens"),
    ):
        done = lockstep(*command)
        assert done.returncode == 0, done.stderr
        assert said in done.stdout
    where = subprocess.run(
        [
            installed / "python",
            "-c",
            "import seq, seq.entry.train_ddp as train_ddp; print(seq.__file__, seq.__version__, train_ddp.__file__)",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert where[0].startswith(str(installed.parent))
    assert where[1] == seq.__version__
    assert where[2].startswith(str(installed.parent))
    site = Path(where[0]).parents[1]
    shipped = {path.name for path in (ROOT / "configs").iterdir()}
    assert {path.name for path in (site / "seq" / "configs").iterdir()} == shipped
    assert (site / "seq" / "slurm" / "job.sh").exists()
    assert not (site / "configs").exists()
    assert not (site / "train_ddp.py").exists()
    assert not (site / "slurm").exists()
