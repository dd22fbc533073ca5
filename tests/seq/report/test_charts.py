from seq.report.charts import Curve, line_chart


def test_a_long_curve_keeps_its_end() -> None:
    curve = Curve(label="a", x=list(range(10_000)), y=[0.0] * 9_999 + [7.0], colour="#123456")
    chart = line_chart("title", "x", [curve])
    assert len(chart) < 60_000
    assert chart.startswith("<svg")
    assert line_chart("title", "x", [Curve(label="a", x=[], y=[], colour="#123456")]) == ""
