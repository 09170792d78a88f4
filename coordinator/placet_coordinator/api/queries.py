"""Reading query strings strictly into structs."""

from typing import Annotated, TypeVar
from urllib.parse import parse_qsl

import msgspec

from placet_contract.limits import WAIT_MS_MAX
from placet_coordinator.api.requests import rule_broken
from placet_coordinator.core.rule import RuleBroken

QUERY_FIELDS_MAX = 32

_Struct = TypeVar("_Struct")


class NoQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The query of a call that takes none."""


class WaitQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The query of begin, commit and abort."""

    wait_ms: Annotated[int, msgspec.Meta(ge=0, le=WAIT_MS_MAX)] = 0


def read_query(query: bytes, kind: type[_Struct]) -> _Struct:
    """Return a query string as a struct: each field at most once, none unknown, an empty value counts as left out.

    Raises:
        RuleBroken: it breaks a rule.
    """
    given: dict[str, str] = {}
    if query:
        try:
            pairs = parse_qsl(
                query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=QUERY_FIELDS_MAX
            )
        except UnicodeDecodeError:
            raise RuleBroken("query", "a query string is percent-encoded UTF-8") from None
        except ValueError:
            raise RuleBroken("query", "too many query fields", QUERY_FIELDS_MAX) from None
        for name, value in pairs:
            if name in given:
                raise RuleBroken(name, "a query field stands once")
            if "\0" in value:
                raise RuleBroken(name, "a query field holds no NUL character")
            given[name] = value
    try:
        return msgspec.convert({name: value for name, value in given.items() if value}, kind, strict=False)
    except msgspec.ValidationError as error:
        raise rule_broken(str(error)) from None
