"""Writes the transcript of every scenario anew. Look at the difference before you commit it: it is what users get."""

import sys
from pathlib import Path

from scenarios.transcript import rewritten

if __name__ == "__main__":
    for path in sorted(Path(__file__).parent.glob("*.txt")):
        was = path.read_text()
        path.write_text(rewritten(was))
        sys.stdout.write(f"{path.name}: {'as it was' if path.read_text() == was else 'changed'}\n")
