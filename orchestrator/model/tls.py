"""Why an encrypted connection was refused, in words for a person; whatever library met it.

It asks the exceptions for the fields that Python's `ssl` gives them, and needs nothing of it.
"""

_DEPTH_MAX = 8
# X509_V_ERR_... of OpenSSL's x509_vfy.h.
_UNKNOWN = "its certificate is of an authority that is not trusted here; name the authority's file"
_CERTIFICATE = {
    9: "its certificate is not valid yet; look at this machine's clock",
    10: "its certificate has expired; make it a new one",
    18: _UNKNOWN,
    19: _UNKNOWN,
    20: _UNKNOWN,
    21: _UNKNOWN,
    23: "its certificate was revoked",
    62: "its certificate is for another host name",
    64: "its certificate is for another address",
}
_REASONS = {
    "WRONG_VERSION_NUMBER": "it does not speak TLS there",
    "RECORD_LAYER_FAILURE": "it does not speak TLS there",
    "UNSUPPORTED_PROTOCOL": "it speaks no TLS of version 1.2 or later",
    "TLSV1_ALERT_PROTOCOL_VERSION": "it speaks no TLS of version 1.2 or later",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it wants a client's certificate, and none was given",
    "TLSV1_ALERT_UNKNOWN_CA": "it does not trust our client's certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it does not accept our client's certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "our client's certificate has expired",
}


def tls_trouble(exc: BaseException) -> str | None:
    """What is wrong with the server's TLS, as the end of a sentence about it.

    None where nothing of the kind is behind this exception, its causes, or what it wraps.
    """
    return _look(exc, _DEPTH_MAX)


def _look(found: object, depth: int) -> str | None:
    if not isinstance(found, BaseException) or depth == 0:
        return None
    code, reason = getattr(found, "verify_code", None), getattr(found, "reason", None)
    if isinstance(code, int):
        told = str(getattr(found, "verify_message", ""))
        return _CERTIFICATE.get(code, f"its certificate is not accepted: {told}")
    if isinstance(reason, str) and reason in _REASONS:
        return _REASONS[reason]
    inner = (found.__cause__, found.__context__, reason, *found.args)
    return next((words for each in inner if (words := _look(each, depth - 1))), None)
