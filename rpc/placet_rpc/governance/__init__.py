"""What is known of calls, and who may make them: statistics, call graph, identity, access, traces, live settings."""
