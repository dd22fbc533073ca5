from seq.data.outputs import in_order, table_order


def test_labels_that_are_numbers_are_in_their_order() -> None:
    assert in_order(["10", "2", "-1", "2", "1.5"]) == ("-1", "1.5", "2", "10")
    assert in_order(["10", "2", "b", "a"]) == ("10", "2", "a", "b")
    assert in_order(["1e3", "nan", "2"]) == ("1e3", "2", "nan")


def test_a_table_has_the_largest_classes() -> None:
    """First, unless the labels are numbers and all have room."""
    assert table_order(["1", "2", "10"], [5, 9, 7], 3) == [0, 1, 2]
    assert table_order(["1", "2", "10"], [5, 9, 7], 2) == [1, 2, 0]
    assert table_order(["a", "b", "c"], [5, 9, 7], 3) == [1, 2, 0]
