"""A rule, traced once, becomes one fused pass over memory.

trace      a rule -> a Program: passes over memory, and the scalars that they need
source     a Program -> C++
load       C++ -> a compiled library, cached by content in the user's own folder
Kernel     a Program, compiled
Batch      the tensors that a kernel serves
take_step  one step over all batches of a model
interpret  the same step with a framework's own operations
"""

from surefoot.kernels._build import CannotBuild as CannotBuild
from surefoot.kernels._build import bundled_openmp as bundled_openmp
from surefoot.kernels._build import load as load
from surefoot.kernels._build import say_slow as say_slow
from surefoot.kernels._build import warn_outside as warn_outside
from surefoot.kernels._cpp import source as source
from surefoot.kernels._cpp import tasks as tasks
from surefoot.kernels._interpret import interpret as interpret
from surefoot.kernels._launch import Batch as Batch
from surefoot.kernels._launch import Kernel as Kernel
from surefoot.kernels._launch import take_step as take_step
from surefoot.kernels._trace import Pass as Pass
from surefoot.kernels._trace import Program as Program
from surefoot.kernels._trace import number_fields as number_fields
from surefoot.kernels._trace import structure as structure
from surefoot.kernels._trace import trace as trace

__all__ = [
    "Batch",
    "CannotBuild",
    "Kernel",
    "Pass",
    "Program",
    "bundled_openmp",
    "interpret",
    "load",
    "number_fields",
    "say_slow",
    "source",
    "structure",
    "take_step",
    "tasks",
    "trace",
    "warn_outside",
]
