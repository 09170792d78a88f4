"""An empty table and a full one in turns: what a million finished transactions cost those that run now.

    .venv/bin/python bench/finished_rows.py --store postgres --turns 6

Two coordinators stay up, one on an empty database, one on a database with so many transactions that finished
yesterday. The load drives the one, then the other, in an order that alternates: on a shared machine two runs one after
the other compare the minutes. Printed is the ratio within each turn: median, least and most.
"""

import argparse
import json
import statistics

from transactions import COORDINATOR_PORT, coordinator, machine, participants, run_load

from databases import database

OTHER_PORT = COORDINATOR_PORT + 10


def main() -> None:
    """Run the turns and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", choices=["sqlite", "postgres", "mariadb"], default="postgres")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--callers", type=int, default=64)
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=4)
    options = parser.parse_args()
    print(json.dumps(machine()))
    with (
        database(options.store) as empty,
        database(options.store, "placet_bench_full") as full,
        participants(),
        coordinator(empty),
        coordinator(full, OTHER_PORT),
    ):
        full.fill(options.rows)
        ports = {"empty": COORDINATOR_PORT, "full": OTHER_PORT}
        rates: dict[str, list[float]] = {name: [] for name in ports}
        for turn in range(options.turns):
            for name in sorted(ports, reverse=bool(turn % 2)):
                figures = run_load("tcc", "http", options.callers, options.seconds, port=ports[name])
                rates[name].append(figures["tx_per_s"])
        ratios = sorted(full / empty for full, empty in zip(rates["full"], rates["empty"], strict=True))
        medians = {name: round(statistics.median(each)) for name, each in rates.items()}
        ratio = {"median": statistics.median(ratios), "least": ratios[0], "most": ratios[-1]}
        shown = {name: round(value, 2) for name, value in ratio.items()}
        print(json.dumps({"store": options.store, "finished_rows": options.rows, "tx_per_s": medians, "ratio": shown}))


if __name__ == "__main__":
    main()
