# syntax=docker/dockerfile:1
# One file for all images: docker build --build-arg ROOM=relay|worker|web --tag smtp-proxy-relay .
#
# Images are pinned by digests of their multi-platform indexes. To move to newer ones, look a digest up with
#   docker buildx imagetools inspect python:3.13-slim-bookworm
# and change tag and digest together, here or with --build-arg PYTHON_IMAGE=...
ARG PYTHON_IMAGE=docker.io/library/python:3.13.14-slim-bookworm@sha256:67a1e1f215ccda113cfc024e8639049257e88f273898f595b61476d128d387e8
ARG UV_IMAGE=ghcr.io/astral-sh/uv:0.12.23@sha256:61d393e44e249f2e4b526b6c7ddcecce245946826e608e11c93ad4f5bba55b21
ARG ROOM

FROM ${UV_IMAGE} AS uv

FROM ${PYTHON_IMAGE} AS builder
COPY --from=uv /uv /usr/local/bin/uv
ENV UV_COMPILE_BYTECODE=1 \
    UV_CACHE_DIR=/var/cache/uv \
    UV_LINK_MODE=copy \
    UV_PYTHON_DOWNLOADS=never
# Amazon RDS has authorities of its own, which no list of public ones names.
ADD --chmod=0444 https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem /certificates/rds.pem
WORKDIR /app
ARG ROOM
# The packages of the room and nothing else. This layer changes with the lock only, not with the code.
RUN --mount=type=cache,target=/var/cache/uv \
    --mount=type=bind,source=pyproject.toml,target=pyproject.toml \
    --mount=type=bind,source=uv.lock,target=uv.lock \
    uv sync --frozen --no-default-groups --only-group "${ROOM}"
COPY mail /code/mail
COPY backing /code/backing
COPY ${ROOM} /code/${ROOM}
# The file system may be read-only later. Hashes, since a copy may change the times of files.
RUN python -m compileall -q --invalidation-mode unchecked-hash /code

FROM ${PYTHON_IMAGE} AS runtime
ENV PATH=/app/.venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PGSSLROOTCERT=/etc/ssl/certs/rds.pem
# A mount of Fargate or Docker takes owner and mode from the folder that the image has there.
RUN groupadd --system --gid 10001 smtp-proxy \
    && useradd --system --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin smtp-proxy \
    && install --directory --mode=1777 /tmp \
    && install --directory --owner=10001 --group=10001 --mode=0700 /var/lib/smtp-proxy
WORKDIR /app
COPY --from=builder /certificates/rds.pem /etc/ssl/certs/rds.pem
COPY --from=builder /app/.venv /app/.venv
COPY --from=builder /code /app
USER 10001:10001
VOLUME /tmp

FROM runtime AS relay
EXPOSE 2587 2465 8081
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["python", "-m", "backing.probe", "http://127.0.0.1:8081/livez"]
CMD ["python", "-m", "relay"]

FROM runtime AS worker
EXPOSE 8081
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["python", "-m", "backing.probe", "http://127.0.0.1:8081/livez"]
CMD ["python", "-m", "worker"]

FROM runtime AS web
EXPOSE 8080 8081
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["python", "-m", "backing.probe", "http://127.0.0.1:8081/livez"]
CMD ["python", "-m", "web.api"]

FROM ${ROOM}
