"""`python -m placet_coordinator`: the same as the command `placet`."""

from placet_coordinator.cli import main

main()
