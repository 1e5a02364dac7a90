"""Is this a passkey of theirs?

WebAuthn level 2 by the `webauthn` library: the authenticator holds the key, checks the person (user verification is
demanded) and names the account itself, so that a passkey is both factors and nobody types an address. It works for one
host name over https, or for `localhost`.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sql
import webauthn
from webauthn.helpers import bytes_to_base64url, exceptions, options_to_json_dict
from webauthn.helpers import structs as means

from common import clock, errors
from identity import tables
from identity.accounts import Account, consume
from identity.answering import answering

NAME = "Spico"
MOST = 10  # of one account
LONGEST_NAME = 60
_MOST_TEXT = 16 * 1024


@dataclass(frozen=True, slots=True)
class Passkey:
    """One of an account, as its owner is shown it; times in microseconds since 1970, 0 for never."""

    id: str
    name: str
    created: int
    used: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where it works: `host` is the relying party's id, `origin` what the browser says it is at."""

    host: str
    origin: str


class Passkeys:
    """Passkeys in the hub's database, a synchronous SQLAlchemy engine. All functions raise Unavailable."""

    def __init__(self, engine: sql.Engine, now: clock.Clock, place: Place) -> None:
        self._engine = engine
        self._now = now
        self.place = place

    def offered(self, account: Account, display: str) -> tuple[dict[str, Any], str]:
        """What the browser needs to make one (`navigator.credentials.create`), and the challenge to keep for `keep`."""
        challenge = secrets.token_bytes(32)
        options = webauthn.generate_registration_options(
            rp_id=self.place.host,
            rp_name=NAME,
            user_name=account.mail,
            user_id=account.id.encode(),
            user_display_name=display or account.mail,
            challenge=challenge,
            authenticator_selection=means.AuthenticatorSelectionCriteria(
                resident_key=means.ResidentKeyRequirement.REQUIRED,
                user_verification=means.UserVerificationRequirement.REQUIRED,
            ),
            exclude_credentials=[means.PublicKeyCredentialDescriptor(id=one) for one in self._ids(account)],
        )
        return options_to_json_dict(options), bytes_to_base64url(challenge)

    def keep(self, account: Account, answer: str, challenge: str, name: str, *, invitation: str = "") -> None:
        """Take in what the browser made; the link of an `invitation` has served then.

        Raises Invalid when it is not an answer to that challenge, or one too many, NotFound for a link that is no more.
        """
        if len(self._ids(account)) >= MOST:
            raise errors.Invalid(f"{MOST} clés d'accès au plus : retirez-en une d'abord")
        try:
            made = webauthn.verify_registration_response(
                credential=_read(answer),
                expected_challenge=webauthn.base64url_to_bytes(challenge),
                expected_rp_id=self.place.host,
                expected_origin=self.place.origin,
                require_user_verification=True,
            )
        except (exceptions.WebAuthnException, ValueError, KeyError, TypeError):
            raise errors.Invalid("cette clé d'accès n'a pas pu être vérifiée : recommencez") from None
        row = {
            "id": made.credential_id,
            "account": account.id,
            "public_key": made.credential_public_key,
            "uses": made.sign_count,
            "name": name.strip()[:LONGEST_NAME] or "Clé d'accès",
            "created": clock.micros(self._now()),
            "used": 0,
        }
        try:
            with answering(), self._engine.begin() as connection:
                connection.execute(tables.passkey.insert(), row)
                if invitation:
                    consume(connection, invitation, account.id)
        except sql.exc.IntegrityError:
            raise errors.Invalid("cette clé d'accès est déjà enregistrée") from None

    def asked(self) -> tuple[dict[str, Any], str]:
        """What the browser needs to use one (`navigator.credentials.get`), and the challenge to keep for `owner`."""
        challenge = secrets.token_bytes(32)
        required = means.UserVerificationRequirement.REQUIRED
        options = webauthn.generate_authentication_options(
            rp_id=self.place.host, challenge=challenge, user_verification=required
        )
        return options_to_json_dict(options), bytes_to_base64url(challenge)

    def owner(self, answer: str, challenge: str) -> str:
        """The id of the account whose passkey answered that challenge. Raises Unauthenticated."""
        said, columns = _read(answer), tables.passkey.c
        with answering(), self._engine.begin() as connection:
            try:
                id = webauthn.base64url_to_bytes(str(said.get("rawId", "")))
                query = tables.passkey.select().where(columns.id == id)
                row = connection.execute(query.with_for_update()).mappings().first()
                if row is None:
                    raise _unknown()
                shown = webauthn.verify_authentication_response(
                    credential=said,
                    expected_challenge=webauthn.base64url_to_bytes(challenge),
                    expected_rp_id=self.place.host,
                    expected_origin=self.place.origin,
                    credential_public_key=row["public_key"],
                    credential_current_sign_count=row["uses"],
                    require_user_verification=True,
                )
            except (exceptions.WebAuthnException, ValueError, KeyError, TypeError):
                raise _unknown() from None
            values = {"uses": shown.new_sign_count, "used": clock.micros(self._now())}
            connection.execute(tables.passkey.update().where(columns.id == row["id"]).values(values))
        return str(row["account"])

    def of(self, account: Account) -> list[Passkey]:
        """Those of an account, the oldest first."""
        columns = tables.passkey.c
        query = tables.passkey.select().where(columns.account == account.id).order_by(columns.created)
        with answering(), self._engine.connect() as connection:
            rows = connection.execute(query).mappings().all()
        return [Passkey(bytes_to_base64url(one["id"]), one["name"], one["created"], one["used"]) for one in rows]

    def remove(self, account: Account, id: str) -> None:
        """One of theirs opens nothing any more.

        Raises NotFound, Conflict for the last one of an account that has no password: it would lock its owner out.
        """
        mine = self.of(account)
        if all(one.id != id for one in mine):
            raise errors.NotFound("cette clé d'accès n'est pas, ou plus, la vôtre")
        if len(mine) == 1 and not account.password:
            raise errors.Conflict("c'est votre seul moyen de connexion : ajoutez-en un autre d'abord")
        with answering(), self._engine.begin() as connection:
            key = tables.passkey.c.id == webauthn.base64url_to_bytes(id)
            connection.execute(tables.passkey.delete().where(key, tables.passkey.c.account == account.id))

    def _ids(self, account: Account) -> list[bytes]:
        query = sql.select(tables.passkey.c.id).where(tables.passkey.c.account == account.id)
        with answering(), self._engine.connect() as connection:
            return list(connection.execute(query).scalars())


def _read(answer: str) -> dict[str, Any]:
    """The JSON of a credential. Raises ValueError for what is none, or too long to be one."""
    said = json.loads(answer) if len(answer) <= _MOST_TEXT else None
    if not isinstance(said, dict):
        raise ValueError("no credential")
    return said


def _unknown() -> errors.Unauthenticated:
    return errors.Unauthenticated("cette clé d'accès n'est pas reconnue ici")
