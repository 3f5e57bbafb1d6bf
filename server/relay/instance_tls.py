"""TLS of the requests between instances whose INSTANCE_URL is an https address."""

import ssl


def trusted_authorities() -> ssl.SSLContext:
    """Trusts what the streams between instances trust: SSL_CERT_FILE, or the system's authorities.

    The HTTP client, which takes nothing else from the environment, would trust only those that come
    with it.
    """
    return ssl.create_default_context()
