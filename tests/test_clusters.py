"""docs/clusters: each file is what its own schema allows, and its commands train, with processes in the place of pods."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from kubeflow_trainer_api.models import TrainerV1alpha1TrainJob as TrainJob

from tests.helpers import ROOT
from tests.runs import TINY, result

FOLDER = ROOT / "docs" / "clusters"
SKY = ROOT / ".venv-skypilot" / "bin" / "python"
"""SkyPilot needs other versions than we do: `bash tests/skypilot.sh` installs it there."""


def documents(name: str) -> list[Any]:
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


def test_a_kubernetes_job() -> None:
    service, job = documents("indexed-job.yaml")
    for document in (service, job):
        kubernetes_validate.validate(document, "1.34", strict=True)
    assert job["spec"]["template"]["spec"]["subdomain"] == service["metadata"]["name"] == job["metadata"]["name"]
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job | {"spec": job["spec"] | {"completion": 2}}, "1.34", strict=True)


def test_a_train_job() -> None:
    """Kubeflow's own classes read it, and lose nothing of it."""
    (job,) = documents("trainjob.yaml")
    read = TrainJob.from_dict(job)
    assert read is not None
    assert read.to_dict() == job


@pytest.mark.slow
@pytest.mark.extended
@pytest.mark.skipif(not SKY.exists(), reason="no SkyPilot: bash tests/skypilot.sh")
def test_a_skypilot_task() -> None:
    check = "import sys, sky; task = sky.Task.from_yaml(sys.argv[1]); print(task.num_nodes, *task.resources)"
    done = subprocess.run([SKY, "-c", check, FOLDER / "skypilot.yaml"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "A100" in done.stdout


SHORT = [
    *TINY,
    "batch.rows=2",
    "batch.bptt=16",
    "evaluation.window=16",
    "model.ngram_buckets=64",
    "logging.wandb=disabled",
]


@pytest.mark.slow
@pytest.mark.extended
@pytest.mark.parametrize("name", ["indexed-job.yaml", "trainjob.yaml"])
def test_two_pods_train(name: str, tmp_path: Path) -> None:
    """A pod's command, twice on this machine, as the cluster starts it."""
    job = documents(name)[-1]
    own = job["spec"]["trainer"] if "trainer" in job["spec"] else job["spec"]["template"]["spec"]["containers"][0]
    (script,) = own["args"]
    changed = {"lockstep-0.lockstep": "127.0.0.1", "/runs": str(tmp_path), "nproc_per_node=4": "nproc_per_node=1"}
    changed |= {"-m seq.entry.train_ddp": str(ROOT / "train_ddp.py")}  # as it is called where lockstep is installed
    for written, here in changed.items():
        script = script.replace(written, here)
    script = script.replace("speeches batch.shards=8", f"speeches batch.shards=2 {' '.join(SHORT)}")
    env = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    env |= {"PET_NNODES": "2", "PET_NPROC_PER_NODE": "1", "PET_MASTER_ADDR": "127.0.0.1", "PET_MASTER_PORT": "29517"}
    pods = [
        subprocess.Popen([*own["command"], script], env=env | {"JOB_COMPLETION_INDEX": str(n), "PET_NODE_RANK": str(n)})
        for n in range(2)
    ]
    assert [pod.wait(200) for pod in pods] == [0, 0]
    found = result(tmp_path / "speeches")
    assert (found["status"], found["world_size"]) == ("finished", 2)
