"""The command `placet`. This module imports hardly anything, so that a missing extra is a sentence and no traceback."""

import sys
from importlib.util import find_spec

from placet_coordinator import native

_NEEDED = ("typer", "rich", "uvicorn", "httpx2", "alembic", "structlog", "prometheus_client")


def main() -> None:
    """Run the command line; exit codes: 0 ok, 1 failure, 2 usage, 3 something needs attention."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        sys.stderr.write(
            f"placet: the command line needs {', '.join(missing)}, which the SDK alone does without; "
            "run: pip install 'placet[server]'\n"
        )
        raise SystemExit(1)
    try:
        native.activate()
    except native.NativeRefused as refused:
        sys.stderr.write(f"placet: {refused}\n")
        raise SystemExit(1) from None
    from placet_coordinator.cli.application import application  # noqa: PLC0415 - needs what was looked for above

    application()
