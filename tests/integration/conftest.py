"""Fixtures of the integration tests: the same servers and participants as in the acceptance tests."""

from acceptance.conftest import participant, servers

__all__ = ["participant", "servers"]
