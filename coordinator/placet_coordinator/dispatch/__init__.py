"""Calls to participants: whom a name means, how many at once, and what their answers say."""
