"""The run directory: what happened, written while it happens, readable at any time, safe against a kill.

run.json        who this is: job, settings, versions; written once, by temporary file and rename
pieces.jsonl    one finished piece of work a line, append only; a torn last line is ignored
checkpoints/    training runs that a resumed search can go on from
decisions.jsonl one decision about a learning rate a line, append only
lock            held while a process writes here
"""

from surefoot.run._decisions import DecisionLog as DecisionLog
from surefoot.run._decisions import Story as Story
from surefoot.run._decisions import read_decisions as read_decisions
from surefoot.run._directory import RunDirectory as RunDirectory
from surefoot.run._files import write_atomically as write_atomically

__all__ = ["DecisionLog", "RunDirectory", "Story", "read_decisions", "write_atomically"]
