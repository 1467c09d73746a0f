"""A certificate authority for development and tests, and certificates of its making.

Elliptic curve keys (P-256), readable by their owner only; a certificate lives for a month. What is
still good is left as it is, so that making them again changes nothing.
"""

import os
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from orchestrator.model.time import NS_PER_S, Instant

AUTHORITY = "ca"
AUTHORITY_DAYS = 365
DAYS = 30
_LEEWAY = timedelta(minutes=5)  # for clocks that are a little behind ours
_NAME = "Trading System Orchestrator development"


class Issued(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate and its key. `made` false: it was there, and is good for a while."""

    certificate: Path
    key: Path
    hosts: tuple[str, ...]
    until: datetime
    made: bool


def make_authority(folder: Path, now: Instant, days: int = AUTHORITY_DAYS) -> Issued:
    """`ca.pem` and `ca.key` in this folder. Anyone with the key can pretend to be any server."""
    paths = _paths(folder, AUTHORITY)
    at = _moment(now)
    found = _read(paths)
    if found is not None and _good(found[0], at):
        return _issued(paths, found[0], made=False)
    key = ec.generate_private_key(ec.SECP256R1())
    who = _called(f"{_NAME} authority")
    certificate = (
        _begun(who, who, key, at, days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    _write(paths, certificate, key)
    return _issued(paths, certificate, made=True)


def issue(
    folder: Path,
    name: str,
    hosts: Iterable[str],
    now: Instant,
    days: int = DAYS,
    *,
    client: bool = False,
) -> Issued:
    """`NAME.pem` and `NAME.key` of this folder's authority, for these host names and addresses.

    A client's is for proving who connects: `name` is its common name. ValueError for no authority.
    """
    authority = _read(_paths(folder, AUTHORITY))
    if authority is None:
        raise ValueError(f"{folder} holds no authority (ca.pem and ca.key that belong together)")
    paths, at, wanted = _paths(folder, name), _moment(now), tuple(dict.fromkeys(hosts))
    found = _read(paths)
    if found is not None and _good(found[0], at) and _fits(found[0], authority[0], wanted):
        return _issued(paths, found[0], made=False)
    key = ec.generate_private_key(ec.SECP256R1())
    use = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
    signer = authority[0].extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    begun = (
        _begun(_called(name), authority[0].subject, key, at, days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(signer), critical=False
        )
    )
    if wanted:
        names = x509.SubjectAlternativeName([_general(host) for host in wanted])
        begun = begun.add_extension(names, critical=False)
    certificate = begun.sign(authority[1], hashes.SHA256())
    _write(paths, certificate, key)
    return _issued(paths, certificate, made=True)


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, at: datetime, days: int
) -> x509.CertificateBuilder:
    public = key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - _LEEWAY)
        .not_valid_after(at + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates, key_cert_sign=signs_certificates,
        crl_sign=signs_certificates, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _called(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _moment(now: Instant) -> datetime:
    return datetime.fromtimestamp(now // NS_PER_S, UTC)


def _good(certificate: x509.Certificate, at: datetime) -> bool:
    """More than a third of its life is left."""
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    return certificate.not_valid_before_utc <= at < certificate.not_valid_after_utc - life / 3


def _fits(
    certificate: x509.Certificate, authority: x509.Certificate, hosts: tuple[str, ...]
) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except Exception:  # noqa: BLE001 -- whatever it objects to, a new one is made
        return False
    return set(hosts) <= set(_hosts(certificate))


def _hosts(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    return tuple(str(each.value) for each in found.value)


def _paths(folder: Path, name: str) -> tuple[Path, Path]:
    return folder / f"{name}.pem", folder / f"{name}.key"


def _read(
    paths: tuple[Path, Path],
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None:
    """None where there is none, or only half of it (a crash between the two)."""
    try:
        certificate = x509.load_pem_x509_certificate(paths[0].read_bytes())
        key = serialization.load_pem_private_key(paths[1].read_bytes(), None)
    except (FileNotFoundError, ValueError):
        return None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        return None
    return (certificate, key) if certificate.public_key() == key.public_key() else None


def _write(
    paths: tuple[Path, Path], certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> None:
    form = serialization.PrivateFormat.PKCS8
    secret = key.private_bytes(
        serialization.Encoding.PEM, form, serialization.NoEncryption()
    )  # fmt: skip
    _replace(paths[1], secret, 0o600)
    _replace(paths[0], certificate.public_bytes(serialization.Encoding.PEM), 0o644)


def _replace(path: Path, content: bytes, mode: int) -> None:
    """Whole or not at all, and never readable by others for a moment."""
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.chmod(mode)
    draft.replace(path)


def _issued(paths: tuple[Path, Path], certificate: x509.Certificate, *, made: bool) -> Issued:
    return Issued(
        certificate=paths[0], key=paths[1], hosts=_hosts(certificate),
        until=certificate.not_valid_after_utc, made=made,
    )  # fmt: skip
