"""The limits and default figures of wire.md, in one place, each with its unit in the name."""

GID_LENGTH_MAX = 128
XA_GID_LENGTH_MAX = 48
BRANCH_ID_LENGTH_MAX = 64
NAME_LENGTH_MAX = 128
KEY_LENGTH_MAX = 256
PARENT_LENGTH_MAX = GID_LENGTH_MAX + 1 + BRANCH_ID_LENGTH_MAX
REASON_TEXT_LENGTH_MAX = 1_000
TARGET_LENGTH_MAX = 2_048
HEADERS_PER_BRANCH_MAX = 32
HEADER_VALUE_LENGTH_MAX = 4_096
ACTIONS_PER_INSTANCE_MAX = 1_000
FINISHED_GIDS_MAX = 1_000

TIME_MS_MIN = 1
TIME_MS_MAX = 31_536_000_000
"""One year: the longest time that may be given on the wire."""

BODY_BYTES_MAX = 1_048_576
REPLY_BYTES_MAX = 1_048_576
BRANCHES_MAX = 1_000
PLAN_BYTES_MAX = 4_194_304
"""All branches of a transaction, as they are stored. A begin alone can't reach it: what its body of 1 MiB leaves out
are defaults, of less than 300 bytes a branch."""
RESULTS_BYTES_MAX = 2_097_152
"""All results of a transaction together. Its row holds plan and results, and every store has to take it at once."""
JSON_DEPTH_MAX = 64
WAIT_MS_MAX = 60_000
LIST_LIMIT = 50
LIST_LIMIT_MAX = 500

TCC_TIMEOUT_MS = 30_000
CALL_TIMEOUT_MS = 10_000
RETRY_FIRST_MS = 200
RETRY_CAP_MS = 60_000
ACTION_RETRY_FOR_MS = 86_400_000
RETENTION_MS = 7 * 86_400_000
INSTANCE_LEASE_MS = 15_000
