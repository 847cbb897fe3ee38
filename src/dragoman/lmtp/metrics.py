"""What the LMTP server counts; ``/metrics`` shows it beside what the web process counts."""

from __future__ import annotations

from prometheus_client import Counter

MAILS = Counter(
    "dragoman_mails_received_total",
    "Mails by what became of them, one for each recipient; what was refused whole, and connections, count once.",
    ["result"],
)

# A result that has not happened yet is shown as 0, so that alerts on a rate see its first occurrence.
for _result in ("accepted", "no_mailbox", "too_large", "malformed", "busy", "unavailable", "failed"):
    MAILS.labels(_result)
