"""What a request is refused with: a status of HTTP, and one line: what was given, what was wanted, what to do."""

from deepres.base.errors import DeepresError


class RefusedError(DeepresError):
    """A request that is not answered; `status` is HTTP's, `headers` go with it (`Retry-After`, `WWW-Authenticate`)."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message.replace("\n", "\\n"))  # a name of several lines
        self.status, self.headers = status, headers or {}


def busy(message: str, seconds: int = 1) -> RefusedError:
    """503: try again after so many seconds."""
    return RefusedError(503, message, {"Retry-After": str(seconds)})
