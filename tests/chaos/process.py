"""What runs in each process under test: ``dragoman web`` or ``dragoman worker`` with the chaos shop's skills.

Waits that would make a run last for minutes are shortened; what they wait for is the same.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import sys
import threading
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from dragoman.cli import compose, main
from dragoman.jobs import worker
from dragoman.services.outbound import deliver
from dragoman.skills.hosts.host_process import HostPlan
from tests.chaos import shop

CHECKOUT = Path(__file__).resolve().parents[2]

SEND_SECONDS = 6.0
SETTLE = timedelta(seconds=5)
HEARTBEAT_SECONDS = 4.0


def _end_with_the_test() -> None:
    test = multiprocessing.parent_process()
    if test is not None:
        test.join()
        os._exit(1)


def run(role: str, environment: Mapping[str, str], log: Path) -> None:
    """Be that process until it ends; in a process group of its own, and with the log for all that it says."""
    os.setsid()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.environ.update(environment)
    os.chdir(CHECKOUT)  # where skill hosts look for the shop
    threading.Thread(target=_end_with_the_test, daemon=True).start()
    if role == "worker":
        # On a machine with too little time for everybody, Meta's side and the webhook come first, as in life.
        os.nice(5)
    # A fork has its parent's random state: without this, all processes would have the same jitter.
    random.seed()
    vars(compose).update(
        host_plan=lambda _: HostPlan(modules=(shop.__name__,)),
        load_entry_points=lambda: shop.SHOP,
        SEND_SECONDS=SEND_SECONDS,
    )
    deliver.SEND_SECONDS = SEND_SECONDS
    deliver.SETTLE = SETTLE
    worker.HEARTBEAT_SECONDS = HEARTBEAT_SECONDS
    sys.argv = ["dragoman", role]
    main()
