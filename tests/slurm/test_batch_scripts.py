"""The batch scripts on a real SLURM: two nodes with two ranks each, and a spare; every run ends with the reference's bytes."""

import json
import random
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.check import check, prepare
from tests.chaos.run import Kind, Run
from tests.slurm.cluster import ROOT, Cluster, why_not

pytestmark = [pytest.mark.slurm, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]

TWO_BY_TWO = ("--nodes=2", "--gpus-per-node=2")


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Kind]:
    """The run that nobody disturbs, without SLURM."""
    folder = tmp_path_factory.mktemp("runs")
    return folder, prepare(folder, "names", "train.steps=180", "batch.shards=4")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def run(reference: tuple[Path, Kind], request: pytest.FixtureRequest) -> Run:
    home = reference[0] / request.node.name
    home.mkdir()
    return Run("run", home, random.Random(1), reference[1])


def words(run: Run, *more: str) -> list[str]:
    return [*run.kind.words, f"run.output_dir={run.folder}", f"run.name={run.name}", *more]


def submit(cluster: Cluster, run: Run, *options: str, script: str = "train") -> int:
    output = f"--output={run.folder}/job-%j.out"
    return cluster.sbatch(output, *options, f"slurm/{script}.sbatch", *words(run))


def wait_for_step(run: Run, step: int) -> None:
    limit = time.monotonic() + 90
    while run.last_step() < step:
        assert time.monotonic() < limit, log(run)
        time.sleep(0.05)


def log(run: Run) -> str:
    return "\n".join(path.read_text() for path in sorted(run.folder.glob("**/job-*.out")))


def finished(cluster: Cluster, run: Run, job: int, reference: tuple[Path, Kind]) -> int:
    """It ends with the reference's bytes, in one W&B run; the number of restarts."""
    try:
        restarts = cluster.wait(job, "COMPLETED")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{log(run)}") from None
    check(run)
    assert len(list((run.directory / "wandb").glob("offline-run-*"))) == 1
    return restarts


def test_submit_and_finish(cluster: Cluster, run: Run, reference: tuple[Path, Kind]) -> None:
    """`python -m seq.submit`; the job id and the place of the log are printed."""
    done = cluster.run(
        *("python", "-m", "seq.submit", *words(run), "--nodes", "2", "--gpus-per-node", "a100:2", "--time", "10:00"),
        *("--qos=normal", "--comment=of the tests"),
    )
    assert done.returncode == 0, done.stderr
    job = int(re.findall(r"job (\d+): 2 x 2 processes", done.stdout)[0])
    assert finished(cluster, run, job, reference) == 0
    path = re.findall(r"log: (\S+)", done.stdout)[0].replace("%j", str(job))
    assert "finished at step" in Path(path).read_text()
    assert json.loads((run.directory / "result.json").read_text())["world_size"] == 4


def test_one_task_a_rank(cluster: Cluster, run: Run, reference: tuple[Path, Kind]) -> None:
    job = submit(cluster, run, *TWO_BY_TWO, "--ntasks-per-node=2", script="train_srun")
    assert finished(cluster, run, job, reference) == 0
    assert json.loads((run.directory / "result.json").read_text())["world_size"] == 4


def test_what_would_fail_is_refused_before_it_queues(cluster: Cluster, run: Run) -> None:
    for more, message in (
        (("--nodes", "5"), "5 processes cannot share batch.shards=4; start at most 4"),
        (("optimizer.lrr=1",), "optimizer.lrr: unknown key; did you mean optimizer.lr?"),
        (("data.files.train=/nowhere.csv",), "/nowhere.csv"),
        (("--time", "0:03:00"), "leaves no time to train before the warning"),
        (("--time", "soon"), "'soon' is no time limit"),
        (("--gres=gpu:h200:2",), "Requested node configuration is not available"),
        (("--gres=gpu:a100",), "'gpu:a100' does not say how many GPUs"),
        (("--qos", "long"), "--qos long: write an option of sbatch as one word, --qos=long"),
        (("--nodes", "1", "--partition=nowhere"), "invalid partition specified: nowhere"),
    ):
        done = cluster.run("python", "-m", "seq.submit", *words(run), *more)
        assert (done.returncode, message in done.stderr) == (2, True), done.stderr
        assert "Traceback" not in done.stderr
    assert cluster.run("squeue", "-h").stdout == ""


def test_warned_then_requeued(cluster: Cluster, run: Run, reference: tuple[Path, Kind]) -> None:
    job = submit(cluster, run, *TWO_BY_TWO)
    wait_for_step(run, 20)
    cluster.run("scancel", "--batch", "--signal=USR1", str(job))
    assert finished(cluster, run, job, reference) == 1
    assert [line["event"] for line in run.lines() if line["event"] in ("stop", "resume")] == ["stop", "resume"]
    assert "stopping with a checkpoint" in log(run)


def test_time_limit(cluster: Cluster, run: Run, reference: tuple[Path, Kind]) -> None:
    """A real one: SLURM itself sends the warning. A worker is held until then, lest the run be over too soon."""
    job = submit(cluster, run, *TWO_BY_TWO, "--time=2", "--signal=B:USR1@60")
    wait_for_step(run, 20)
    held = next(cluster.workers(node)[0] for node in cluster.nodes if cluster.workers(node))
    held.suspend()
    limit = time.monotonic() + 120
    while "stopping with a checkpoint" not in log(run):
        assert time.monotonic() < limit, log(run)
        time.sleep(0.2)
    held.resume()
    assert finished(cluster, run, job, reference) == 1
    assert [line["event"] for line in run.lines() if line["event"] in ("stop", "resume")] == ["stop", "resume"]


def test_preempted_by_a_higher_partition(cluster: Cluster, run: Run, reference: tuple[Path, Kind]) -> None:
    job = submit(cluster, run, *TWO_BY_TWO)
    wait_for_step(run, 20)
    first = cluster.sbatch("--partition=high", "--nodes=3", "--exclusive", "--output=/dev/null", "--wrap", "sleep 2")
    cluster.wait(first, "COMPLETED")
    assert finished(cluster, run, job, reference) == 1
    assert [line["event"] for line in run.lines() if line["event"] in ("stop", "resume")] == ["stop", "resume"]


def test_cancelled_then_resumed_on_another_number_of_nodes(
    cluster: Cluster, run: Run, reference: tuple[Path, Kind]
) -> None:
    """`scancel` leaves a checkpoint and no requeue; submitted again, the run goes on, on one node instead of two."""
    job = submit(cluster, run, *TWO_BY_TWO)
    wait_for_step(run, 20)
    cluster.run("scancel", str(job))
    assert cluster.wait(job, "CANCELLED") == 0
    limit = time.monotonic() + 20
    while not (run.directory / "result.json").exists():  # SLURM calls it cancelled while it still saves
        assert time.monotonic() < limit, log(run)
        time.sleep(0.1)
    result = json.loads((run.directory / "result.json").read_text())
    assert (result["status"], result["stopped_by"]) == ("preempted", "SIGTERM")
    assert (run.directory / "checkpoints" / f"step-{result['step']:08d}.pt").exists()
    again = submit(cluster, run, "--nodes=1", "--gpus-per-node=2")
    assert finished(cluster, run, again, reference) == 0
    assert [line["world_size"] for line in run.lines() if line["event"] in ("start", "resume")] == [4, 2]


def test_a_node_is_lost(cluster: Cluster, run: Run, reference: tuple[Path, Kind]) -> None:
    """SLURM requeues the job on the node that is left and the spare one."""
    job = submit(cluster, run, *TWO_BY_TWO)
    wait_for_step(run, 20)
    used = cluster.run("scontrol", "show", "job", "-o", str(job)).stdout
    lost = "node2" if "node[1-2]" in used or "node[2-3]" in used else "node3"
    cluster.kill_node(lost)
    try:
        assert finished(cluster, run, job, reference) == 1
    finally:
        cluster.start_node(lost)


def test_a_worker_is_killed(cluster: Cluster, run: Run, reference: tuple[Path, Kind]) -> None:
    """torchrun restarts it in place, on both nodes; SLURM notices nothing."""
    job = submit(cluster, run, *TWO_BY_TWO)
    wait_for_step(run, 20)
    node = next(node for node in reversed(cluster.nodes) if cluster.workers(node))
    cluster.workers(node)[0].kill()
    assert finished(cluster, run, job, reference) == 0
    assert [line["event"] for line in run.lines() if line["event"] in ("stop", "resume")] == ["resume"]


def test_a_sweep(cluster: Cluster, run: Run, reference: tuple[Path, Kind]) -> None:
    sweep = run.folder / "sweep.txt"
    sweep.write_text("run.seed=1\nrun.seed=2\nrun.seed=1 optimizer.lr=1e-3\n")
    options = ("--array=1-3", "--gpus-per-node=1", f"--output={run.folder}/job-%A_%a.out")
    job = cluster.sbatch(*options, "slurm/sweep.sbatch", str(sweep), *words(run))
    for task in (1, 2, 3):
        cluster.wait(f"{job}_{task}", "COMPLETED")
    digests = [json.loads((run.folder / f"run-{n}" / "result.json").read_text())["params_sha256"] for n in (1, 2, 3)]
    assert digests[0] == reference[1].reference["params_sha256"]
    assert len(set(digests)) == 3


def test_seeds(cluster: Cluster, run: Run, reference: tuple[Path, Kind]) -> None:
    """An array of `seq.submit`, with GPUs asked for by --gres."""
    asked = ("--seeds", "1-2", "--gres=gpu:a100:2", "--time", "10:00")
    done = cluster.run("python", "-m", "seq.submit", *words(run), *asked)
    assert done.returncode == 0, done.stderr
    job = int(re.findall(r"job (\d+): 1 x 2 processes", done.stdout)[0])
    found = []
    for seed in (1, 2):
        cluster.wait(f"{job}_{seed}", "COMPLETED")
        found.append(json.loads((run.folder / f"run-seed{seed}" / "result.json").read_text()))
    assert [each["world_size"] for each in found] == [2, 2]
    assert found[0]["params_sha256"] == reference[1].reference["params_sha256"] != found[1]["params_sha256"]


SITE = """\
module() { echo "module $* $LD_LIBRARY_PATH_OF_NOBODY"; }  # like many, it reads a variable that is not set
module load cuda
MASTER_PORT=31117
CONTAINER="$project/container --bind $project:/data"
SRUN_OPTIONS="--container-mounts=none --unbuffered"
SRUN_OPTIONS=${SRUN_OPTIONS#* }  # the tests' SLURM has no Pyxis
"""
CONTAINER = """\
#!/bin/bash
echo "container $*" >&2
shift 2
exec "$@"
"""


@pytest.mark.parametrize("script", ["train", "train_srun"])
def test_a_site(cluster: Cluster, run: Run, reference: tuple[Path, Kind], script: str) -> None:
    """Modules, a container, options of srun and a port, from slurm/site.sh."""
    project = run.folder / "project"
    shutil.copytree(ROOT / "slurm", project / "slurm")
    for name in ("train_ddp.py", "launch", "seq", "configs"):
        (project / name).symlink_to(ROOT / name)
    (project / "slurm" / "site.sh").write_text(SITE)
    (project / "container").write_text(CONTAINER)
    (project / "container").chmod(0o755)
    options = ("--gpus-per-node=2", f"--export=ALL,LOCKSTEP_DIR={project}", f"--output={run.folder}/job-%j.out")
    tasks = ("--ntasks-per-node=2",) if script == "train_srun" else ()
    job = cluster.sbatch(*options, *tasks, str(project / "slurm" / f"{script}.sbatch"), *words(run))
    assert finished(cluster, run, job, reference) == 0
    said = log(run)
    assert "module load cuda \n" in said
    program = f"container --bind {project}:/data " + ("python " if script == "train_srun" else "torchrun ")
    assert program in said
    assert ("--master-port=31117" in said) == (script == "train")


def test_debug(cluster: Cluster, run: Run, reference: tuple[Path, Kind]) -> None:
    job = submit(cluster, run, script="debug")
    assert finished(cluster, run, job, reference) == 0
