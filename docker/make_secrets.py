"""One-shot job of docker-compose.yml: makes the passwords of this installation, once.

Each secret is a file that only the containers see that mount its volume. Nothing is printed, and
what is there already stays as it is.
"""

import base64
import os
import secrets
from pathlib import Path

FOLDER = Path(os.environ.get("SECRETS", "/secrets"))


def kept(path: Path, value: str) -> str:
    """What the file holds; a new file holds `value`."""
    path.parent.mkdir(exist_ok=True)
    if not path.exists():
        path.write_text(value)
        # The users of the containers have different numbers.
        path.chmod(0o444)
    return path.read_text()


password = kept(FOLDER / "database" / "postgres_password", secrets.token_hex(24))
kept(
    FOLDER / "app" / "database_url",
    f"postgresql+asyncpg://voice_ai:{password}@postgres:5432/voice_ai",
)
kept(FOLDER / "app" / "stream_token_secret", secrets.token_hex(32))
kept(FOLDER / "app" / "temporal_codec_key", base64.b64encode(secrets.token_bytes(32)).decode())
kept(FOLDER / "grafana" / "admin_password", secrets.token_hex(12))
