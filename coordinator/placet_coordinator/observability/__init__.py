"""Metrics and logs, fed by the engine's observer port."""
