"""The policies of this site, and those that an older turn was planned under."""

from __future__ import annotations

from collections.abc import Mapping

from policy.policy import Policy
from records.content import ContentStore

__all__ = ["Policies"]


class Policies:
    """``current`` by name. An older digest is built again from its stored content."""

    def __init__(self, current: Mapping[str, Policy], contents: ContentStore) -> None:
        self.current = current
        self._contents = contents
        self._older: dict[str, Policy] = {}

    async def keep(self) -> None:
        """Stores each policy under its digest, so that a turn planned today can be judged alike in years."""
        for policy in self.current.values():
            await self._contents.put("policy", policy.content.encode())

    async def by_digest(self, name: str, digest: str) -> Policy:
        """Raises ContentMissing when the digest is neither current nor stored."""
        policy = self.current.get(name)
        if policy is not None and policy.digest == digest:
            return policy
        if digest not in self._older:
            content = await self._contents.get(digest)
            self._older[digest] = Policy.from_content(content.decode())
        return self._older[digest]
