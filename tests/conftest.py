"""The fixtures that every kind of test may ask for."""

from hypothesis import settings

pytest_plugins = ["certificates", "databases", "private_servers"]

settings.register_profile("placet", deadline=None)  # a busy machine is no defect; pytest's timeout ends what hangs
settings.load_profile("placet")
