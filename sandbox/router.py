"""Which operation a request means."""

from sandbox.errors import ApiError, not_modelled
from sandbox.operations import OPERATIONS, Operation, pattern


class Router:
    """Finds the operation a request means."""

    def __init__(self, known: list[str]) -> None:
        self._exact = {operation.name: operation for operation in OPERATIONS if "{" not in operation.name}
        self._patterns = [operation for operation in OPERATIONS if "{" in operation.name]
        modelled = {operation.name for operation in OPERATIONS}
        others = [name for name in known if name not in modelled]
        self._others_exact = {name for name in others if "{" not in name}  # …/search is not an id
        self._others = [name for name in others if "{" in name]

    def find(self, method: str, path: str) -> tuple[Operation, tuple[str, ...]]:
        """Return the operation and the ids in its path; raises 501 for what is not modelled, 404 if unknown."""
        verb = method.lower()
        exact = self._exact.get(f"{verb} {path}")
        if exact is not None:
            return exact, ()
        if f"{verb} {path}" in self._others_exact:
            raise not_modelled(f"{method} {path}")
        for operation in self._patterns:
            if match := operation.pattern.match(f"{verb} {path}"):
                return operation, match.groups()
        if any(pattern(other).match(f"{verb} {path}") for other in self._others):
            raise not_modelled(f"{method} {path}")
        raise ApiError(
            f"Unrecognized request URL ({method}: {path}). Please see https://stripe.com/docs or we can help at "
            "https://support.stripe.com/.",
            status=404,
        )
