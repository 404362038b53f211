"""What people look at: one picture, and one page with the whole evidence.

    plot            loss over learning rate as a PNG or SVG, with matplotlib
    plot_rates      the learning rate over a run as a PNG or SVG, with matplotlib
    write_report    everything as one HTML file that asks nothing of the network and works with scripts off
    write_comparison    the same for a comparison of methods

`plot` and `write_report` draw the same `Picture` (`_view.py`): which points, on which axes, in which words. The page draws its own SVG, so
that a report needs no plotting library; its charts are fluid, because positions are percentages and text is not scaled.
"""

from surefoot.report._comparison import write_comparison as write_comparison
from surefoot.report._curve import plot_rates as plot_rates
from surefoot.report._page import write_report as write_report
from surefoot.report._plot import plot as plot

__all__ = ["plot", "plot_rates", "write_comparison", "write_report"]
