"""How the processes of one attempt find each other: a prefix of their own in the launcher's store."""

import os
import re
import secrets
import time
from datetime import timedelta

import torch.distributed as dist
from torch.distributed import (  # type: ignore[attr-defined]
    FileStore,
    HashStore,
    PrefixStore,
    Store,
    rendezvous,
)

from launch.context import Launch, LaunchError

POLL_SECONDS = 0.02
ANOTHER_RUN = "another"
"""The answer to a process of another run, followed by the name of this one."""


def attempt_store(process: Launch, timeout: timedelta, run: str = "") -> Store:
    """A store that only the processes of this attempt use. LaunchError if the one at this address belongs to another run than `run`.

    torchrun's agent keeps its store across restarts, with the addresses of dead processes in it (pytorch#135712). The
    restart count cannot tell attempts apart, because each of several agents has its own. So rank 0 draws a token and
    sends it to every rank that calls.
    """
    store = _launcher_store(process, timeout)
    token = _hand_out_token(store, process, timeout, run) if process.is_main else _ask_for_token(store, process, run)
    return PrefixStore(f"attempt-{token}", store)


def _hand_out_token(store: Store, process: Launch, timeout: timedelta, run: str) -> str:
    """A call may come from a dead process. A live process overwrites it; only a live process acknowledges the token. A call from
    another run, which has the same MASTER_PORT by accident, gets this run's name instead."""
    token, missing = secrets.token_hex(8), set(range(1, process.world_size))
    give_up = time.monotonic() + timeout.total_seconds()
    while missing:
        for rank in list(missing):
            if store.check([f"call/{rank}"]):
                call, _, caller = store.get(f"call/{rank}").decode().partition(" ")
                store.set(f"token/{call}", token if caller == run else f"{ANOTHER_RUN} {run}")
            if store.check([f"acknowledged/{token}/{rank}"]):
                missing.remove(rank)
        if time.monotonic() > give_up:
            raise dist.DistNetworkError(f"ranks {sorted(missing)} did not start within {timeout.total_seconds():.0f} s")
        time.sleep(POLL_SECONDS)
    return token


def _ask_for_token(store: Store, process: Launch, run: str) -> str:
    call = secrets.token_hex(8)
    store.set(f"call/{process.rank}", f"{call} {run}")
    token, _, other = store.get(f"token/{call}").decode().partition(" ")
    if token == ANOTHER_RUN:
        address = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        raise LaunchError(
            f"{address} belongs to another run, {other!r}, and not to {run!r}; set MASTER_PORT to another port"
        )
    store.set(f"acknowledged/{token}/{process.rank}", "")
    return str(token)


def _launcher_store(process: Launch, timeout: timedelta) -> Store:
    if process.launcher == "python":
        return HashStore()
    if file := os.environ.get("LOCKSTEP_STORE"):  # `lockstep train --processes` opens no port
        return FileStore(file, process.world_size)
    if process.launcher == "srun":
        _set_srun_rendezvous()
    elif "MASTER_ADDR" not in os.environ:
        raise LaunchError(
            "RANK and WORLD_SIZE are set, but not MASTER_ADDR and MASTER_PORT; use torchrun, or unset them"
        )
    store: Store
    store, _, _ = next(rendezvous("env://", process.rank, process.world_size, timeout=timeout))
    return store


def _set_srun_rendezvous() -> None:
    """srun gives no address. Rank 0 runs on the step's first node, which may not be the one where srun was typed. The
    port depends on the job and the step, so that those on one node differ; it is below the ports that Linux assigns by itself."""
    step = int(os.environ.get("SLURM_STEP_ID", "0"))
    os.environ.setdefault("MASTER_ADDR", first_host(os.environ.get("SLURM_STEP_NODELIST", "127.0.0.1")))
    os.environ.setdefault("MASTER_PORT", str(20000 + (int(os.environ.get("SLURM_JOB_ID", "0")) + 101 * step) % 12000))


def first_host(nodelist: str) -> str:
    """`gpu[07-09,12],login1` -> `gpu07`."""
    match = re.match(r"([^,\[]+)(?:\[(\d+)[^\]]*\]([^,]*))?", nodelist)
    if match is None:
        raise RuntimeError(f"SLURM_STEP_NODELIST={nodelist!r} names no host; set MASTER_ADDR")
    return "".join(part or "" for part in match.groups())
