# turnlog serve, as a user that may do nothing else. The servers are others: DATABASE_URL and REDIS_URL name them, and
# TURNLOG_SERVE_TOKENS says who may ask.
#
#   docker build --tag turnlog .
#   docker run --publish 127.0.0.1:8787:8787 --env DATABASE_URL --env REDIS_URL --env TURNLOG_SERVE_TOKENS turnlog

FROM python:3.13-slim AS build
WORKDIR /source
COPY pyproject.toml README.md CHANGELOG.md LICENSE ./
COPY turnlog turnlog
COPY domain domain
COPY projections projections
COPY infrastructure infrastructure
RUN python -m venv /opt/turnlog && /opt/turnlog/bin/pip install --no-cache-dir '.[otel,server]'

FROM python:3.13-slim
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin turnlog
COPY --from=build /opt/turnlog /opt/turnlog
USER 10001
ENV PATH=/opt/turnlog/bin:$PATH PYTHONUNBUFFERED=1
EXPOSE 8787
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=6 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8787/ready', timeout=2)"]
ENTRYPOINT ["turnlog", "serve", "--host", "0.0.0.0", "--port", "8787"]
