"""What an operator chooses about who is asking, as types."""

from __future__ import annotations

from pathlib import Path

import msgspec

from imagegate.identity.presented import CredentialHeader


class KeyOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The keys of our own.

    Attributes:
        file: What `imagegate keys` keeps; read again when it changes.
    """

    file: Path | None = None


class IdentityOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How it is found out who asks; without any of it, nobody is asked.

    Attributes:
        required: Whoever shows nothing is refused, and not anonymous.
        header: Where a client's credential for this gateway is: `authorization`, with
            `api-key` beside it, or a header of its own next to a provider's key.
        keys: The keys of our own.
    """

    required: bool = True
    header: CredentialHeader = "authorization"
    keys: KeyOptions = msgspec.field(default_factory=KeyOptions)

    @property
    def chosen(self) -> bool:
        """Whether anybody can be identified."""
        return self.keys.file is not None

    @property
    def closed(self) -> bool:
        """Whether nobody gets by who is not identified."""
        return self.chosen and self.required
