"""Two hosts, the network between them, and another user."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.chaos.run import LIMIT, Run, wait_until_gone, workers

NOBODY = 65534


@dataclass(frozen=True)
class Host:
    """Where a torchrun runs: by itself a process of this machine, or in a network namespace of its own."""

    address: str = "127.0.0.1"
    namespace: str | None = None

    @property
    def before(self) -> list[str]:
        """What starts a program there. By itself, gloo takes the interface of this machine's name."""
        return ["ip", "netns", "exec", self.namespace, "env", "GLOO_SOCKET_IFNAME=cable"] if self.namespace else []

    def link(self, state: str) -> None:
        """Take the cable out (`down`), or put it in again (`up`)."""
        subprocess.run([*self.before, "ip", "link", "set", "cable", state], check=True)


HERE = Host()


def _two_hosts(
    run: Run, *more: str, first: Host = HERE, second: Host = HERE, slow: float = 0.0
) -> Callable[[], subprocess.Popen[str]]:
    """Two torchruns, `--nnodes=1:2`, with a process each, and no memory that both share. `run.process` is the first, which
    keeps the store; what is returned starts the second, as often as it is called. `slow`: seconds more for each step."""
    port = _free_port()
    where = ["--rdzv-backend=c10d", f"--rdzv-endpoint={first.address}:{port}"]
    launcher = ["--nnodes=1:2", f"--rdzv-id={run.folder.name}", *where]
    conf = "--rdzv-conf=last_call_timeout=8,is_host="
    fault = ("other_hosts", str(slow))
    here = [*launcher, f"{conf}1", f"--local-addr={first.address}"]
    run.begin(*more, size=1, fault=fault, launcher=here, before=first.before)
    probe = [*first.before, "grep", "-qi", f":{port:04X} [0-9A-F:]* 0A", "/proc/net/tcp", "/proc/net/tcp6"]
    run.wait_until(lambda: not subprocess.run(probe, check=False, stderr=subprocess.DEVNULL).returncode, "store")
    there = [*launcher, f"{conf}0", f"--local-addr={second.address}"]
    return lambda: run.start(*more, size=1, fault=fault, launcher=there, before=second.before)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _kill_host(second: subprocess.Popen[str]) -> None:
    for victim in [psutil.Process(second.pid), *psutil.Process(second.pid).children(recursive=True)]:
        victim.kill()
    second.wait()


def _wait_for_both(run: Run) -> None:
    run.wait_until(lambda: run.position() and _size(run) == 2, "step on both hosts")
    run.at_some_step()


def _size(run: Run) -> int:
    sizes: list[int] = [line["world_size"] for line in run.lines() if line["event"] in ("start", "resume")]
    return sizes[-1]


def host_lost(run: Run) -> None:
    """One of two hosts is lost, and the other goes on alone."""
    second = _two_hosts(run)()
    _wait_for_both(run)
    _kill_host(second)
    run.wait_until(lambda: run.recovered, "step without the lost host")
    assert _size(run) == 1


def host_comes_back(run: Run) -> None:
    """One of two hosts is lost, the other goes on alone, and a new one joins it. With torch 2.13 the two torchruns may not find
    each other again (pytorch#147064): then they end after a minute, and the run is saved."""
    start_second = _two_hosts(run, slow=0.4)
    second = start_second()
    _wait_for_both(run)
    _kill_host(second)
    run.wait_until(lambda: run.recovered, "step without the lost host")
    again = start_second()
    while run.alive() and _size(run) != 2:
        time.sleep(0.1)
    if run.alive():
        run.stop()
    again.wait(LIMIT)


def host_lost_while_preparing(run: Run) -> None:
    """One of two hosts is lost while one prepares the data in a cache that both use. The other one waits for it as long as
    `run.timeout_seconds` and a minute say."""
    cache = run.folder / "shared-cache"
    second = _two_hosts(run, f"data.cache_dir={cache}", "run.timeout_seconds=12")()
    run.wait_until(lambda: list(cache.glob("*.lock")), "preparation")
    run.struck()
    _kill_host(second)


def host_warned(run: Run) -> None:
    """SIGTERM to one of two torchruns, as for a host that is taken away: all ranks of both save and end."""
    second = _two_hosts(run)()
    _wait_for_both(run)
    family = workers(second) + (workers(run.process) if run.process else [])
    second.send_signal(signal.SIGTERM)
    second.wait(LIMIT)
    psutil.wait_procs(family, timeout=LIMIT)
    if run.process and run.alive():
        run.process.kill()  # torchrun waits up to five minutes for the other one
        run.process.wait()
    assert "preempted" in (run.directory / "result.json").read_text()


def _two_namespaces(run: Run) -> tuple[Host, Host] | None:
    """Two hosts with a cable between them. They are gone when their last process has ended. None if that is not allowed here."""
    name = f"lockstep-{os.getpid()}-{run.folder.name}"
    first, second = Host("10.99.0.1", f"{name}-a"), Host("10.99.0.2", f"{name}-b")
    if os.geteuid() or subprocess.run(["ip", "netns", "add", first.namespace or ""], check=False).returncode:
        return None
    cable = f"ip -n {first.namespace} link add cable type veth peer name cable netns {second.namespace}"
    for command in (f"ip netns add {second.namespace}", cable):
        subprocess.run(command.split(), check=True)
    for host in (first, second):
        for command in (f"addr add {host.address}/24 dev cable", "link set lo up", "link set cable up"):
            subprocess.run([*host.before, "ip", *command.split()], check=True)
    return first, second


def _forget(hosts: tuple[Host, Host]) -> None:
    for host in hosts:
        subprocess.run(["ip", "netns", "del", host.namespace or ""], check=True)


def network_away(run: Run) -> None:
    """The network between two hosts is gone for four seconds: the ranks wait, and go on."""
    hosts = _two_namespaces(run)
    if hosts is None:
        return
    second = _two_hosts(run, first=hosts[0], second=hosts[1])()
    try:
        _wait_for_both(run)
        hosts[1].link("down")
        time.sleep(4)
        hosts[1].link("up")
        run.wait_until(lambda: run.recovered, "step after the network is back")
        assert _size(run) == 2
        run.stop()
        second.wait(LIMIT)
    finally:
        _forget(hosts)


def network_cut(run: Run) -> None:
    """The network between two hosts is cut for good: the first goes on alone, the process of the second one ends."""
    hosts = _two_namespaces(run)
    if hosts is None:
        return
    second = _two_hosts(run, "run.timeout_seconds=12", first=hosts[0], second=hosts[1])()
    try:
        _wait_for_both(run)
        cut_off = workers(second)
        hosts[1].link("down")
        run.wait_until(lambda: run.recovered, "step without the other host")
        assert _size(run) == 1
        wait_until_gone(cut_off)
    finally:
        _kill_host(second)  # its torchrun asks for the store again and again
        _forget(hosts)


def started_twice(run: Run) -> None:
    """A second start in the same run directory is refused, and disturbs nothing."""
    with _suspended(run):
        _refused(run, "another process is running there")


def started_by_another_user(run: Run) -> None:
    """The same by somebody who may read the directory, but not write there (needs root)."""
    if os.geteuid():
        return
    with _suspended(run):
        _give(run.folder, NOBODY)
        # Root without its privileges: it owns Python's files, but not the run's any more.
        _refused(run, "cannot be written", before=["setpriv", "--bounding-set=-all", "--inh-caps=-all"])
        _give(run.folder, os.geteuid())


def _give(folder: Path, user: int) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, user, -1, follow_symlinks=False)


@contextmanager
def _suspended(run: Run) -> Iterator[None]:
    """The run trains, and must not end before something else has been tried."""
    process = run.at_some_step()
    family = [psutil.Process(process.pid), *workers(process)]
    for one in family:
        one.suspend()
    try:
        yield
    finally:
        for one in family:
            one.resume()


def _refused(run: Run, message: str, before: Sequence[str] = ()) -> None:
    earlier = run.said(message)
    assert run.start(size=1, restarts=0, before=before).wait(LIMIT) == 1
    assert run.said(message) > earlier, run.log[-2000:]


HOST_FAULTS: tuple[Callable[[Run], None], ...] = (
    *(host_lost, host_comes_back, host_lost_while_preparing, host_warned, network_away, network_cut),
    *(started_twice, started_by_another_user),
)
