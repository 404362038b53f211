"""A rule, traced once, becomes one fused pass over memory.

trace     a rule -> a Program: array operations, and the scalars that they need
source    a Program -> C++
load      C++ -> a compiled library, cached by content in the user's own folder
"""

from surefoot.kernels._build import CannotBuild as CannotBuild
from surefoot.kernels._build import load as load
from surefoot.kernels._cpp import source as source
from surefoot.kernels._cpp import tasks as tasks
from surefoot.kernels._trace import Program as Program
from surefoot.kernels._trace import number_fields as number_fields
from surefoot.kernels._trace import trace as trace

__all__ = ["CannotBuild", "Program", "load", "number_fields", "source", "tasks", "trace"]
