"""A stand-in for Meta's side of WhatsApp: takes sends as the Graph API does, and sends signed webhooks back.

For tests, for the demo and for trying things out without a Meta account. It knows Meta's documents and
nothing of Dragoman, so that the two can disagree. ``python -m graph_standin --help`` runs it alone.
"""

from graph_standin.app import create_app
from graph_standin.config import Number, StandinConfig
from graph_standin.standin import Standin

__all__ = ["Number", "Standin", "StandinConfig", "create_app"]
