"""The venue over TLS, for bots whose addresses must begin with https."""

import datetime as dt
import http.client
import ipaddress
import json
import socket
import ssl

import pytest
import v20
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.integration.paper_venue import TOKEN, USD, Venue

LONG_AGO, FAR_AHEAD = dt.datetime(2020, 1, 1), dt.datetime(2120, 1, 1)  # noqa: DTZ001 - x509's


def write_certificate(folder):
    """Self-signed, for 127.0.0.1: (certificate, key) files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "paper venue")])
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(LONG_AGO)
        .not_valid_after(FAR_AHEAD)
        .add_extension(here, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, secret = folder / "cert.pem", folder / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate, secret


class Secured(Venue):
    """The same venue, whose control is reached over TLS too."""

    def connect(self):
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=10, context=self.trust)


@pytest.fixture(scope="module")
def venue(tmp_path_factory):
    folder = tmp_path_factory.mktemp("venue")
    certificate, key = write_certificate(folder)
    flags = ("--tls-cert", str(certificate), "--tls-key", str(key))
    with Secured(folder, *flags) as venue:
        venue.certificate = certificate
        venue.trust = ssl.create_default_context(cafile=certificate)
        venue.price("EUR_USD", "1.10000", "1.10010")
        yield venue


def test_requests_and_streams_are_answered_over_tls(venue):
    order = {"order": {"type": "MARKET", "instrument": "EUR_USD", "units": "10"}}
    status, _, headers = venue.ask("POST", f"/v3/accounts/{USD}/orders", order)
    assert status == 201
    assert headers["Location"].startswith(f"https://127.0.0.1:{venue.port}/v3/accounts/")
    with (
        socket.create_connection(("127.0.0.1", venue.port), timeout=10) as plain,
        venue.trust.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        path = f"/v3/accounts/{USD}/pricing/stream?instruments=EUR_USD"
        head = f"GET {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        connection.sendall(head.encode())
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert json.loads(answer.readline())["closeoutBid"] == "1.10000"


def test_oandas_own_client_with_its_default_of_tls(venue, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(venue.certificate))
    context = v20.Context("127.0.0.1", venue.port, token=TOKEN)
    assert context.account.summary(USD).get("account", 200).currency == "USD"
    context._session.close()


def test_plain_text_is_not_answered(venue):
    with socket.create_connection(("127.0.0.1", venue.port), timeout=10) as connection:
        connection.sendall(b"GET /v3/accounts HTTP/1.1\r\n\r\n")
        try:
            heard = connection.recv(100)
        except ConnectionError:
            heard = b""
    assert not heard.startswith(b"HTTP")
    assert venue.get("/v3/accounts")["accounts"]
