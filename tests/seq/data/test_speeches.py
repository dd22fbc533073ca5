from collections import Counter

from seq.data import speeches


def test_speeches() -> None:
    texts = speeches.documents()
    assert len(texts) == 249
    assert sum(map(len, texts.values())) == 12_181_093
    assert [name for name in texts if speeches.split_of(name) != "train"] == ["2015-Obama-1", "2016-Obama-1"]
    assert min(dict(speeches.chosen("since-1934"))) == "1934-Roosevelt-1"


def test_recent_speeches_train_more_than_once_and_are_measured_once() -> None:
    once, more = (speeches.chosen(subset) for subset in ("since-1960", "since-1960-recent"))
    assert len(dict(once)) == len(once)
    assert dict(more) == dict(once)
    counts = Counter(name for name, _ in more)
    assert {counts[name] for name in counts if int(name[:4]) < 1981} == {1}
    assert {counts[name] for name in counts if 1997 <= int(name[:4]) < 2009} == {3}
    measured = {name: counts[name] for name in counts if speeches.split_of(name) != "train"}
    assert measured == {speeches.TEST: 1, speeches.VALIDATION: 1}
    assert counts["2010-Obama-1"] == 4
