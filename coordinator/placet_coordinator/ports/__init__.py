"""What the engine needs of the world, as small Protocols; each method says what holds when it returns."""
