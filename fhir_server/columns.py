"""What kinds of column do tables have on both engines?"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, PrimaryKeyConstraint, SmallInteger, Text
from sqlalchemy.dialects.postgresql import ARRAY

# STRICT tables of SQLite know INTEGER only; byte order ("C") makes both engines sort texts alike.
BIG = BigInteger().with_variant(Integer(), "sqlite")
SMALL = SmallInteger().with_variant(Integer(), "sqlite")
WORDS = Text().with_variant(Text(collation="C"), "postgresql")
KEYS = LargeBinary().with_variant(ARRAY(BigInteger), "postgresql")


def column(name: str, kind: object, *, null: bool = False) -> Column[object]:
    """A column; SQLite and PostgreSQL take its numbers as given."""
    return Column(name, kind, nullable=null, autoincrement=False)  # type: ignore[arg-type]


def leading_part(spread: bool) -> list[Column[object]]:
    """The column that spreads a database over nodes, first of every table with patient data (PostgreSQL only)."""
    return [column("part", BIG)] if spread else []


def primary(spread: bool, *names: str) -> PrimaryKeyConstraint:
    """A primary key, led by `part` where the database may be spread."""
    return PrimaryKeyConstraint(*(("part", *names) if spread else names))
