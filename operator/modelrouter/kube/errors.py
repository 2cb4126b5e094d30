"""What goes wrong when the API server is asked."""

from __future__ import annotations

NO_ANSWER = 0
"""Status of a request that got no answer: the server is away, too slow, or hung up."""


class KubeError(Exception):
    """The API server refused a request, or did not answer.

    `str()` names the operation, the object and the server's reason. The server's messages never
    hold the values of a Secret that is only read.
    """

    def __init__(
        self,
        operation: str,
        status: int,
        reason: str,
        message: str,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{operation}: {message} ({reason})")
        self.operation = operation
        """Verb and path, such as `get /api/v1/namespaces/chat/configmaps/a`."""
        self.status = status
        """HTTP status, or `NO_ANSWER`."""
        self.reason = reason
        """Kubernetes' own word, such as `Conflict` or `AlreadyExists`."""
        self.message = message
        self.retry_after = retry_after
        """Seconds that the server asks to wait, if it does."""

    @property
    def is_not_found(self) -> bool:
        """The object, or its whole kind, does not exist."""
        return self.status == 404

    @property
    def is_conflict(self) -> bool:
        """Somebody else wrote first, owns a field, or created it already."""
        return self.status == 409

    @property
    def is_forbidden(self) -> bool:
        """RBAC or admission does not allow it; repeating alone will not help."""
        return self.status == 403

    @property
    def is_invalid(self) -> bool:
        """The object that would result breaks a rule of its kind."""
        return self.status == 422

    @property
    def is_expired(self) -> bool:
        """The resource version asked for is too old: list anew."""
        return self.status == 410

    @property
    def is_passing(self) -> bool:
        """The same request may succeed later: the server is away, overloaded or restarting."""
        return self.status in (NO_ANSWER, 408, 429) or self.status >= 500
