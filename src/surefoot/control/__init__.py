"""Controllers: small state machines that watch a run and change its learning rate. Readings in, decisions out.

    Plateau            lower the rate when a metric has stopped improving
    TrendPlateau       the same for a noisy metric: when it no longer improves by more than its noise
    Greedy             raise the rate while a metric improves, lower it while it does not
    DivergenceGuard    cut the rate, go back, or stop when the loss blows up
    Manual             change the rate by hand while the run goes on
    Chain              several in a row, of which the first may keep a reading from the rest

A controller holds one factor of the learning rate; `surefoot.LearningRate` multiplies the factors of all controllers
with the schedule's, so that none of them overwrites another. Its state is plain data.
"""

from surefoot.control._chain import Chain as Chain
from surefoot.control._chain import flat as flat
from surefoot.control._controller import Controller as Controller
from surefoot.control._controller import Decision as Decision
from surefoot.control._controller import Reading as Reading
from surefoot.control._controller import Snapshots as Snapshots
from surefoot.control._greedy import Greedy as Greedy
from surefoot.control._guard import DivergenceGuard as DivergenceGuard
from surefoot.control._manual import Manual as Manual
from surefoot.control._plateau import Plateau as Plateau
from surefoot.control._trend import TrendPlateau as TrendPlateau

__all__ = [
    "Chain",
    "Controller",
    "Decision",
    "DivergenceGuard",
    "Greedy",
    "Manual",
    "Plateau",
    "Reading",
    "Snapshots",
    "TrendPlateau",
    "flat",
]
