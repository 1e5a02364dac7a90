"""Did the operator take this mail?

SMTP (RFC 5321) with STARTTLS and a client certificate (MSSanté client reference 1.0.1, 1.1.3), delivery reports asked
for (RFC 3461) when the server offers them. One mail, one recipient, one outcome: never an exception for what a server
or a network does, because each of these is an answer that the delivery worker must keep.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

import aiosmtplib

from mss import address


@dataclass(frozen=True, slots=True)
class Smtp:
    """The operator's submission server. Secrets are paths to files. `timeout` in seconds for each SMTP command."""

    host: str = "127.0.0.1"
    port: int = 18025
    starttls: bool = False  # True: no mail leaves in clear
    client_certificate: Path | None = None
    client_key: Path | None = None
    ca_file: Path | None = None
    username_file: Path | None = None
    password_file: Path | None = None
    timeout: float = 60.0
    data_timeout: float = 60.0  # for the answer to the whole mail; RFC 5321 4.5.3.2.6 says 600, too long for a worker
    local_hostname: str = "hub.example"
    original_recipient: bool = False  # ORCPT; off, since a large operator mishandles it (MSSanté, Mailiz)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one mail.

    `code` is the SMTP code, 0 when no server answered. `permanent`: trying again cannot help. `uncertain`: the
    connection broke after the last byte, so the mail may have arrived; send the same bytes again, the Message-ID
    makes it one mail. `dsn`: the server promised a delivery report. `text` is short and safe to show.
    """

    accepted: bool
    permanent: bool
    code: int
    text: str
    uncertain: bool = False
    dsn: bool = False


async def send(settings: Smtp, message: bytes, *, sender: str, recipient: str, envid: str) -> Outcome:
    """Hand one mail to the operator. `sender` is the envelope sender ("" for a notice), `envid` our delivery id.

    Raises only errors.Invalid (an address that is not one) and OSError when a certificate or secret file is missing
    or wrong: those are mistakes of ours, not answers.
    """
    sender, recipient = sender and address.normalise(sender), address.normalise(recipient)
    client, keys = _client(settings), _keys(settings)
    try:
        refusal = await _hello(client, settings, keys)
        if refusal is None:
            refusal = _impossible(client, message, sender + recipient)
        return refusal or await _hand_over(client, settings, message, envelope=(sender, recipient, envid))
    except aiosmtplib.SMTPResponseException as error:
        return _refused(error.code, error.message)
    except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
        return Outcome(False, False, 0, _network(error))
    finally:
        client.close()


@dataclass(frozen=True, slots=True)
class _Keys:
    tls: ssl.SSLContext | None
    login: tuple[str, str] | None


async def _hello(client: aiosmtplib.SMTP, settings: Smtp, keys: _Keys) -> Outcome | None:
    """Connect, encrypt, sign in; None when all went well."""
    await client.connect()
    await client.ehlo()
    if keys.tls is not None:
        if not client.supports_extension("starttls"):
            return Outcome(False, False, 0, "Le serveur ne propose pas de liaison chiffrée (STARTTLS).")
        await client.starttls(server_hostname=settings.host, tls_context=keys.tls)
        await client.ehlo()
    if keys.login is not None:
        await client.login(*keys.login)
    return None


async def _hand_over(
    client: aiosmtplib.SMTP, settings: Smtp, message: bytes, *, envelope: tuple[str, str, str]
) -> Outcome:
    dsn = await _envelope(client, settings, message, envelope)
    try:
        answer = await client.data(message, timeout=settings.data_timeout)
    except (aiosmtplib.SMTPServerDisconnected, aiosmtplib.SMTPTimeoutError) as error:
        return Outcome(False, False, 0, _network(error), uncertain=True)
    await _leave(client)
    return Outcome(True, False, answer.code, _short(answer.message), dsn=dsn)


async def _envelope(client: aiosmtplib.SMTP, settings: Smtp, message: bytes, envelope: tuple[str, str, str]) -> bool:
    """MAIL and RCPT with what this server understands; says whether a delivery report was promised."""
    sender, recipient, envid = envelope
    dsn = client.supports_extension("dsn")
    mail_options = [f"SIZE={len(message)}"] if client.supports_extension("size") else []
    encoding = "ascii"
    if not (sender + recipient).isascii():
        mail_options.append("SMTPUTF8")
        encoding = "utf-8"
    mail_options += ["RET=HDRS", f"ENVID={_xtext(envid)}"] if dsn else []
    await client.mail(sender, options=mail_options, encoding=encoding)
    # A notice, which has no sender, asks for nothing: there is nobody to report to (RFC 3461 4.1).
    wanted = ["NOTIFY=SUCCESS,FAILURE,DELAY"] if dsn and sender else []
    if wanted and settings.original_recipient and recipient.isascii():
        wanted.append(f"ORCPT=rfc822;{_xtext(recipient)}")
    await client.rcpt(recipient, options=wanted, encoding=encoding)
    return bool(wanted)


def _impossible(client: aiosmtplib.SMTP, message: bytes, addresses: str) -> Outcome | None:
    """What this server could only refuse, found before a byte of the mail leaves."""
    limit = client.esmtp_extensions.get("size", "")
    if limit.isdigit() and 0 < int(limit) < len(message):
        return Outcome(False, True, 552, f"Courriel trop volumineux : l'opérateur accepte {int(limit) // 10**6} Mo.")
    if not addresses.isascii() and not client.supports_extension("smtputf8"):
        return Outcome(False, True, 553, "L'opérateur n'accepte pas les adresses accentuées.")
    return None


async def _leave(client: aiosmtplib.SMTP) -> None:
    try:
        await client.quit(timeout=5)
    except (aiosmtplib.SMTPException, OSError):
        pass  # the mail is accepted; how the connection ends changes nothing


def _client(settings: Smtp) -> aiosmtplib.SMTP:
    return aiosmtplib.SMTP(
        hostname=settings.host,
        port=settings.port,
        timeout=settings.timeout,
        local_hostname=settings.local_hostname,
        start_tls=False,  # done by hand: required or not at all, never "if offered"
        use_tls=False,
    )


def _keys(settings: Smtp) -> _Keys:
    """What the files hold, read before the first byte goes out, so that a missing file is not taken for an outage."""
    context = login = None
    if settings.starttls:
        context = ssl.create_default_context(cafile=settings.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if settings.client_certificate:
            context.load_cert_chain(settings.client_certificate, settings.client_key)
    if settings.username_file and settings.password_file:
        login = settings.username_file.read_text("utf-8").strip(), settings.password_file.read_text("utf-8").strip()
    return _Keys(context, login)


def _refused(code: int, text: str) -> Outcome:
    # 5xx is final (RFC 5321 4.2.1) except for a wrong password or a missing right: an operator repairs those.
    final = 500 <= code < 600 and code not in (530, 534, 535, 538)
    return Outcome(False, final, code if 200 <= code < 600 else 0, _short(text))


def _network(error: BaseException) -> str:
    if isinstance(error, ssl.SSLError | ssl.CertificateError):
        return "La liaison chiffrée a échoué : certificat refusé ou périmé."
    if isinstance(error, TimeoutError):
        return "Le serveur de messagerie n'a pas répondu à temps."
    if isinstance(error.__cause__, ssl.SSLError):
        return "La liaison chiffrée a échoué : certificat refusé ou périmé."
    return "Le serveur de messagerie est injoignable."


def _short(text: str) -> str:
    return address.safe(text, limit=300)


def _xtext(text: str) -> str:
    """RFC 3461 4: at most 100 characters, the special ones in hexadecimal."""
    kept = text.encode("ascii", "ignore").decode("ascii")[:100]
    return "".join(char if "!" <= char <= "~" and char not in "+=" else f"+{ord(char):02X}" for char in kept)
