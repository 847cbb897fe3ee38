"""Voltfair is an electrical-goods shop: the skills of the demo tenant, and a start for your own.

Copy this package, rename it, and name it under the entry point group ``dragoman.skills``. A skill needs nothing
of Dragoman but :mod:`dragoman.skills`. The shop keeps no data: whatever it tells is derived from what it is
asked, so that the same question has the same answer on every machine.
"""

from dragoman_shop.deliveries import reschedule
from dragoman_shop.finance import ar_balance, invoices
from dragoman_shop.loyalty import points
from dragoman_shop.orders import cancel, send_back, status
from dragoman_shop.payments import link
from dragoman_shop.products import availability
from dragoman_shop.stores import hours, nearest
from dragoman_shop.support import open_ticket, warranty

__all__ = [
    "ar_balance",
    "availability",
    "cancel",
    "hours",
    "invoices",
    "link",
    "nearest",
    "open_ticket",
    "points",
    "reschedule",
    "send_back",
    "status",
    "warranty",
]
