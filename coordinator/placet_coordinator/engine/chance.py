"""Ids and jitter from the operating system's and Python's generators; satisfies the port `Chance`."""

import random
import secrets

import uuid_utils


class SystemChance:
    """Fresh ids and draws."""

    def __init__(self) -> None:
        self.uniform = random.Random().random  # noqa: S311 - jitter needs no secrecy

    @staticmethod
    def new_gid() -> str:
        """Return a UUIDv7 (RFC 9562): time-ordered, so that new rows land side by side in the primary key."""
        return str(uuid_utils.uuid7())

    @staticmethod
    def new_boot_id() -> str:
        """Return 16 random hexadecimal characters."""
        return secrets.token_hex(8)
