"""The words that the coordinator and the SDK share: ids, patterns, statuses, headers, requests, replies, problems.

Standard library and msgspec only, no I/O: usable from either side, and from a test, without a loop.
"""
