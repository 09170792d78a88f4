"""The fixtures that every kind of test may ask for."""

import os

from hypothesis import settings

from placet_coordinator import native

if os.environ.get("PLACET_NATIVE") == "1":
    native.activate()  # before a test imports what may run compiled: then all of it does, in this process too

pytest_plugins = ["certificates", "databases", "private_servers"]

settings.register_profile("placet", deadline=None)  # a busy machine is no defect; pytest's timeout ends what hangs
settings.load_profile("placet")
