"""A real SLURM cluster on this machine, for the length of a test: slurmctld, several slurmd and munged, each node in
network, host-name and mount namespaces of its own. Nothing listens outside them, and nothing is left when it stops."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "nsenter", "unshare", "ip")
NETWORK, PORT, GPUS, CPUS = "10.213.77", 16800, 2, 8
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin"


def why_not() -> str | None:
    """Why there can be no cluster here, or None."""
    if os.geteuid() != 0:
        return "needs root"
    missing = [program for program in PROGRAMS if shutil.which(program, path=PATH) is None]
    if missing:
        return f"not installed: {', '.join(missing)} (make slurm-test installs them on Debian)"
    namespaces = ["unshare", "--net", "--uts", "--mount", "true"]
    return None if subprocess.run(namespaces, check=False).returncode == 0 else "may not make namespaces"


class Cluster:
    """`with Cluster() as cluster`. Nodes are node1, node2, ...; partitions `main`, and `high`, which preempts it."""

    def __init__(self, nodes: int = 3) -> None:
        self.folder = folder = Path(tempfile.mkdtemp(prefix="lockstep-slurm-"))
        folder.chmod(0o755)  # munged insists that everyone can come to its socket
        self.nodes = [f"node{number}" for number in range(1, nodes + 1)]
        self._namespaces: dict[str, int] = {}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._env = os.environ | {"PATH": PATH, "SLURM_CONF": str(folder / "slurm.conf")}

    def __enter__(self) -> "Cluster":
        try:
            self._write_files()
            self._start_munge()
            self._make_namespaces()
            self._daemons["slurmctld"] = self._start("slurmctld", *self._inside("ctl"), "slurmctld", "-D", "-c")
            for node in self.nodes:
                self.start_node(node)
            idle = ["sinfo", "-h", "-p", "main", "-N", "-o", "%t"]
            self._until(
                lambda: self.run(*idle).stdout.split() == ["idle"] * len(self.nodes), 60, "the nodes are not idle"
            )
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Jobs first, then every process in our namespaces, then the daemons and the holders of the namespaces."""
        if "ctl" in self._namespaces:
            subprocess.run([*self._inside("ctl"), "scancel", "--user=root"], env=self._env, timeout=10, check=False)
            time.sleep(1)
        for _ in range(3):
            for process in self._on(*self._namespaces):
                process.kill()
        for daemon in self._daemons.values():
            daemon.kill()
            daemon.wait(10)
        shutil.rmtree(self.folder)

    def run(self, *command: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
        """A program, where it sees the cluster."""
        entered = [*self._inside("ctl"), "sh", "-c", 'cd "$0" && exec "$@"', str(cwd), *map(str, command)]
        return subprocess.run(entered, env=self._env, capture_output=True, text=True, timeout=120, check=False)

    def sbatch(self, *words: str | Path, cwd: Path = ROOT) -> int:
        done = self.run("sbatch", "--parsable", *words, cwd=cwd)
        assert done.returncode == 0, done.stderr
        return int(done.stdout)

    def state(self, job: int | str) -> tuple[str, int]:
        """Such as (`RUNNING`, 1): once restarted."""
        shown = self.run("scontrol", "show", "job", "-o", str(job)).stdout
        found = re.search(r" JobState=(\S+) .* Restarts=(\d+) ", shown)
        return (found[1], int(found[2])) if found else ("UNKNOWN", 0)

    def wait(self, job: int | str, state: str, seconds: float = 150) -> int:
        """Until the job is in `state`; its number of restarts."""
        self._until(lambda: self.state(job)[0] == state, seconds, f"job {job} does not come to {state}", job)
        return self.state(job)[1]

    def start_node(self, node: str) -> None:
        daemon = self._start(f"slurmd-{node}", *self._inside(node), "slurmd", "-D", "-N", node)
        self._daemons[node] = daemon

    def kill_node(self, node: str) -> None:
        """As if its power failed. First what could still tell of it: the daemon, and the steps' own."""
        self._daemons[node].kill()
        for process in sorted(self._on(node), key=lambda process: process.name() != "slurmstepd"):
            process.kill()

    def workers(self, node: str) -> list[psutil.Process]:
        """The trainers on a node."""
        found = [process for process in self._on(node) if process.name().startswith("py")]
        return [
            process for process in found if "RANK" in process.environ() and "train_ddp" in " ".join(process.cmdline())
        ]

    def _inside(self, name: str) -> list[str]:
        return ["nsenter", "-t", str(self._namespaces[name]), "-n", "-u", "-m"]

    def _start(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        nothing = subprocess.DEVNULL
        with (self.folder / "log" / f"{name}.out").open("ab") as log:
            return subprocess.Popen(
                command, env=self._env, stdin=nothing, stdout=log, stderr=log, start_new_session=True
            )

    def _until(self, condition: Callable[[], bool], seconds: float, complaint: str, job: int | str = "") -> None:
        limit = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > limit:
                shown = self.run("scontrol", "show", "job", str(job)).stdout if job else ""
                logs = [path.read_text()[-1000:] for path in sorted((self.folder / "log").iterdir())]
                raise AssertionError("\n".join([f"{complaint} within {seconds:.0f} s", shown, *logs]))
            time.sleep(0.2)

    def _on(self, *names: str) -> list[psutil.Process]:
        """All processes in these namespaces but their holders: slurmd, slurmstepd, jobs and what they started."""
        holders = {self._namespaces[name] for name in names}
        spaces = {_namespace(holder) for holder in holders}
        found = [process for process in psutil.process_iter() if _namespace(process.pid) in spaces]
        return [process for process in found if process.pid not in holders]

    def _start_munge(self) -> None:
        munge = self.folder / "munge"
        munge.mkdir(mode=0o711)
        (munge / "key").write_bytes(os.urandom(128))
        (munge / "key").chmod(0o400)
        files = [f"--{part}-file={munge / part}" for part in ("key", "pid", "seed", "log")]
        self._daemons["munged"] = self._start(
            "munged", "munged", "--foreground", f"--socket={munge / 'socket'}", *files
        )
        self._until(lambda: (munge / "socket").exists(), 10, "munged does not answer")

    def _make_namespaces(self) -> None:
        """A holder process for each; a bridge in that of the controller joins them."""
        for name in ("ctl", *self.nodes):
            ready = self.folder / f"{name}.ready"
            hold = f"hostname {name}; mount --bind {self.folder}/hosts /etc/hosts; ip link set lo up; : >{ready}; exec sleep infinity"
            spaces = ["unshare", "--net", "--uts", "--mount", "--propagation", "slave", "sh", "-c", hold]
            self._daemons[f"holder-{name}"] = holder = self._start(f"holder-{name}", *spaces)
            self._namespaces[name] = holder.pid
            self._until(ready.exists, 10, f"no namespace for {name}")
        links = [("ctl", f"link add br0 type bridge; addr add {NETWORK}.1/24 dev br0; link set br0 up")]
        for number, node in enumerate(self.nodes, 1):
            pid = self._namespaces[node]
            links.append(
                ("ctl", f"link add v{number} type veth peer name eth0 netns {pid}; link set v{number} master br0 up")
            )
            links.append((node, f"addr add {NETWORK}.{10 + number}/24 dev eth0; link set eth0 up"))
        for name, commands in links:
            for command in commands.split("; "):
                subprocess.run([*self._inside(name), "ip", *command.split()], check=True)

    def _write_files(self) -> None:
        for part in ("state", "log", "spool", "dev"):
            (self.folder / part).mkdir()
        for number in range(GPUS):  # /dev/null by another name is GPU enough to be counted and handed out
            os.mknod(self.folder / "dev" / f"nvidia{number}", 0o666 | 0o020000, os.makedev(1, 3))
        addresses = {"ctl": f"{NETWORK}.1"} | {node: f"{NETWORK}.{10 + n}" for n, node in enumerate(self.nodes, 1)}
        hosts = "127.0.0.1 localhost\n" + "".join(f"{address} {name}\n" for name, address in addresses.items())
        (self.folder / "hosts").write_text(hosts)
        nodes = "".join(
            f"NodeName={node} NodeHostname={node} NodeAddr={addresses[node]} Port={PORT + 1} CPUs={CPUS} Boards=1 "
            f"SocketsPerBoard=1 CoresPerSocket={CPUS} ThreadsPerCore=1 RealMemory=64000 Gres=gpu:a100:{GPUS} State=UNKNOWN\n"
            for node in self.nodes
        )
        conf = SLURM_CONF.format(folder=self.folder, address=addresses["ctl"], port=PORT, nodes=",".join(self.nodes))
        (self.folder / "slurm.conf").write_text(conf + nodes)
        gpus = f"NodeName={','.join(self.nodes)} Name=gpu Type=a100 File={self.folder}/dev/nvidia[0-{GPUS - 1}]\n"
        (self.folder / "gres.conf").write_text(gpus)
        (self.folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")


def _namespace(pid: int) -> int | None:
    try:
        return os.stat(f"/proc/{pid}/ns/uts").st_ino
    except OSError:
        return None


SLURM_CONF = """ClusterName=lockstep
SlurmctldHost=ctl({address})
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
# cred_expire is also how long a requeued job waits; 120 s if not said.
AuthInfo=socket={folder}/munge/socket,cred_expire=5
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd-%n.log
# No cgroups and no pinning: a container will do.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
MpiDefault=none
MailProg=/bin/true
# The nodes claim more than the machine has.
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
GresTypes=gpu
# Quick, where real clusters take minutes.
SlurmctldTimeout=10
SlurmdTimeout=10
MessageTimeout=5
KillWait=10
UnkillableStepTimeout=30
InactiveLimit=0
WaitTime=0
MinJobAge=3600
ReturnToService=2
JobRequeue=1
EnforcePartLimits=ALL
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=1,bf_interval=1,defer_batch=0
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
# A job in `high` has one in `main` warned, and after the grace time requeued.
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
PartitionName=main Nodes={nodes} Default=YES MaxTime=INFINITE DefaultTime=10 State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=20
PartitionName=high Nodes={nodes} MaxTime=INFINITE DefaultTime=10 State=UP PriorityTier=10 PreemptMode=OFF
"""
