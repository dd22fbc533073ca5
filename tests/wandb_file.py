"""What is in the file of an offline W&B run."""

import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def wandb_history(folder: Path) -> list[dict[str, Any]]:
    """The rows of the newest offline run of a run directory."""
    return [
        {(item.key or "/".join(item.nested_key)): json.loads(item.value_json) for item in record.history.item}
        for record in wandb_records(folder)
        if record.WhichOneof("record_type") == "history"
    ]


def wandb_records(folder: Path) -> Iterator[Any]:
    """The records of an offline run, in LevelDB's log format: blocks of 32 KiB, each record with its checksum."""
    from wandb.proto import wandb_internal_pb2

    (path,) = (folder / "wandb").glob("offline-run-*/*.wandb")
    data, place, parts = path.read_bytes(), 7, b""
    assert data[:4] == b":W&B"
    while place + 7 <= len(data):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        checksum, length, kind = struct.unpack("<IHB", data[place : place + 7])
        piece = data[place + 7 : place + 7 + length]
        assert zlib.crc32(bytes([kind]) + piece) & 0xFFFFFFFF == checksum
        place += 7 + length
        parts = piece if kind in (1, 2) else parts + piece
        if kind in (1, 4):
            record = wandb_internal_pb2.Record()  # type: ignore[attr-defined]
            record.ParseFromString(parts)
            yield record
