"""What the web process counts; ``/metrics`` shows it together with the process's own figures."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

WEBHOOK_REQUESTS = Counter(
    "dragoman_webhook_requests_total",
    "Requests to the WhatsApp webhook by what became of them; a refused one leaves nothing but this count.",
    ["result"],
)

LOGINS = Counter("dragoman_logins_total", "Attempts to log in by what became of them.", ["result"])

CONNECTIONS_CUT = Counter(
    "dragoman_connections_cut_total",
    "Connections that were ended before a request was answered, by the reason.",
    ["reason"],
)

LIVE_STREAMS = Gauge("dragoman_live_streams", "Open streams of live updates in this process.")
LIVE_RESETS = Counter(
    "dragoman_live_resets_total", "Streams that fell too far behind and were told to read everything anew."
)

# A result that has not happened yet is shown as 0, so that alerts on a rate see its first occurrence.
for _result in (
    *("accepted", "unsigned", "wrong_signature", "malformed", "too_large", "too_slow"),
    *("unavailable", "failed", "unreadable_account"),
):
    WEBHOOK_REQUESTS.labels(_result)
for _result in ("accepted", "refused", "throttled", "busy"):
    LOGINS.labels(_result)
for _result in ("slow_head", "long_head", "refused", "gave_way"):
    CONNECTIONS_CUT.labels(_result)
