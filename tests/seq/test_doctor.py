"""The doctor's verdict."""

from pathlib import Path
from unittest.mock import patch

import pytest
import torch

from seq.config import Config
from seq.doctor import PRODUCTS, differing_products
from seq.run.environment import cpu_name
from tests.helpers import run
from tests.runs import few_rows

pytestmark = pytest.mark.slow


TINY = ("batch.rows=4", "model.hidden_size=8")


def test_a_machine_that_keeps_lockstep(tmp_path: Path) -> None:
    well = run("python", "-m", "seq.doctor", "batch.shards=2", *few_rows(tmp_path), *TINY)
    assert well.returncode == 0, well.stderr
    assert cpu_name() in well.stdout
    assert "lockstep is kept: 2 world sizes, and 200 products of 1 to 8 shards, the same bits." in well.stdout


@pytest.mark.extended
def test_a_setting_that_breaks_it(tmp_path: Path) -> None:
    tiny = (*few_rows(tmp_path), *TINY)
    ill = run("python", "-m", "seq.doctor", "sync.reduction=allreduce", "batch.shards=3", *tiny)
    assert ill.returncode == 1, ill.stderr
    assert "lockstep is NOT kept. With sync.reduction=ordered it is." in ill.stdout


def test_products_that_depend_on_the_number_of_shards() -> None:
    config = Config()
    assert differing_products(config) == []
    with patch("seq.doctor.multiply", lambda left, right: left @ right + (len(left) == 8)):
        found = differing_products(config)
    torch.use_deterministic_algorithms(False)
    assert len(found) == 3 * PRODUCTS
    assert " x " in found[0]


def test_a_fault_in_the_config() -> None:
    faulty = run("python", "-m", "seq.doctor", "data.files.train=rows.csv")
    assert faulty.returncode == 2
    assert faulty.stderr.startswith("error: data.files.train is not read with data.source=names")
    assert "Traceback" not in faulty.stderr
