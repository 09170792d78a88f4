"""Options in the query of a URL that says where something is: a registry, a source of configuration."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit


def take_options(url: str, allowed: Mapping[str, Any], kind: str) -> tuple[str, dict[str, Any]]:
    """Splits the query off a URL.

    Args:
        url: the URL.
        allowed: the default value by name; a number takes positive numbers only.
        kind: what the URL is of, for messages.

    Returns:
        The URL without its query, and the value of each option.

    Raises:
        ValueError: an option is unknown, given twice, or no number where one is asked for.
    """
    parts = urlsplit(url)
    options = dict(allowed)
    given = parse_qsl(parts.query, keep_blank_values=True)
    for name, value in given:
        if name not in allowed or sum(name == other for other, _ in given) > 1:
            raise ValueError(f"?{name}= of a {parts.scheme} {kind}: give each of {', '.join(allowed)} once at most")
        if not isinstance(allowed[name], int):
            options[name] = value
        elif value.isdecimal() and int(value) > 0:
            options[name] = int(value)
        else:
            raise ValueError(f"?{name}={value!r} of a {parts.scheme} {kind}: give a number from 1")
    return parts._replace(query="").geturl(), options
