"""Contract suites: what every schedule must keep to. Call them from your own tests."""

from __future__ import annotations

from surefoot.testing._schedules import check_schedule as check_schedule

__all__ = ["check_schedule"]
