"""Given how somebody stands towards a patient, what do they see of that patient?

A `Standing` is one row of the index of rights: for a patient, somebody (or everybody, `ANYONE`) has one bit during a
time. The bits that hold now, taken together, are a number below 64; for each way in which a row may reach a caller
there is a table of 64 bits that says for which numbers the row is seen. SQL looks into these tables (`AUTHORED`,
`NAMED`, `SHARED`), and so does `sees`, for whoever has to explain: enforcement and explanation cannot differ.
"""

from __future__ import annotations

from typing import NamedTuple

# In the circle of care; a consent to share is in force; it was withdrawn or refused; the patient is against any
# sharing; against this person or structure; an emergency was declared by this person.
CIRCLE, OPEN, WITHDRAWN, OPPOSED, EXCLUDED, EMERGENCY = 1, 2, 4, 8, 16, 32
# Nothing leaves the platform (mail, hospital, national record): asked by who sends, of no weight for who reads.
KEPT_IN = 64
READ_BITS = 64  # the bits below decide what is read

ANYONE = 0  # instead of a key: whoever it is
BEGINNING, END = -(2**62), 2**62  # an open end, as in `dates`


class Standing(NamedTuple):
    """`who` (an `access.key`, or ANYONE) has `bit` towards the patient from `lo` to `hi`, both included, microseconds.

    `patient` is the key of `Patient/x`.
    """

    patient: int
    who: int
    bit: int
    lo: int = BEGINNING
    hi: int = END


def is_closed(bits: int) -> bool:
    """Is the patient's data closed to all but those who wrote it? (CONS-03: a new consent opens it again)"""
    return bool(bits & OPPOSED or (bits & WITHDRAWN and not bits & OPEN))


def sees_own(bits: int) -> bool:
    """What they wrote themselves: kept by law, unless the patient is against this very person."""
    return not bits & EXCLUDED


def sees_named(bits: int) -> bool:
    """What was sent to them by name: a conversation, its documents."""
    if bits & EXCLUDED or bits & OPPOSED:
        return False
    return bool(bits & EMERGENCY) or not is_closed(bits)


def sees_shared(bits: int) -> bool:
    """What is shared with the circle of care."""
    if bits & EXCLUDED or bits & OPPOSED:
        return False
    return bool(bits & EMERGENCY or (bits & CIRCLE and bits & OPEN))


def opens(table: int, bits: int) -> bool:
    """Does a table say that a row is seen by who stands so?"""
    return bool(table >> (bits & READ_BITS - 1) & 1)


EVERYTHING = (1 << READ_BITS) - 1
AUTHORED = sum(1 << bits for bits in range(READ_BITS) if sees_own(bits))
NAMED = sum(1 << bits for bits in range(READ_BITS) if sees_named(bits))
SHARED = sum(1 << bits for bits in range(READ_BITS) if sees_shared(bits))
