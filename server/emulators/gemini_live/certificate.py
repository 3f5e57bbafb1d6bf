"""A throw-away certificate authority and a certificate for this machine's loopback.

google-genai dials `wss` whenever it has a key, so the emulator serves TLS; the authority's file
goes into `SSL_CERT_FILE` of whoever calls it.
"""

import ipaddress
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LOOPBACK = (
    x509.DNSName("localhost"),
    x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    x509.IPAddress(ipaddress.ip_address("::1")),
)
VALID_FOR = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class LoopbackCertificate:
    """PEM files: `ca_file` for clients, the other two for the server."""

    ca_file: Path
    certificate_file: Path
    key_file: Path

    def server_context(self) -> ssl.SSLContext:
        """TLS for a server that answers as localhost, 127.0.0.1 or ::1."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate_file, self.key_file)
        return context

    @property
    def lasts(self) -> bool:
        """Whether the files are there, and valid for a day at least."""
        try:
            certificate = x509.load_pem_x509_certificate(self.certificate_file.read_bytes())
        except (OSError, ValueError):
            return False
        whole = self.ca_file.is_file() and self.key_file.is_file()
        return whole and certificate.not_valid_after_utc > datetime.now(UTC) + timedelta(days=1)

    def client_context(self) -> ssl.SSLContext:
        """TLS for a client that trusts this authority alone."""
        return ssl.create_default_context(cafile=str(self.ca_file))


def make_certificate(
    folder: Path, names: Sequence[str] = (), *, valid_for: timedelta | None = None
) -> LoopbackCertificate:
    """Make both in `folder`. Nobody keeps the authority's key.

    `names`: host names or IP addresses that the server is reached by, besides loopback. Less than
    nothing of `valid_for`, and not an hour less, is a certificate that has expired.
    """
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority_name = _name("Voice AI emulator authority")
    authority = (
        _builder(authority_name, authority_name, authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    key = ec.generate_private_key(ec.SECP256R1())
    subjects = [*LOOPBACK, *map(_subject, names)]
    certificate = (
        _builder(_name("localhost"), authority_name, key.public_key(), valid_for or VALID_FOR)
        .add_extension(x509.SubjectAlternativeName(subjects), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()),
            critical=False,
        )
        .sign(authority_key, hashes.SHA256())
    )
    made = _in(folder)
    made.ca_file.write_bytes(authority.public_bytes(Encoding.PEM))
    made.certificate_file.write_bytes(certificate.public_bytes(Encoding.PEM))
    made.key_file.touch(mode=0o600)
    made.key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return made


def _subject(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def kept_certificate(folder: Path, names: Sequence[str] = ()) -> LoopbackCertificate:
    """The certificate in `folder`, which is made when there is none, or none that lasts.

    The folder is put there as a whole: several processes may ask at once.
    """
    if not _in(folder).lasts:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent, prefix=f"{folder.name}-") as scratch:
            new, old = Path(scratch, "new"), Path(scratch, "old")
            new.mkdir()
            make_certificate(new, names)
            with suppress(FileNotFoundError):
                folder.rename(old)
            # Another process may have been faster: its certificate is as good.
            with suppress(OSError):
                new.rename(folder)
    return _in(folder)


def _in(folder: Path) -> LoopbackCertificate:
    return LoopbackCertificate(folder / "ca.pem", folder / "server.pem", folder / "server.key")


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    valid_for: timedelta = VALID_FOR,
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + valid_for)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
