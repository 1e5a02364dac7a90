"""What if the database does not answer? Then whoever asked may try again: it is no bug of theirs or ours."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from sqlalchemy import exc

from common import errors


@contextlib.contextmanager
def answering() -> Iterator[None]:
    """Around every use of the database. Raises Unavailable when it is away or busy for too long."""
    try:
        yield
    except (exc.OperationalError, exc.InterfaceError, exc.TimeoutError) as problem:
        raise errors.Unavailable("la base ne répond pas ; réessayez") from problem
