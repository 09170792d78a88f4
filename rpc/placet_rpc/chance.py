"""Chance as an argument: the same seed gives the same run."""

import random

Chance = random.Random
"""A source of uniform draws."""


def new_chance() -> Chance:
    """Returns a source that differs in every process: retries of many clients must not march in step."""
    return random.Random()  # noqa: S311 - it spreads load, it hides nothing
