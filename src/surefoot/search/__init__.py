"""Find the learning rate: bracket, fork, race, fit, answer with an interval.

find            the front door: a job in, a Found out; with several methods, a Compared
find_and_train  the same, and the model that it leads to
transfer        a known good rate at another batch size, length or width, by known rules; trains nothing
Processes       trials in several processes
Job             the four verbs that a training run must offer: start, advance, evaluate, fork
"""

from surefoot.search._command import CommandJob as CommandJob
from surefoot.search._compared import Compared as Compared
from surefoot.search._compared import MethodResult as MethodResult
from surefoot.search._find import Progress as Progress
from surefoot.search._find import find as find
from surefoot.search._find import find_and_train as find_and_train
from surefoot.search._found import Curve as Curve
from surefoot.search._found import Found as Found
from surefoot.search._found import Trial as Trial
from surefoot.search._function import FunctionJob as FunctionJob
from surefoot.search._job import CanSave as CanSave
from surefoot.search._job import Delivers as Delivers
from surefoot.search._job import Job as Job
from surefoot.search._job import TakesOptimizer as TakesOptimizer
from surefoot.search._job import TrialFailed as TrialFailed
from surefoot.search._parallel import Executor as Executor
from surefoot.search._parallel import Processes as Processes
from surefoot.search._train import Candidate as Candidate
from surefoot.search._train import Trained as Trained
from surefoot.search._transfer import Transferred as Transferred
from surefoot.search._transfer import TransferStep as TransferStep
from surefoot.search._transfer import transfer as transfer

__all__ = [
    "CanSave",
    "Candidate",
    "CommandJob",
    "Compared",
    "Curve",
    "Delivers",
    "Executor",
    "Found",
    "FunctionJob",
    "Job",
    "MethodResult",
    "Processes",
    "Progress",
    "TakesOptimizer",
    "Trained",
    "TransferStep",
    "Transferred",
    "Trial",
    "TrialFailed",
    "find",
    "find_and_train",
    "transfer",
]
