"""A figure drawn as SVG that takes the colors of the page.

A plot that can't be made gives its place to a sentence that says why.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from io import StringIO

from cycler import cycler
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure

# In a figure these two become the page's own colors, which differ in the light and in the dark.
INK, ACCENT = "#1c2127", "#2b6cb0"
HUES = (ACCENT, "#d9730d", "#2e9e5b", "#d64550", "#9467bd")
SHARES = LinearSegmentedColormap.from_list("shares", [(*to_rgb(ACCENT), a) for a in (0.0, 0.7)])
COUNTS = LinearSegmentedColormap.from_list("counts", [(*to_rgb(ACCENT), a) for a in (0.15, 1.0)])
STYLE = {
    "axes.prop_cycle": cycler(linestyle=["-", "--"]) * cycler(color=HUES),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 9.5,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "svg.fonttype": "none",
    "text.parse_math": False,  # a name may have dollars
    **dict.fromkeys(("axes.facecolor", "figure.facecolor", "savefig.facecolor"), "none"),
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor"), INK),
    **dict.fromkeys(("xtick.color", "ytick.color"), INK),
}
NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))
# What would clash with the page, or with another figure: ids that nothing refers to, and a style.
CLASHING = re.compile(
    r'<!--.*?-->| id="[A-Za-z][\w.]*_\d{1,4}"| xmlns(:\w+)?="[^"]*"|<style.*?</style>', re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing and what is to be seen in it; without a drawing, why there is none.

    ``said`` is for those who hear the page.
    """

    title: str
    caption: str
    svg: str = ""
    said: str = ""


def drawn(title: str, draw: Callable[[Axes], str], height: float = 2.9) -> Plot:
    """Make a figure of what ``draw`` puts into its axes; it gives the caption."""
    figure = Figure(figsize=(3.8, height), layout="constrained")
    axes = figure.add_subplot()
    try:
        caption = draw(axes)
        handles, names = axes.get_legend_handles_labels()
        if names:  # which may be too much to stand among the curves
            axes.legend().remove()
            figure.set_figheight(height + 0.2 * -(-len(names) // 2))
            figure.legend(handles, names, loc="outside lower center", ncols=2, fontsize=8)
        return Plot(title, caption, _svg(figure, title), "; ".join([title, *names]))
    except ValueError:  # which may quote the data, so it is not told
        return Plot(title, "It could not be drawn.")


def _svg(figure: Figure, salt: str) -> str:
    """Give a figure as an element of the page, in its colors; its ids depend on the salt."""
    file = StringIO()
    with rc_context({"svg.hashsalt": salt}):
        figure.savefig(file, format="svg", metadata=NO_METADATA)
    svg = file.getvalue()
    svg = CLASHING.sub("", svg[svg.index("<svg") :])
    return svg.replace(INK, "var(--ink)").replace(ACCENT, "var(--accent)").strip()
