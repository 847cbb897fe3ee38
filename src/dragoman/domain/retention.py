"""How far back a tenant's record goes: the installation's window, or the shorter one that the tenant chose."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

Rule = Literal["installation", "tenant"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionPeriod:
    """Nothing from before ``start(now)`` is shown, searched or exported, even before it is removed."""

    days: int
    rule: Rule

    def start(self, now: datetime) -> datetime:
        """Give the first moment inside the period."""
        return now - timedelta(days=self.days)


def retention_period(installation_days: int, tenant_days: int | None) -> RetentionPeriod:
    """The window that holds: a tenant may shorten the installation's, never lengthen it."""
    if tenant_days is not None and tenant_days < installation_days:
        return RetentionPeriod(days=tenant_days, rule="tenant")
    return RetentionPeriod(days=installation_days, rule="installation")
