"""MySQL's statements are MariaDB's without its setting per statement; on MariaDB they do the same."""

import pytest

from conformance.barrier.kinds import plain_engine
from placet import tables
from placet.barrier import Answer, Row
from placet.barrier_rows import _ROWS, Claim, Taken
from placet_contract.vocabulary import Operation


@pytest.fixture
def connection(mariadb_tables):
    """A connection to an empty barrier."""
    engine = plain_engine(mariadb_tables)
    with engine.begin() as made:
        made.execute(tables.barrier.delete())
    with engine.connect() as made:
        yield made


def take(connection, operation: Operation, branch_id: str = "1") -> Taken:
    return _ROWS["mysql"].take(connection, Claim("g", branch_id, operation, 1, 1_000))


@pytest.mark.parametrize("end", [Operation.CONFIRM, Operation.CANCEL, Operation.COMPENSATE])
def test_row_is_taken_by_the_forward_operation_and_by_one_end(connection, end):
    """Each of them once; whoever comes later meets the row."""
    assert take(connection, Operation.TRY) == Taken(ours=True)
    _ROWS["mysql"].keep_result(connection, Claim("g", "1", Operation.TRY, 1, 1_000), '"kept"')
    assert take(connection, Operation.TRY) == Taken(ours=False, row=Row("done", None, '"kept"'))
    ended = Row("done", end, '"kept"')
    assert take(connection, end) == Taken(ours=True, row=ended)
    assert take(connection, end) == Taken(ours=False, row=ended)
    assert take(connection, Operation.TRY) == Taken(ours=False, row=ended)


def test_end_without_a_row(connection):
    """A confirm takes nothing and leaves nothing; a cancel leaves its mark."""
    assert take(connection, Operation.CONFIRM) == Taken(ours=False)
    assert take(connection, Operation.CANCEL) == Taken(ours=False, marked=True)
    late = Row(Answer.LATE, "cancel", None)
    assert take(connection, Operation.TRY) == take(connection, Operation.CANCEL) == Taken(ours=False, row=late)
