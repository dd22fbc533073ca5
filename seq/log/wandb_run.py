"""Begin or go on with the W&B run of a run directory."""

import os
import re
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any

import wandb

from seq.config import Config
from seq.errors import warn
from seq.files import read_text, write_atomically

ONLINE_TIMEOUT_SECONDS = 10
ALLOWED_ID = re.compile(r"[^\x00-\x1f:;,#?/\\]{1,128}")


def open_wandb_run(folder: Path, config: Config, mode: str) -> Any:
    """The W&B run of the run in `folder`. Its id is kept there, in `wandb-id`. Offline, if it cannot be reached online."""
    _set_aside(folder / "wandb")
    if mode == "online":
        try:
            return _start("online", folder, config)
        except Exception as error:  # wandb raises its own errors, and those of three libraries below it
            reason = " ".join(str(error).split())[:160]
            print(f"W&B cannot be reached ({reason}); the run goes on with logging.wandb=offline", flush=True)
            wandb.teardown()
    return _start("offline", folder, config)


def _set_aside(folder: Path) -> None:
    """Rename offline folders of earlier starts, so that `wandb sync` finds only the newest, which has their history too."""
    for earlier in folder.glob("offline-run-*"):
        earlier.rename(folder / f"superseded-{earlier.name}")


def _start(mode: Any, folder: Path, config: Config) -> Any:
    logging = config.logging
    settings = wandb.Settings(
        console="wrap",
        silent=True,
        init_timeout=ONLINE_TIMEOUT_SECONDS,
        finish_timeout=config.run.timeout_seconds / 2,  # the watchdog ends a run that takes longer
        login_timeout=ONLINE_TIMEOUT_SECONDS,
        x_transaction_log_flush_interval=1.0,  # a killed run loses what was not flushed; the default is 15 s
    )
    return wandb.init(
        mode=mode,
        dir=folder,
        project=logging.project or os.environ.get("WANDB_PROJECT", "lockstep"),
        # None: what the variables of W&B say.
        entity=logging.entity,
        group=logging.group,
        tags=logging.tags,
        notes=logging.notes,
        name=config.run.name,
        id=_run_id(folder),
        resume="allow",
        config=config.model_dump(mode="json"),
        settings=settings,
    )


def _run_id(folder: Path) -> str:
    """Kept with the run; at first, the id that a sweep's agent gives, if there is one. An id that W&B would refuse is replaced."""
    file = folder / "wandb-id"
    if file.exists():
        with suppress(OSError, ValueError):  # not a file, too long, not text
            if ALLOWED_ID.fullmatch(kept := read_text(file, most=1000).strip()):
                return kept
        warn(f"{file}: not an id of W&B; there, the run goes on under a new one")
    write_atomically(file, new := os.environ.get("WANDB_RUN_ID") or secrets.token_hex(4))
    return new
