"""Checks what is deployed, without an engine and without a network: `make check-deploy`.

One line for each check: ok, FAILED with what the tool said, or "not checked" with the reason, when
a tool is not on this machine. Exit code 1 when any failed.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

REPO = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
COMPOSE = ("-f", "docker-compose.yml")
OVERLAYS = ((), ("docker-compose.demo.yml",), ("docker-compose.prod.yml",))
LINK = re.compile(r"(?<!\!)\[[^\]]*\]\(([^)\s]+)\)")


class Failed(Exception):
    """A check failed; the text says what the tool said."""


class NotChecked(Exception):
    """A check could not be made here; the text says why."""


def run(*command: str | Path, **environment: str) -> str:
    """Run a tool in the repository. Raises: Failed."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=REPO,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode:
        raise Failed((done.stdout + done.stderr).strip())
    return done.stdout


def found(tool: str, where: str) -> str:
    """The path of a tool. Raises: NotChecked."""
    path = shutil.which(tool)
    if path is None:
        raise NotChecked(f"{tool} is not here; {where}")
    return path


def compose() -> None:
    """docker compose config, with each overlay."""
    for overlay in OVERLAYS:
        files = [part for name in overlay for part in ("-f", name)]
        run(BIN / "docker-compose", *COMPOSE, *files, "config", "-q", DOMAIN="voice.example.com")


def dockerfile() -> None:
    """hadolint Dockerfile"""
    run(BIN / "hadolint", "Dockerfile")


def scripts() -> None:
    """sh -n of the container's scripts"""
    for script in sorted((REPO / "docker").rglob("*.sh")):
        run("sh", "-n", script)


def prometheus() -> None:
    """promtool check config, test rules"""
    promtool = found("promtool", "apt-get install prometheus")
    run(promtool, "check", "config", "docker/prometheus/prometheus.yml")
    run(promtool, "test", "rules", "docker/prometheus/alerts_test.yml")


def nginx() -> None:
    """nginx -t, without and with TLS"""
    binary = found("nginx", "apt-get install nginx-light")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        run(
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x"),
            *("-keyout", folder / "privkey.pem", "-out", folder / "fullchain.pem"),
        )
        for server in ("plain", "tls"):
            (folder / "nginx.conf").write_text(_as_here(server, folder))
            run(binary, "-t", "-q", "-e", "/dev/null", "-c", folder / "nginx.conf")


def _as_here(server: str, folder: Path) -> str:
    """The container's configuration in one file, with this machine's paths.

    `resolve` and `http2 on` need nginx 1.27, which many machines do not have yet.
    """

    def text(name: str) -> str:
        return (REPO / "docker" / "nginx" / f"{name}.conf").read_text(encoding="utf-8")

    whole = text("nginx").replace("include /etc/nginx/server.conf;", text(server))
    whole = whole.replace("include /etc/nginx/app.conf;", text("app"))
    whole = whole.replace("/run/nginx.pid", str(folder / "nginx.pid"))
    whole = whole.replace("/etc/nginx/tls", str(folder)).replace("http2 on;", "")
    return re.sub(r"server app:8000 resolve;", "server 127.0.0.1:8000;", whole)


def dashboards() -> None:
    """dashboards and alerts against the metrics"""
    run(BIN / "pytest", "-p", "no:xdist", "-p", "no:cacheprovider", "tests/deployment")


def terraform() -> None:
    """terraform fmt, validate and test"""
    script = REPO / "scripts" / "check_terraform.sh"
    if not script.is_file():
        raise NotChecked("there is no scripts/check_terraform.sh")
    found("terraform", "install terraform and a mirror of its providers")
    sys.stdout.write(run("bash", script))


def links() -> None:
    """links in the docs"""
    broken = sorted(broken_links())
    if broken:
        raise Failed("\n".join(broken))


def broken_links() -> Iterator[str]:
    """Each link of a page to a file or a heading that is not there."""
    pages = [REPO / name for name in tracked("*.md")]
    for page in pages:
        for target in LINK.findall(without_code(page.read_text(encoding="utf-8"))):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, heading = target.partition("#")
            there = (page.parent / path).resolve() if path else page
            if not there.exists():
                yield f"{page.relative_to(REPO)}: {target}: there is no such file"
            elif heading and there.suffix == ".md" and heading not in headings(there):
                yield f"{page.relative_to(REPO)}: {target}: there is no such heading"


def tracked(pattern: str) -> list[str]:
    """The files of the repository that match."""
    said = run("git", "ls-files", "--cached", "--others", "--exclude-standard", pattern)
    return said.splitlines()


def without_code(text: str) -> str:
    """The text without blocks of code."""
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def headings(page: Path) -> set[str]:
    """The anchors of a page, as GitHub makes them."""
    text = without_code(page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ +(.+)$", text, re.MULTILINE)
    plain = (re.sub(r"[`*]|\]\([^)]*\)|\[", "", title).strip().lower() for title in titles)
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in plain}


CHECKS: tuple[Callable[[], None], ...] = (
    compose,
    dockerfile,
    scripts,
    prometheus,
    nginx,
    dashboards,
    terraform,
    links,
)


def main() -> int:
    """Make all checks; return the exit code."""
    failed = 0
    for check in CHECKS:
        began = time.monotonic()
        try:
            check()
            says = "ok"
        except NotChecked as why:
            says = f"not checked: {why}"
        except Failed as why:
            failed += 1
            says = "FAILED\n" + "\n".join(f"    {line}" for line in str(why).splitlines())
        print(f"{check.__doc__}: {says}  ({time.monotonic() - began:.1f} s)", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
