"""What can an operator set, and what is it when they say nothing?

Read once, from `HUB_*` environment variables over `hub.toml` over the defaults below, then handed down. A secret is a
path to a file, never a value. `docs/settings.md` is printed from this class; a test fails when it is stale.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from common import errors


def _doc(text: str, default: Any) -> Any:
    return field(default=default, metadata={"doc": text})


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting of the hub. Ports: 0 picks a free one."""

    data: Path = _doc("folder of everything the hub keeps: database, keys, caches", Path("data"))
    database: str = _doc("PostgreSQL URL; empty means the SQLite file `hub.sqlite` in the data folder", "")
    host: str = _doc("address every door listens on", "127.0.0.1")
    port: int = _doc("HTTP: FHIR API and web app", 8000)
    mllp_port: int = _doc("HL7 v2 over MLLP", 2575)
    smtp_port: int = _doc("mail in, SMTP", 2525)
    lmtp_port: int = _doc("mail in, LMTP (behind Postfix)", 2524)
    workers: int = _doc("HTTP processes; more than one needs PostgreSQL", 1)
    demo: bool = _doc("fictitious region: persona tiles at sign-in and a banner on every page", False)
    log_json: bool = _doc("one JSON object per log line instead of text", False)
    mail_mailbox: str = _doc("the hub's own mailbox, base of the reply addresses", "conv@hub.demo.mssante.fr")
    mail_smtp_host: str = _doc("operator's submission server", "127.0.0.1")
    mail_smtp_port: int = _doc("operator's submission port", 18025)
    mail_starttls: bool = _doc("require STARTTLS towards the operator", False)
    mail_client_certificate: Path | None = _doc("PEM certificate of the application mailbox", None)
    mail_client_key: Path | None = _doc("PEM key of the application mailbox", None)
    mail_sub_addresses: bool = _doc(
        "the operator takes sub-addresses (`conv+…@`); without, threads are found by References and subject", True
    )
    mail_return_addresses: bool = _doc(
        "the operator takes an envelope sender of its own for each delivery (needs sub-addresses)", True
    )
    mail_original_recipient: bool = _doc("send ORCPT with delivery reports; some operators mishandle it", False)
    mail_receipts: bool = _doc("ask recipients for read receipts (MDN)", True)
    mail_allowlist_url: str = _doc("national white list (https); empty: only a copy taken by hand counts, if any", "")
    mail_allowlist_ca: Path | None = _doc("PEM chain that the white list's server must come from (IGC-Santé)", None)
    mail_allowlist_hours: float = _doc("how often the white list is fetched", 4.0)
    mail_allowlist_days: float = _doc("age after which the copy of the white list keeps nobody out any more", 7.0)
    notice_smtp_host: str = _doc(
        "server for mails to private addresses (accounts), which no MSSanté operator takes", "127.0.0.1"
    )
    notice_smtp_port: int = _doc("its port", 18025)
    notice_starttls: bool = _doc("require STARTTLS towards it", False)
    notice_username_file: Path | None = _doc("file with the user name for it", None)
    notice_password_file: Path | None = _doc("file with the password for it", None)
    notice_from: str = _doc("author of these mails", "ne-pas-repondre@hub.example")
    imap_host: str = _doc("operator's IMAP server, where mails for the mailbox are fetched; empty: none are", "")
    imap_port: int = _doc("its port", 143)
    imap_starttls: bool = _doc("require STARTTLS towards it", True)
    imap_login: str = _doc("`password`, `external` (client certificate), `xoauth2`, or `none`", "password")
    imap_user: str = _doc("user name; empty: the mailbox's address", "")
    imap_secret_file: Path | None = _doc("file with the password, or the token of the moment", None)
    imap_ca: Path | None = _doc("PEM chain that the server's certificate must come from", None)
    imap_folder: str = _doc("folder that mails are taken from", "INBOX")
    imap_poll_seconds: float = _doc("how often to look where the server does not tell (IDLE)", 30.0)
    mail_product: str = _doc("product reference sent in X-MSS-NIL", "SPICO-HUB")
    mail_packages: bool = _doc("documents about a patient also travel as a health package (IHE_XDM.zip)", True)
    mail_facility: str = _doc("sector of activity (TRE_R02) of documents that do not say theirs", "SA07")
    mail_practice: str = _doc("practice setting (TRE_A01) of documents that do not say theirs", "AMBULATOIRE")
    mail_max_bytes: int = _doc("largest mail accepted", 25 * 1024 * 1024)
    mail_pace: int = _doc("mails of one sender in one conversation within ten minutes, then 451; 0: no limit", 30)
    mllp_max_bytes: int = _doc("largest HL7 message accepted", 25 * 1024 * 1024)
    fhir_max_bytes: int = _doc("largest HTTP request body accepted", 25 * 1024 * 1024)
    sign_in_rate: float = _doc("sign-ins and token requests a second from one network; 0: no limit", 5.0)
    fhir_rate: float = _doc("FHIR requests a second of one person or software; 0: no limit", 200.0)
    jobs_folder: Path | None = _doc(
        "files of exports and asynchronous answers; shared by all machines; default `jobs` in the data folder", None
    )
    jobs_at_once: int = _doc("asynchronous jobs that one process does at once", 2)
    jobs_keep_seconds: int = _doc("how long the result of a job is kept", 24 * 3600)
    export_file_bytes: int = _doc("a file of an export ends at this size", 128 * 1024 * 1024)
    import_dir: Path | None = _doc("folder whose NDJSON files `$import` may name; without one it reads none", None)
    import_max_bytes: int = _doc("largest NDJSON body that `$import` takes", 16 * 1024**3)
    psc_discovery: str = _doc("Pro Santé Connect: address of its discovery document; empty: no national sign-in", "")
    psc_client_id: str = _doc("how Pro Santé Connect knows us", "")
    psc_client_secret_file: Path | None = _doc("file with the secret that Pro Santé Connect gave us", None)
    psc_acr: str = _doc("level of authentication that is demanded of Pro Santé Connect", "eidas1")
    terms_file: Path | None = _doc(
        "terms of use that people accept, a text whose first line is `Version …`; default: ours", None
    )
    accounts_at_once: bool = _doc(
        "whoever signs in by Pro Santé Connect and may practise gets an account at once", True
    )
    accounts_warned_months: int = _doc("months without a sign-in after which somebody is warned", 10)
    accounts_closed_months: int = _doc(
        "months after which the account is closed, 30 days after the warning at the earliest", 12
    )
    accounts_contact: str = _doc("who helps people who ask for an account: a telephone number or an address", "")
    public_url: str = _doc(
        "address that clients reach us at, `https://hub.example`; empty: that of `host` and `port`", ""
    )
    tls: str = _doc(
        "https on the HTTP port: `on`, `off` (a proxy in front ends TLS), or `auto`: when there is a certificate, or "
        "others than this machine can connect to `host`",
        "auto",
    )
    tls_certificate: Path | None = _doc(
        "PEM certificate of the HTTP port and those in between; default: a local authority's, `tls` in the data folder",
        None,
    )
    tls_key: Path | None = _doc("PEM key of that certificate", None)
    tls_client_ca: Path | None = _doc(
        "PEM certificates of the authorities whose client certificates are believed; without it none is asked for", None
    )
    tls_client_crl: Path | None = _doc(
        "their lists of revoked certificates, PEM or DER; read again when it changes", None
    )
    trusted_proxies: str = _doc(
        "networks (CIDR list) whose `X-Forwarded-For`, `X-Forwarded-Proto` and `Client-Cert` headers are believed", ""
    )
    hooks_allow: str = _doc(
        "networks besides the public ones that subscriptions may call (CIDR list), also by http", ""
    )
    hooks_retry_hours: float = _doc("how long a failing subscriber is called again before its status is `error`", 48.0)
    hooks_keep_days: float = _doc("how long events of a subscription can be sent or asked for (`$events`)", 14.0)
    hooks_timeout_seconds: float = _doc("how long a subscriber may take to answer", 10.0)
    emergency_hours: float = _doc("how long an access in an emergency stays open", 4.0)
    traces_years: float = _doc("how long traces of accesses and writes are kept; 0: for ever", 10.0)
    hospital_organization: str = _doc("Organization id that hospital messages are attributed to", "hopital")
    hospital_unknown_patient: str = _doc("`create` a provisional patient, or `refuse` with 902", "create")
    hospital_reused_id: str = _doc(
        "other content under a known message id: `accept` as a new message, or `refuse`", "accept"
    )
    hospital_triage: str = _doc("PractitionerRole id that receives letters addressed to nobody we know", "claire")

    @property
    def database_url(self) -> str:
        """`postgresql://…` as given, or `sqlite:///ABSOLUTE PATH`."""
        return self.database or f"sqlite:///{(self.data / 'hub.sqlite').resolve()}"

    @property
    def mail_domain(self) -> str:
        """Domain of the hub's mailbox: right-hand side of every Message-ID that the hub makes."""
        return self.mail_mailbox.partition("@")[2]

    def with_options(self, **given: Any) -> Settings:
        """A copy with every option that was really given (None means not given)."""
        return replace(self, **{name: value for name, value in given.items() if value is not None})


def read(environment: Mapping[str, str] = os.environ, file: Path | None = None) -> Settings:
    """Settings from the environment over the file (`HUB_CONFIG`, default `hub.toml` when it exists).

    Raises errors.Unreadable naming the setting whose value cannot be understood or that does not exist.
    """
    path = file or Path(environment.get("HUB_CONFIG", "hub.toml"))
    values: dict[str, object] = dict(tomllib.loads(path.read_text())) if path.exists() else {}
    known = {one.name: one for one in fields(Settings)}
    for name in values:
        if name not in known:
            raise errors.Unreadable(f"{path}: unknown setting {name}", at=name)
    for name in known:
        if (variable := f"HUB_{name.upper()}") in environment:
            values[name] = environment[variable]
    return Settings(**{name: _convert(name, known[name].type, value) for name, value in values.items()})


def _convert(name: str, kind: object, value: object) -> Any:
    try:
        if kind == "int":
            return int(str(value))
        if kind == "float":
            return float(str(value))
        if kind == "bool":
            return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}[str(value).lower()]
        if "Path" in str(kind):
            return Path(str(value)) if value or "None" not in str(kind) else None
        return str(value)
    except (ValueError, KeyError):
        raise errors.Unreadable(f"{name}: {value!r} is not a value of type {kind}", at=name) from None
