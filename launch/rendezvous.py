"""How the processes of one attempt find each other: the launcher's store, and in it a corner of their own."""

import os
import re
import secrets
import time
from datetime import timedelta

import torch.distributed as dist
from torch.distributed import HashStore, PrefixStore, Store, rendezvous  # type: ignore[attr-defined]

from launch.context import Launch

POLL_SECONDS = 0.02


def attempt_store(launch: Launch, timeout: timedelta) -> Store:
    """A store that only the processes of this attempt use.

    torchrun's agent keeps its store across restarts, and with it the addresses of the dead (pytorch#135712). How often
    workers were restarted does not tell the attempts apart: with several agents each has its own count. So rank 0
    draws a token, and hands it to every rank that answers.
    """
    store = _launcher_store(launch, timeout)
    token = _hand_out_token(store, launch, timeout) if launch.is_main else _ask_for_token(store, launch)
    return PrefixStore(f"attempt-{token}", store)


def _hand_out_token(store: Store, launch: Launch, timeout: timedelta) -> str:
    """A call may be of a dead process; the live one overwrites it, and only the live one says thanks."""
    token, missing = secrets.token_hex(8), set(range(1, launch.world_size))
    give_up = time.monotonic() + timeout.total_seconds()
    while missing:
        for rank in list(missing):
            if store.check([f"call/{rank}"]):
                store.set(f"token/{store.get(f'call/{rank}').decode()}", token)
            if store.check([f"thanks/{token}/{rank}"]):
                missing.remove(rank)
        if time.monotonic() > give_up:
            raise dist.DistNetworkError(f"ranks {sorted(missing)} did not start within {timeout.total_seconds():.0f} s")
        time.sleep(POLL_SECONDS)
    return token


def _ask_for_token(store: Store, launch: Launch) -> str:
    call = secrets.token_hex(8)
    store.set(f"call/{launch.rank}", call)
    token: str = store.get(f"token/{call}").decode()
    store.set(f"thanks/{token}/{launch.rank}", "")
    return token


def _launcher_store(launch: Launch, timeout: timedelta) -> Store:
    if launch.launcher == "python":
        return HashStore()
    if launch.launcher == "srun":
        _set_srun_rendezvous()
    store: Store
    store, _, _ = next(rendezvous("env://", launch.rank, launch.world_size, timeout=timeout))
    return store


def _set_srun_rendezvous() -> None:
    """srun gives no address: rank 0 runs on the step's first node (where srun was typed may be another). The job id
    spreads jobs that share a node over ports below those that Linux gives out by itself."""
    os.environ.setdefault("MASTER_ADDR", first_host(os.environ.get("SLURM_STEP_NODELIST", "127.0.0.1")))
    os.environ.setdefault("MASTER_PORT", str(20000 + int(os.environ.get("SLURM_JOB_ID", "0")) % 12000))


def first_host(nodelist: str) -> str:
    """`gpu[07-09,12],login1` -> `gpu07`."""
    match = re.match(r"([^,\[]+)(?:\[(\d+)[^\]]*\]([^,]*))?", nodelist)
    if match is None:
        raise RuntimeError(f"SLURM_STEP_NODELIST={nodelist!r} names no host; set MASTER_ADDR")
    return "".join(part or "" for part in match.groups())
