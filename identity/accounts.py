"""Who signs in without a card, and by which means? (ACC-06)

An account belongs to one person and one mail address. It is made without means of signing in; a link that is good once
lets the person set them: a passkey, or a password with one-time codes. What is wrong with a sign-in is never said more
precisely than that it is wrong, and an unknown address costs the same time.
"""

from __future__ import annotations

import secrets
import unicodedata
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256

import sqlalchemy as sql

from common import clock, errors
from identity import codes, passwords, tables
from identity.answering import answering

INVITED = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Account:
    """`practitioner` is `Practitioner/x`; times in microseconds since 1970, 0 for never.

    `password` and `totp` are kept forms, empty when there is none.
    """

    id: str
    practitioner: str
    mail: str
    password: str
    totp: str
    step: int
    created: int
    seen: int
    warned: int
    closed: int


class Accounts:
    """Accounts in the hub's database, a synchronous SQLAlchemy engine. All functions raise Unavailable."""

    def __init__(self, engine: sql.Engine, now: clock.Clock) -> None:
        self.engine = engine
        self._now = now

    def invite(self, practitioner: str, mail: str) -> str:
        """The secret of a link that lets this person set (or set again) how they sign in, good once, for INVITED.

        Makes the account when they have none; a link of before is good no more. Raises Conflict when the address is
        another person's.
        """
        address = folded(mail)
        held = self.of(practitioner)
        if held is None:
            held = self._made(practitioner, address)
        elif held.mail != address:
            self._change(held.id, mail=address)
        text, expires = secrets.token_urlsafe(32), clock.micros(self._now() + INVITED)
        row = {"digest": _digest(text), "account": held.id, "expires": expires}
        with answering(), self.engine.begin() as connection:
            connection.execute(tables.invitation.delete().where(tables.invitation.c.account == held.id))
            connection.execute(tables.invitation.insert(), row)
        return text

    def invited(self, secret: str) -> Account:
        """Whose link this is. Raises NotFound when it was never one, has been used, or has expired."""
        query = (
            sql.select(tables.account)
            .join(tables.invitation, tables.invitation.c.account == tables.account.c.id)
            .where(
                tables.invitation.c.digest == _digest(secret), tables.invitation.c.expires > clock.micros(self._now())
            )
        )
        found = self._one(query)
        if found is None:
            raise errors.NotFound("ce lien a déjà servi ou a expiré : demandez-en un autre")
        return found

    def set_password(self, secret: str, password: str, totp: str, step: int) -> list[str]:
        """The holder of this link signs in from now on by this password and these one-time codes.

        Returns new codes for paper. All other links and means of theirs are gone, passkeys apart. Raises NotFound.
        """
        account = self.invited(secret)
        kept, papers = passwords.hashed(password), codes.papers()
        with answering(), self.engine.begin() as connection:
            consume(connection, secret, account.id)
            values = {"password": kept, "totp": totp, "step": step}
            connection.execute(tables.account.update().where(tables.account.c.id == account.id).values(values))
            self._papers(connection, account.id, papers)
        return papers

    def by_password(self, mail: str, password: str) -> Account | None:
        """Whose address and password these are. Takes its time: never in the event loop."""
        account = self._one(tables.account.select().where(tables.account.c.mail == folded(mail)))
        if not passwords.matches(account.password if account and not account.closed else "", password):
            return None
        assert account
        if passwords.is_dated(account.password):
            self._change(account.id, password=passwords.hashed(password))
        return account

    def use_step(self, account: Account, step: int) -> bool:
        """Take the time step of a one-time code: False when it, or a later one, was taken before."""
        columns = tables.account.c
        taken = tables.account.update().where(columns.id == account.id, columns.step < step).values(step=step)
        with answering(), self.engine.begin() as connection:
            return bool(connection.execute(taken).rowcount)

    def use_paper(self, account: Account, code: str) -> bool:
        """Take a code on paper: False when it is none, or no more."""
        digest = codes.digest(account.id, code)
        with answering(), self.engine.begin() as connection:
            return bool(connection.execute(tables.recovery.delete().where(tables.recovery.c.digest == digest)).rowcount)

    def papers_left(self, account: Account) -> int:
        """How many codes on paper are still good."""
        query = sql.select(sql.func.count()).where(tables.recovery.c.account == account.id)
        with answering(), self.engine.connect() as connection:
            return int(connection.execute(query).scalar_one())

    def new_papers(self, account: Account) -> list[str]:
        """New codes for paper; those of before are gone."""
        papers = codes.papers()
        with answering(), self.engine.begin() as connection:
            self._papers(connection, account.id, papers)
        return papers

    def change_password(self, account: Account, password: str) -> None:
        """Another password."""
        self._change(account.id, password=passwords.hashed(password))

    def saw(self, account: Account) -> None:
        """They signed in now."""
        self._change(account.id, seen=clock.micros(self._now()), warned=0)

    def of(self, practitioner: str) -> Account | None:
        """The account of `Practitioner/x`."""
        return self._one(tables.account.select().where(tables.account.c.practitioner == practitioner))

    def named(self, id: str) -> Account | None:
        """The account of that id."""
        return self._one(tables.account.select().where(tables.account.c.id == id))

    def idle(self, since: int) -> list[Account]:
        """Open accounts that nobody has used since that moment (microseconds since 1970), the longest unused first."""
        columns = tables.account.c
        used = sql.case((columns.seen > columns.created, columns.seen), else_=columns.created)
        return self._all(tables.account.select().where(columns.closed == 0, used < since).order_by(used))

    def told(self) -> list[Account]:
        """Accounts that were warned of, or are closed."""
        columns = tables.account.c
        query = tables.account.select().where(sql.or_(columns.warned > 0, columns.closed > 0))
        return self._all(query.order_by(columns.warned, columns.closed, columns.id))

    def warned(self, account: Account) -> None:
        """They were told now that it will be closed."""
        self._change(account.id, warned=clock.micros(self._now()))

    def holder(self, mail: str) -> str:
        """`Practitioner/x` whose address this is, "" for nobody's."""
        found = self._one(tables.account.select().where(tables.account.c.mail == folded(mail)))
        return found.practitioner if found else ""

    def close(self, practitioner: str) -> None:
        """No way of signing in is left, and no session. Raises NotFound."""
        account = self.of(practitioner)
        if account is None:
            raise errors.NotFound(f"{practitioner} n'a pas de compte")
        values = {"password": "", "totp": "", "closed": clock.micros(self._now())}
        with answering(), self.engine.begin() as connection:
            connection.execute(tables.account.update().where(tables.account.c.id == account.id).values(values))
            for table in (tables.invitation, tables.recovery, tables.passkey):
                connection.execute(table.delete().where(table.c.account == account.id))
            acting = tables.token.c.delegate.endswith(f" {practitioner}", autoescape=True)
            connection.execute(tables.token.delete().where(sql.or_(tables.token.c.also == practitioner, acting)))

    def _made(self, practitioner: str, mail: str) -> Account:
        made = Account(
            secrets.token_urlsafe(12),
            practitioner,
            mail,
            "",
            "",
            0,
            clock.micros(self._now()),
            seen=0,
            warned=0,
            closed=0,
        )
        row = {name: getattr(made, name) for name in tables.account.c.keys()}  # noqa: SIM118 - a ColumnCollection
        try:
            with answering(), self.engine.begin() as connection:
                connection.execute(tables.account.insert(), row)
        except sql.exc.IntegrityError:
            if held := self.of(practitioner):  # somebody invited them at the same moment
                return held
            raise _taken() from None
        return made

    def _change(self, id: str, **values: object) -> None:
        try:
            with answering(), self.engine.begin() as connection:
                connection.execute(tables.account.update().where(tables.account.c.id == id).values(values))
        except sql.exc.IntegrityError:
            raise _taken() from None

    def _papers(self, connection: sql.Connection, account: str, papers: list[str]) -> None:
        connection.execute(tables.recovery.delete().where(tables.recovery.c.account == account))
        rows = [{"digest": codes.digest(account, one), "account": account} for one in papers]
        connection.execute(tables.recovery.insert(), rows)

    def _all(self, query: sql.Select[tuple[object, ...]]) -> list[Account]:
        with answering(), self.engine.connect() as connection:
            return [Account(**row) for row in connection.execute(query).mappings()]

    def _one(self, query: sql.Select[tuple[object, ...]]) -> Account | None:
        with answering(), self.engine.connect() as connection:
            row = connection.execute(query).mappings().first()
        return Account(**row) if row else None


def consume(connection: sql.Connection, secret: str, account: str) -> None:
    """The link serves now, inside this transaction, and no other of the account any more; the account is open.

    Raises NotFound when somebody was first.
    """
    columns = tables.invitation.c
    if not connection.execute(tables.invitation.delete().where(columns.digest == _digest(secret))).rowcount:
        raise errors.NotFound("ce lien a déjà servi ou a expiré : demandez-en un autre")
    connection.execute(tables.invitation.delete().where(columns.account == account))
    connection.execute(tables.account.update().where(tables.account.c.id == account).values(closed=0))


def folded(mail: str) -> str:
    """An address as it is compared."""
    return unicodedata.normalize("NFC", mail).strip().lower()


def _taken() -> errors.Conflict:
    return errors.Conflict("cette adresse est celle d'un autre compte", at="mail")


def _digest(secret: str) -> bytes:
    return sha256(secret.encode("utf-8", "surrogatepass")).digest()
