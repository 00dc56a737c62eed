"""The data of a matplotlib figure beside its picture: what kind of chart it is, its axes, its series.

A program that shows a chart to a person may draw it anew from this, and a model can read it. In: a figure that is
shown. Out: a representation named `chart`, an object:

    {"type": "line", "title": "...", "x_label": "...", "y_label": "...", "x_scale": "linear", "y_scale": "log",
     "series": [{"label": "a", "points": [[1, 2.5], ...]}]}

`type` is `line`, `scatter`, `bar`, `histogram`, `pie` or `image`; series of bars and pies hold `{"label", "value"}`. A figure
with several axes is `{"type": "several", "title": "...", "charts": [...]}`. What is none of these has no `chart`.
"""

from __future__ import annotations

import math
from typing import Any

from IPython.core.formatters import BaseFormatter
from traitlets import ObjectName, Unicode

#: Points and bars of one figure; a figure with more says that it was cut.
POINTS_MAX = 20_000

#: Characters of a label.
LABEL_CHARS_MAX = 500


class _ChartFormatter(BaseFormatter):
    """Knows figures alone: of everything else there is no chart."""

    format_type = Unicode("chart")
    print_method = ObjectName("_repr_chart_")
    _return_type = dict

    def pop(self, typ: Any, default: Any = None) -> Any:
        # Whoever chooses the format of pictures first takes figures away from every formatter.
        return default


def add_to(display_formatter: Any) -> None:
    formatter = _ChartFormatter(parent=display_formatter)
    formatter.for_type_by_name("matplotlib.figure", "Figure", chart_of)
    display_formatter.formatters["chart"] = formatter


def chart_of(figure: Any) -> dict | None:
    """The chart of a figure. Never an error: a figure that is odd is a picture all the same."""
    try:
        budget = _Budget(POINTS_MAX)
        charts = [chart for axes in figure.axes if axes.get_visible() and (chart := _of_axes(axes, budget))]
        if not charts:
            return None
        title = figure.get_suptitle() if hasattr(figure, "get_suptitle") else ""
        whole = charts[0] if len(charts) == 1 else {"type": "several", "title": "", "charts": charts}
        if title:
            whole["title"] = _text(title)
        if budget.is_spent:
            whole["cut"] = True
        return whole
    except Exception:
        return None


class _Budget:
    """Points that a figure may still have."""

    def __init__(self, points: int):
        self._left = points
        self.is_spent = False

    def take(self, values: Any) -> list:
        kept = list(values)[: self._left]
        self.is_spent |= len(kept) < len(values)
        self._left -= len(kept)
        return kept


def _of_axes(axes: Any, budget: _Budget) -> dict | None:
    kind, series = _series(axes, budget)
    if kind is None:
        return None
    chart = {"type": kind, "title": _text(axes.get_title()), "series": series}
    if kind != "pie":
        chart |= {
            "x_label": _text(axes.get_xlabel()),
            "y_label": _text(axes.get_ylabel()),
            "x_scale": axes.get_xscale(),
            "y_scale": axes.get_yscale(),
        }
    return chart


def _series(axes: Any, budget: _Budget) -> tuple[str | None, list]:
    from matplotlib.collections import PathCollection
    from matplotlib.container import BarContainer
    from matplotlib.patches import Wedge

    wedges = [patch for patch in axes.patches if isinstance(patch, Wedge)]
    if wedges:
        return "pie", [{"label": "", "parts": [_part(wedge) for wedge in budget.take(wedges)]}]
    bars = [container for container in axes.containers if isinstance(container, BarContainer)]
    if bars:
        kind = "histogram" if all(_touch(container) for container in bars) else "bar"
        return kind, [_bars(axes, container, kind, budget) for container in bars]
    lines = [line for line in axes.lines if len(line.get_xdata(orig=True)) and not _is_frame(line)]
    if lines:
        return "line", [_points(line.get_label(), line.get_xdata(orig=True), line.get_ydata(orig=True), budget) for line in lines]
    clouds = [cloud for cloud in axes.collections if isinstance(cloud, PathCollection)]
    if clouds:
        return "scatter", [_cloud(cloud, budget) for cloud in clouds]
    if axes.images:
        return "image", [{"label": "", "shape": [int(side) for side in image.get_array().shape]} for image in axes.images]
    return None, []


def _points(label: Any, xs: Any, ys: Any, budget: _Budget) -> dict:
    pairs = budget.take(list(zip(xs, ys)))
    return {"label": _label(label), "points": [[_value(x), _value(y)] for x, y in pairs]}


def _cloud(cloud: Any, budget: _Budget) -> dict:
    offsets = cloud.get_offsets()
    return _points(cloud.get_label(), offsets[:, 0], offsets[:, 1], budget)


def _bars(axes: Any, container: Any, kind: str, budget: _Budget) -> dict:
    lying = getattr(container, "orientation", "vertical") == "horizontal"
    names = _names(axes.yaxis if lying else axes.xaxis)
    parts = []
    for bar in budget.take(container.patches):
        begin, width, value = (
            (bar.get_y(), bar.get_height(), bar.get_width()) if lying else (bar.get_x(), bar.get_width(), bar.get_height())
        )
        if kind == "histogram":
            parts.append({"from": _value(begin), "to": _value(begin + width), "value": _value(value)})
        else:
            middle = begin + width / 2
            parts.append({"label": _nearest(names, middle, width), "value": _value(value)})
    return {"label": _label(container.get_label()), "parts": parts}


def _touch(container: Any) -> bool:
    """Whether each bar begins where the one before it ends, and that is not where a word stands."""
    bars = container.patches
    return len(bars) > 1 and all(
        math.isclose(left.get_x() + left.get_width(), right.get_x(), rel_tol=1e-6, abs_tol=1e-9)
        for left, right in zip(bars, bars[1:])
    )


def _names(axis: Any) -> list[tuple[float, str]]:
    labels = zip(axis.get_ticklocs(), axis.get_ticklabels())
    return [(float(place), label.get_text()) for place, label in labels if label.get_text()]


def _nearest(names: list[tuple[float, str]], place: float, width: float) -> Any:
    """The word under a bar; bars of a group stand beside their word."""
    near = min(names, key=lambda name: abs(name[0] - place), default=None)
    if near is not None and abs(near[0] - place) <= max(0.5, width):
        return _text(near[1])
    return _value(place)


def _part(wedge: Any) -> dict:
    return {"label": _label(wedge.get_label()), "value": _value((wedge.theta2 - wedge.theta1) / 360)}


def _is_frame(line: Any) -> bool:
    """A line across the axes (`axhline`) is no data."""
    return line.get_transform() != line.axes.transData


def _label(label: Any) -> str:
    text = _text(label)
    # What was never named.
    return "" if text.startswith("_") else text


def _text(text: Any) -> str:
    return str(text)[:LABEL_CHARS_MAX]


def _value(value: Any) -> Any:
    """A number, or the text of what is none: a date, a category."""
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if hasattr(value, "item"):
        if str(getattr(value, "dtype", "")).startswith("datetime64"):
            return str(value)
        value = value.item()
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, (int, float)):
        return value if math.isfinite(value) else None
    return _text(value)
