"""The coordinator's doors over HTTP: a fast lane for the four hot calls, FastAPI for everything else."""
