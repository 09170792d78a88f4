"""The pure heart: what a transaction may do next. No async, clock, chance, logging, SQL or HTTP in here."""
