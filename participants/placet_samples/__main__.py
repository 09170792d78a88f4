"""Runs a sample service: `python -m placet_samples bank --name bank-a --port 8471 --database bank-a.db`."""

import argparse
import os

import uvicorn


def main() -> None:
    """Read the arguments, and serve until told to stop."""
    arguments = argparse.ArgumentParser(prog="python -m placet_samples", description="Run a sample service.")
    arguments.add_argument("service", choices=("bank", "shop"))
    arguments.add_argument("--name", help="what a bank announces itself as; default: bank")
    arguments.add_argument("--port", type=int, default=8471, help="on 127.0.0.1; default: %(default)s")
    arguments.add_argument("--database", help="its SQLite file; default: ./NAME.db")
    arguments.add_argument("--coordinator", help="default: PLACET_URL, or http://127.0.0.1:8470")
    given = arguments.parse_args()
    name = given.name or given.service
    # Before the service's module is imported, for it reads its settings then.
    os.environ["SAMPLE_NAME"] = name
    os.environ["SAMPLE_DATABASE"] = given.database or f"{name}.db"
    os.environ.setdefault("PLACET_SELF_URL", f"http://127.0.0.1:{given.port}")
    if given.coordinator:
        os.environ["PLACET_URL"] = given.coordinator
    uvicorn.run(f"placet_samples.{given.service}:app", host="127.0.0.1", port=given.port, log_level="warning")


if __name__ == "__main__":
    main()
