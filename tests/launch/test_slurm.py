import os
import subprocess
from pathlib import Path

import pytest

from launch import slurm
from launch.slurm import Job, SlurmError, gpus_in, seconds, submit


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("90", 5400),
        ("2:30", 150),
        ("2:00:00", 7200),
        ("1-0", 86400),
        ("1-2:30", 95400),
        ("1-2:30:15", 95415),
        ("unlimited", float("inf")),
    ],
)
def test_seconds(time: str, expected: float) -> None:
    assert seconds(time) == expected


@pytest.mark.parametrize("time", ["", "soon", "1:2:3:4", "-1", "1.5"])
def test_no_time_limit(time: str) -> None:
    with pytest.raises(ValueError, match="is no time limit"):
        seconds(time)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [("0", 0), ("4", 4), ("a100:4", 4), ("gpu", 1), ("gpu:2", 2), ("gpu:a100:2,tmpfs:9G", 2), ("gpu:a:1,gpu:b:2", 3)],
)
def test_gpus_of_a_request(request_: str, expected: int) -> None:
    assert gpus_in(request_) == expected


def _job(tmp_path: Path) -> Job:
    return Job(
        name="a b",
        log=tmp_path / "job-%j.out",
        nodes=2,
        gpus_per_node="a100:4",
        ranks_per_node=4,
        time="2:00:00",
        options=("--qos=long",),
    )


def test_script_passes_every_word_as_it_is(tmp_path: Path) -> None:
    """Quotes, spaces and dollars of the user's words reach the trainer; bash reads the script as it was meant."""
    words = ["configs/x y.yaml", 'generation.prompts=["My $fellow", "it\'s"]']
    job = _job(tmp_path)
    assert job.world_size == 8
    script = job.script(words)
    assert "#SBATCH --gpus-per-node=a100:4\n" in script
    assert "#SBATCH --cpus-per-task=8\n" in script
    assert "#SBATCH --qos=long\n" in script
    assert "#SBATCH '--job-name=a b'\n" in script
    (tmp_path / "job.sh").write_text('with_torchrun() { printf "%s|" "$@"; }')
    (tmp_path / "job.sbatch").write_text(script.replace(f"source {slurm.SCRIPTS}/job.sh", f"source {tmp_path}/job.sh"))
    done = subprocess.run(["bash", tmp_path / "job.sbatch"], capture_output=True, text=True, check=True)
    assert done.stdout == "|".join(words) + "|"


def test_submission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sbatch = tmp_path / "sbatch"
    monkeypatch.setenv("PATH", f"{tmp_path}:/nowhere")
    with pytest.raises(SlurmError, match="there is no sbatch here"):
        submit(tmp_path / "job.sbatch")
    for program, job in (("echo '17;cluster'", 17), ("echo 18", 18)):
        sbatch.write_text(f"#!/bin/sh\n{program}\n")
        sbatch.chmod(0o755)
        assert submit(tmp_path / "job.sbatch") == job
    sbatch.write_text("#!/bin/sh\necho 'sbatch: error: invalid partition' >&2\nexit 1\n")
    with pytest.raises(SlurmError, match="sbatch: error: invalid partition"):
        submit(tmp_path / "job.sbatch")
    assert os.access(sbatch, os.X_OK)


SCRIPTS = sorted((Path(__file__).parents[2] / "slurm").iterdir())


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_bash_can_read_the_scripts(path: Path) -> None:
    assert subprocess.run(["bash", "-n", path], check=False).returncode == 0
