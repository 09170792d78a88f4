"""${message}.

Revision ${up_revision}, after ${down_revision or "nothing"}. Expand only: an older node must go on working on the new
schema; what nobody reads any more is removed by a later revision. There is no way back but a restored backup.
"""

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    ${upgrades if upgrades else "raise NotImplementedError"}
