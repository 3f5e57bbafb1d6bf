# One image for the server, the worker, the migrations and the command line.
#
#   docker build --tag voice-ai .                          what runs in production
#   docker build --tag voice-ai:demo --target demo .       the same, and both vendors' emulators
#
# PYTHON_IMAGE may be pinned by digest: --build-arg PYTHON_IMAGE=python:3.12-slim-bookworm@sha256:…
ARG PYTHON_IMAGE=python:3.12-slim-bookworm

# --- builds the environment in /opt/voice-ai; nothing else of this stage is kept
FROM ${PYTHON_IMAGE} AS build
SHELL ["/bin/sh", "-euc"]
WORKDIR /src
ENV UV_LINK_MODE=copy UV_NO_CACHE=1 UV_PYTHON_DOWNLOADS=never PIP_DISABLE_PIP_VERSION_CHECK=1
COPY docker/build.lock ./
RUN python3 -m venv /opt/build \
    && /opt/build/bin/pip install --quiet --no-cache-dir --require-hashes --requirement build.lock
# Before the source, so that a change there does not install everything anew.
COPY docker/image.lock ./
RUN /opt/build/bin/uv venv --quiet --python "$(command -v python3)" /opt/voice-ai \
    && /opt/build/bin/uv pip install --quiet --python /opt/voice-ai/bin/python --no-build --no-deps \
        --require-hashes --requirement image.lock
COPY pyproject.toml README.md voice_ai_pytest.py ./
COPY agent agent
COPY pipelines pipelines
COPY processors processors
COPY server server
RUN /opt/build/bin/uv build --quiet --wheel --no-build-isolation --python /opt/build/bin/python \
        --out-dir /opt/wheel \
    && /opt/build/bin/uv pip install --quiet --python /opt/voice-ai/bin/python --no-deps /opt/wheel/*.whl \
    && find /opt/voice-ai -type d -name tests -not -path '*/pipecat/*' -prune -exec rm -r {} + \
    && find /opt/voice-ai -name '*.pyi' -delete
# Imports once what the server imports, so that its bytecode is there: the file system is read-only
# when it runs. The bytecode of all that is installed would be 100 MB.
WORKDIR /tmp
RUN DATABASE_URL=sqlite+aiosqlite:////tmp/empty.db /opt/voice-ai/bin/voice-ai migrate \
    && /opt/voice-ai/bin/python -c "import server.cli.serve, server.app"

# --- what both images have in common
FROM ${PYTHON_IMAGE} AS runtime
RUN groupadd --gid 10001 voice-ai \
    && useradd --uid 10001 --gid 10001 --home-dir /data --no-create-home --shell /usr/sbin/nologin voice-ai \
    && install --directory --owner voice-ai --group voice-ai --mode 0750 /data /data/recordings /data/record-spool
ENV PATH=/opt/voice-ai/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PORT=8000 \
    RECORD_SPOOL_FOLDER=/data/record-spool \
    RECORDINGS_FOLDER=/data/recordings
# The only folder that is written to, next to /tmp. Without DATABASE_URL, SQLite is here.
WORKDIR /data
VOLUME /data
EXPOSE 8000
# The server stops taking calls, tells Twilio where the live ones go on, and ends. Give it time:
# `docker stop --time 120`, `stop_grace_period: 120s`, ECS `stopTimeout: 120`.
STOPSIGNAL SIGTERM
# Liveness, not readiness: a container that is not ready may still carry calls. A worker or a job
# has no port, and turns this off or brings its own.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python3", "-c", "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ['PORT']}/health/live\", timeout=4)"]
ENTRYPOINT ["voice-ai"]
CMD ["serve", "--host", "0.0.0.0"]

# --- the same with Twilio and Gemini emulated (espeak-ng, which is GPL-3): never for production
FROM build AS build-demo
COPY docker/demo.lock ./
RUN /opt/build/bin/uv pip install --quiet --python /opt/voice-ai/bin/python --no-build --no-deps \
        --require-hashes --requirement demo.lock
FROM runtime AS demo
COPY --from=build-demo /opt/voice-ai /opt/voice-ai
USER 10001:10001

# --- the last stage is what `docker build` makes
FROM runtime AS production
COPY --from=build /opt/voice-ai /opt/voice-ai
USER 10001:10001
