"""The imperative shell: load, step, persist, then act."""
