"""Controllers: small state machines that watch a run and change its learning rate. Readings in, decisions out.

    Plateau            lower the rate when a metric has stopped improving
    DivergenceGuard    cut the rate, go back, or stop when the loss blows up
    Manual             change the rate by hand while the run goes on

A controller holds one factor of the learning rate; `surefoot.LearningRate` multiplies the factors of all controllers
with the schedule's, so that none of them overwrites another. Its state is plain data.
"""

from surefoot.control._controller import Controller as Controller
from surefoot.control._controller import Decision as Decision
from surefoot.control._controller import Reading as Reading
from surefoot.control._controller import Snapshots as Snapshots
from surefoot.control._guard import DivergenceGuard as DivergenceGuard
from surefoot.control._manual import Manual as Manual
from surefoot.control._plateau import Plateau as Plateau

__all__ = ["Controller", "Decision", "DivergenceGuard", "Manual", "Plateau", "Reading", "Snapshots"]
