"""Contract suites: what every schedule, controller, rule and job must keep to. Call them from your own tests."""

from __future__ import annotations

from surefoot.testing._controllers import check_controller as check_controller
from surefoot.testing._jobs import check_job as check_job
from surefoot.testing._rules import check_rule as check_rule
from surefoot.testing._schedules import check_schedule as check_schedule

__all__ = ["check_controller", "check_job", "check_rule", "check_schedule"]
