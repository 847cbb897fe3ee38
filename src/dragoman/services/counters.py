"""What the services count for those who watch them; ``/metrics`` shows it."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

REFUSALS = Counter(
    "dragoman_send_refusals_total", "Messages that the channel refused, at once or in a status, by its code.", ["code"]
)

STOPS = Counter("dragoman_channel_stops_total", "Channel accounts that the channel stopped, by its code.", ["code"])

GIVEN_UP = Counter("dragoman_jobs_given_up_total", "Jobs that were given up after their last attempt.", ["job"])

FAILED_JOBS = Gauge(
    "dragoman_failed_jobs", "Jobs that failed: given up and not acted on, or tried again.", ["job", "state"]
)

OUTAGES = Counter("dragoman_channel_outages_total", "How often a channel account could not be reached any more.")

UNREACHABLE = Gauge("dragoman_channel_accounts_unreachable", "Channel accounts whose channel does not answer.")

PRESENCE = Counter("dragoman_read_marks_total", "Read marks and typing indicators by what became of them.", ["result"])

UNREADABLE = Gauge(
    "dragoman_channel_accounts_unreadable", "WhatsApp accounts whose credentials this installation's key cannot open."
)

STOPPED = Gauge("dragoman_channel_accounts_stopped", "Channel accounts that send nothing until they are resumed.")

CLASSIFIER_FAILURES = Counter(
    "dragoman_classifier_failures_total", "Messages that a language model did not read, by the class of its failure.",
    ["error_class"],
)  # fmt: skip
