"""The store on SQLite: one file, one coordinator, one writer at a time."""
