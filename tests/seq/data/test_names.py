import hashlib

from seq.data import names


def test_names_are_the_table_that_was_measured() -> None:
    """faker is pinned to one release: another table is another data set."""
    rows = names.rows()
    digest = hashlib.sha256("\n".join(f"{name},{origin}" for name, origin in rows).encode()).hexdigest()
    assert (len(rows), len({origin for _, origin in rows})) == (16972, 18)
    assert digest == "4c47e71ce9532993763b6eafb12001543a3f3b9eac8044b3722dd3fcb80fc97f"
    assert sum(names.split_of(name) == "test" for name, _ in rows) == 5696
    assert names.split_of("Sloan") == names.split_of("SLOAN")


def test_fold() -> None:
    assert names.fold("Łukasiewicz-Müller") == "Lukasiewicz-Muller"
    assert names.fold("Щербаков") == "Shcherbakov"
    assert names.fold("Παπαδόπουλος") == "Papadopoylos"
    assert names.fold("O’Neill  Jr.") == "O'Neill Jr"
    assert names.fold("WANG") == "Wang"
