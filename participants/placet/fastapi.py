"""Placet for FastAPI applications: what a service imports.

from placet.fastapi import Participant, Placet, Reject

stock = Participant("stock", session=get_session)
app = FastAPI(lifespan=stock.lifespan)
app.include_router(stock.router)
"""

from placet.app_client import Placet, lifespan
from placet.envelope import Envelope
from placet.errors import Reject
from placet.participant import Participant

__all__ = ["Envelope", "Participant", "Placet", "Reject", "lifespan"]
