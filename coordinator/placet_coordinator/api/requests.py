"""Reading requests strictly: JSON bodies into structs, with problems that name the rule.

One decoder is the one validator. msgspec's errors hold path and rule in one text; here they are parted for clients.
"""

import json
import re
from typing import Any

import msgspec

from placet_contract.ids import (
    BRANCH_ID_PATTERN,
    GID_PATTERN,
    ID_ALPHABET,
    PARENT_PATTERN,
    matches_branch_id,
    matches_gid,
)
from placet_contract.limits import (
    BODY_BYTES_MAX,
    BRANCH_ID_LENGTH_MAX,
    GID_LENGTH_MAX,
    JSON_DEPTH_MAX,
    PARENT_LENGTH_MAX,
)
from placet_coordinator.api.answers import NotJson, TooLarge
from placet_coordinator.core.rule import RuleBroken

_AT = re.compile(r"(?P<rule>.*?)(?: - at (?P<key>`key` in )?`\$(?P<path>.*)`)?", re.DOTALL)
_FIELD = re.compile(r"Object (?:contains unknown|missing required) field `(.*)`", re.DOTALL)
_LIMIT = re.compile(r"(?:[<>]=|[<>]|==) (-?\d+)")
_PATTERN = re.compile(r"matching regex '(.*)'", re.DOTALL)
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_ONE_KIND = bytes.maketrans(b"{}", b"[]")
_check_all = msgspec.json.Decoder().decode

_SURROGATE_RULE = "text holds no lone surrogates (\\ud800-\\udfff unpaired): no database stores them"
_NUMBER_RULE = "a whole number has at most 4,300 digits, any other is below 1.8e308"
_DEPTH_RULE = f"JSON is nested at most {JSON_DEPTH_MAX} deep"


_ALPHABETS = {
    # By the pattern as msgspec quotes it, which is how `repr` does.
    repr(GID_PATTERN)[1:-1]: (f"1-{GID_LENGTH_MAX} characters of {ID_ALPHABET}", GID_LENGTH_MAX),
    repr(BRANCH_ID_PATTERN)[1:-1]: (f"1-{BRANCH_ID_LENGTH_MAX} characters of {ID_ALPHABET}", BRANCH_ID_LENGTH_MAX),
    repr(PARENT_PATTERN)[1:-1]: (f"gid/branch_id, each of {ID_ALPHABET}", PARENT_LENGTH_MAX),
}


class BodyDecoder:
    """Reads bodies of one kind.

    Args:
        kind: the struct.
        may_be_empty: an empty body stands for `{}`.
        has_raw: the struct holds raw JSON, which its own decoder does not look into.
    """

    def __init__(self, kind: type[Any], *, may_be_empty: bool = False, has_raw: bool = False) -> None:
        self.kind = kind
        self._decode = msgspec.json.Decoder(kind).decode
        self.may_be_empty, self._has_raw = may_be_empty, has_raw

    def read(self, body: bytes) -> Any:
        """Return the request.

        Raises:
            NotJson: it is not JSON in UTF-8.
            TooLarge: it is over the limit.
            RuleBroken: it is JSON, and breaks a rule.
        """
        if len(body) > BODY_BYTES_MAX:
            raise TooLarge
        if not body and self.may_be_empty:
            body = b"{}"
        try:
            value = self._decode(body)
            if self._has_raw:
                # Raw parts are carried on as they are, so what they hold has to be proved here: UTF-8, surrogates,
                # escapes and figures that every reader down the line can read. It costs under 1 µs for a usual body.
                _check_all(body)
        except msgspec.ValidationError as error:
            # A rule broken early hides what comes later; text that is not JSON at all is 400 nevertheless.
            _prove_json(body)
            raise rule_broken(str(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            _prove_json(body)
            raise NotJson(str(error)) from None  # stricter than the standard library: still not JSON to us
        except RecursionError:
            raise RuleBroken("body", _DEPTH_RULE, JSON_DEPTH_MAX) from None
        if body.count(b"[") + body.count(b"{") > JSON_DEPTH_MAX:
            _check_depth(body)
        return value


def _prove_json(body: bytes) -> None:
    """Tell what is wrong with a refused body if it is not JSON, holds lone surrogates, or is too deep; else return."""
    try:
        text = body.decode()
        value = json.loads(text, parse_constant=_refuse_constant, parse_int=str)
    except (UnicodeDecodeError, ValueError) as error:
        raise NotJson(f"{error}") from None
    except RecursionError:
        raise RuleBroken("body", _DEPTH_RULE, JSON_DEPTH_MAX) from None
    if "\\u" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise RuleBroken("body", _SURROGATE_RULE) from None
    try:
        _check_all(body)
    except msgspec.ValidationError:
        raise RuleBroken("body", _NUMBER_RULE) from None
    except msgspec.DecodeError as error:
        raise NotJson(str(error)) from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _check_depth(body: bytes) -> None:
    """Count levels without recursion: each pass takes away the innermost brackets, in C."""
    brackets = _STRINGS.sub(b"", body).translate(_ONE_KIND, _NOT_BRACKETS)
    for _ in range(JSON_DEPTH_MAX):
        brackets = brackets.replace(b"[]", b"")
        if not brackets:
            return
    raise RuleBroken("body", _DEPTH_RULE, JSON_DEPTH_MAX)


def rule_broken(text: str) -> RuleBroken:
    """Return msgspec's error as ours, path and rule parted."""
    match = _AT.fullmatch(text)
    rule, path = (text, "") if match is None else (match["rule"], (match["path"] or "").lstrip("."))
    about = _FIELD.fullmatch(rule)
    if about is not None:
        path = f"{path}.{about[1]}" if path else about[1]
        rule = "unknown field; check its spelling" if "unknown" in rule else "this field is required"
    pattern = _PATTERN.search(rule)
    if pattern is not None and pattern[1] in _ALPHABETS:
        return RuleBroken(path or "body", *_ALPHABETS[pattern[1]])
    limit = _LIMIT.search(rule)
    return RuleBroken(path or "body", _worded(rule), int(limit[1]) if limit else None)


def _worded(rule: str) -> str:
    return rule.replace("`", "").replace("str", "text").replace("Expected", "expected").replace("Invalid", "invalid")


def check_text(**fields: str | None) -> None:
    """Check texts that become columns of their own; raises `RuleBroken`."""
    for field, text in fields.items():
        if text is not None and "\0" in text:
            raise RuleBroken(field, "this text holds no NUL character: not every database stores it")


def check_gid(gid: str) -> None:
    """Check a gid that stands in a path; raises `RuleBroken`."""
    if not matches_gid(gid):
        raise RuleBroken("gid", f"1-{GID_LENGTH_MAX} characters of {ID_ALPHABET}", GID_LENGTH_MAX)


def check_name(field: str, name: str) -> None:
    """Check a service's name or an instance's id that stands in a path; raises `RuleBroken`."""
    if not matches_branch_id(name):
        raise RuleBroken(field, f"1-{BRANCH_ID_LENGTH_MAX} characters of {ID_ALPHABET}", BRANCH_ID_LENGTH_MAX)
