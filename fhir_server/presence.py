"""Is it there, was it, or has it never been? What a read says of a resource that it does not give."""

from __future__ import annotations

import re

from common import errors
from fhir_server.changes import Stored

_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_TYPE = re.compile(r"[A-Za-z]{1,64}")


def is_ref(type: str, id: str) -> bool:
    """Could there be a resource of this name?"""
    return _TYPE.fullmatch(type) is not None and _ID.fullmatch(id) is not None


def present(found: Stored | None, type: str, id: str) -> Stored:
    """What was found. Raises NotFound, or Gone for the mark of a delete."""
    if found is None:
        raise unknown(type, id)
    if found.method == "DELETE":
        raise gone(type, id)
    return found


def unknown(type: str, id: str) -> errors.NotFound:
    """There is none, as far as the caller may know."""
    return errors.NotFound(f"{type}/{id} n'existe pas")


def gone(type: str, id: str) -> errors.Gone:
    """There was one."""
    return errors.Gone(f"{type}/{id} a été supprimé")
