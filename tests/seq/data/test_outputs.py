from seq.data.outputs import in_order


def test_labels_that_are_numbers_are_in_their_order() -> None:
    assert in_order(["10", "2", "-1", "2", "1.5"]) == ("-1", "1.5", "2", "10")
    assert in_order(["10", "2", "b", "a"]) == ("10", "2", "a", "b")
    assert in_order(["1e3", "nan", "2"]) == ("1e3", "2", "nan")
