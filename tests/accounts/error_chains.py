"""Errors with their causes and contexts."""

from collections.abc import Iterator


def chained(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the error and all its causes and contexts, suppressed ones included."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            yield one
            waiting += [one.__cause__, one.__context__]
