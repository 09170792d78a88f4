"""`placet demo`: TCC, saga and recovery at work, on SQLite, by real processes on loopback."""

from placet_coordinator.demo.show import run_demo

__all__ = ["run_demo"]
