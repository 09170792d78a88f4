"""The fixtures that every kind of test may ask for."""

pytest_plugins = ["databases", "private_servers"]
