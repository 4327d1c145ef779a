"""Where records go. A record that cannot be written stops what it is about.

`StreamAudit` writes to standard output, `imagegate.audit.journal.Journal` to chained
files on disk, `imagegate.audit.tee.Tee` to several sinks at once;
`imagegate.audit.sieve.Sieve` counts junk instead of letting it fill a disk, and
`imagegate.audit.verify.verify` proves what was written.
"""

from imagegate.audit.sink import Audit, AuditUnavailableError
from imagegate.audit.stream import StreamAudit

__all__ = ["Audit", "AuditUnavailableError", "StreamAudit"]
