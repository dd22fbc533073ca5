"""Charts as SVG that fits any width and follows the page's colours."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

COLOURS = ("#3b82d6", "#e0812f", "#2fa36b", "#b061c7", "#c49a1a", "#d64f4f", "#3aa5b0", "#a3684f", "#8a8f98")
"""Colours of lines, readable on light and dark ground."""
_INK = "#010203"
"""Stands for the page's text colour, and is replaced by it."""
MOST_HINTS = 60
"""Number of points of a curve that show their value under the mouse."""
MOST_POINTS = 300
"""Maximum number of points drawn for a curve; from more, this many are chosen evenly."""

_STYLE: Any = {
    "svg.fonttype": "none",  # text stays text: it can be searched, and the page's font draws it
    "text.parse_math": False,  # a `$` in a name is a dollar
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "grid.linewidth": 0.4,
    "grid.alpha": 0.25,
    **dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color"), _INK
    ),
    "grid.color": _INK,
}


@dataclass(frozen=True, kw_only=True)
class Curve:
    label: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str
    marked: bool = False
    """Draw a mark at each point, as for evaluations, which are few."""
    dashed: bool = False
    """Dashes, for a curve that would hide the one below it."""
    best: float | None = None
    """Where on the x axis the best point is, to be marked."""


def line_chart(title: str, xlabel: str, curves: Sequence[Curve], *, log: bool = False) -> str:
    """Curves without points are left out; an empty string if none is left."""
    drawn = [curve for curve in curves if len(curve.x)]
    if not drawn:
        return ""
    with mpl.rc_context(_STYLE):
        figure, axes = _canvas(title, xlabel)
        for curve in drawn:
            every = max(1, -(-len(curve.x) // MOST_POINTS))
            style: Any = {"marker": "o", "markersize": 3.5, "linewidth": 1.6} if curve.marked else {"linewidth": 1.1}
            style |= {"linestyle": (0, (3, 3))} if curve.dashed else {}
            # Backwards, so that the last point is always among those drawn.
            x, y = list(curve.x)[::-1][::every], list(curve.y)[::-1][::every]
            axes.plot(x, y, color=curve.colour, label=curve.label, **style)
            if curve.best is not None:
                axes.axvline(curve.best, color=curve.colour, linewidth=0.8, linestyle=":", label="best step")
        if log and all(value > 0 for curve in drawn for value in curve.y):
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")  # the default writes powers as formulas
            axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1.2, 0.5)))
        if len(drawn) > 1 or any(curve.best is not None for curve in drawn):
            axes.legend(frameon=False, fontsize=8)
        return _svg(figure, title, _hints(figure, axes, xlabel, drawn))


def _hints(figure: Figure, axes: Axes, xlabel: str, curves: Sequence[Curve]) -> str:
    """Return transparent points, at which a browser shows the values."""
    axes.autoscale_view()
    height, found = figure.get_size_inches()[1] * 72, []
    scale = 72 / figure.dpi
    for curve in curves:
        every = max(1, -(-len(curve.x) // MOST_HINTS))
        for x, y in zip(list(curve.x)[::-1][::every], list(curve.y)[::-1][::every], strict=True):
            left, bottom = axes.transData.transform((x, y)) * scale
            said = f"{curve.label}: {y:.6g} at {xlabel} {x:,.6g}"
            place = f'cx="{left:.1f}" cy="{height - bottom:.1f}"'
            found.append(f'<circle {place} r="5" fill="transparent"><title>{escape(said)}</title></circle>')
    return "".join(found)


def reliability_chart(title: str, claimed: Sequence[float], true: Sequence[float]) -> str:
    """The share that is true over the probability that was claimed; on the dotted line, they are equal."""
    with mpl.rc_context(_STYLE):
        figure, axes = _canvas(title, "probability that the model gave")
        axes.set_ylabel("share that is true")
        axes.plot([0, 1], [0, 1], color=_INK, linewidth=0.8, linestyle=":")
        axes.plot(claimed, true, color=COLOURS[0], marker="o", markersize=4, linewidth=1.4)
        curve = Curve(label="share", x=claimed, y=true, colour=COLOURS[0])
        return _svg(figure, title, _hints(figure, axes, "probability", [curve]))


def bar_chart(title: str, xlabel: str, edges: Sequence[float], heights: Sequence[float]) -> str:
    """A histogram: `heights[i]` from `edges[i]` to `edges[i + 1]`."""
    with mpl.rc_context(_STYLE):
        figure, axes = _canvas(title, xlabel)
        axes.stairs(heights, edges, fill=True, color=COLOURS[0], alpha=0.8)
        axes.set_ylabel("sequences")
        return _svg(figure, title)


def _canvas(title: str, xlabel: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4.4, 2.7))
    axes = figure.add_axes((0.16, 0.17, 0.81, 0.72))  # matplotlib's own layout draws each chart twice
    # Without `y`, matplotlib lays the chart out once more to find the title's place.
    axes.set_title(title, loc="left", fontsize=10, y=1.0)
    axes.set_xlabel(xlabel)
    axes.grid(visible=True)
    return figure, axes


def _svg(figure: Figure, title: str, hints: str = "") -> str:
    """`hints`: SVG that is drawn over it."""
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": title}):  # the same run gives the same page
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg\b[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg\b[^>]*?) width="[^"]*"', r'\1 role="img"', svg, count=1)
    return svg.replace("</svg>", f"{hints}</svg>")
