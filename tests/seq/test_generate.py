import json
from pathlib import Path

import pytest

from tests.helpers import run

pytestmark = pytest.mark.slow


def test_generate(speeches: Path) -> None:
    command = ("python", "-m", "seq.generate", speeches, "--prime", "99 bottles", "--length", "30")
    first, again, other = (run(*command, *more) for more in ((), (), ("--seed", "2")))
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("99 bottles")
    assert first.stdout == again.stdout != other.stdout
    several = run(*command, "--num", "3", "--temperature", "2", "--top-k", "5", "--top-p", "0.9")
    assert several.stdout.count("99 bottles") >= 3
    coldest = run(*command, "--num", "2", "--temperature", "0").stdout.split("\n" + "-" * 40 + "\n")
    assert coldest[0].strip() == coldest[1].strip()
    unknown = run(*command, "--prime", "99 \u00fc")
    assert "the training text has no '\u00fc'" in unknown.stderr


def test_generate_stops_before_a_text_and_reads_its_prompt_from_a_file(speeches: Path, tmp_path: Path) -> None:
    command = ("python", "-m", "seq.generate", speeches, "--length", "60", "--temperature", "2")
    (tmp_path / "prompt.txt").write_text("99 bottles")
    whole = run(*command, "--prime-file", tmp_path / "prompt.txt").stdout.removesuffix("\n")
    assert whole.startswith("99 bottles")
    stop = whole[20:22]
    for num in ("1", "2"):
        cut = run(*command, "--prime-file", "-", "--stop", stop, "--num", num, stdin="99 bottles").stdout
        if num == "1":
            assert cut.removesuffix("\n") == "99 bottles" + whole.removeprefix("99 bottles").partition(stop)[0]
        assert stop not in cut.replace("99 bottles", "")
    penalised = run(*command, "--prime", "99 bottles", "--repetition-penalty", "1000").stdout
    assert penalised.strip() != whole


def test_generate_interactively_goes_on_with_what_is_typed(speeches: Path) -> None:
    command = ("python", "-m", "seq.generate", speeches, "--length", "20", "--interactive")
    done = run(*command, stdin="99 bottles\n on the\u00fc\n")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= 2
    assert "the training text has no '\u00fc'" in done.stderr


def test_names_are_written_by_label(generator: Path) -> None:
    command = ("python", "-m", "seq.generate", generator)
    ten = run(*command, "--label", "Italian", "--num", "10")
    assert ten.returncode == 0, ten.stderr
    assert len(ten.stdout.splitlines()) == 10
    missing = run(*command, "--label", "Elvish")
    assert missing.returncode == 2
    assert "label 'Elvish' is not a label of the training data; there are Arabic, Chinese" in missing.stderr
    assert "a label is missing" in run(*command).stderr
    samples = [json.loads(line) for line in (generator / "samples.jsonl").read_text().splitlines()]
    assert {sample["label"] for sample in samples} > {"Irish", "Polish"}
