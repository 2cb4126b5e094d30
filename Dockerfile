# The operator, the agent of the router and the simulated vLLM are one image. Envoy is not in it.
FROM docker.io/library/python:3.11-slim AS build
WORKDIR /src
COPY requirements.lock ./
RUN python3 -m venv /opt/modelrouter \
 && /opt/modelrouter/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes --only-binary :all: -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY operator operator
RUN python3 -m venv /opt/build \
 && /opt/build/bin/pip install --no-cache-dir --disable-pip-version-check hatchling \
 && /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels . \
 && /opt/modelrouter/bin/pip install --no-cache-dir --no-deps /wheels/*.whl \
 && /opt/modelrouter/bin/pip uninstall --yes --quiet pip setuptools

FROM docker.io/library/python:3.11-slim
# The slim image has pip; nothing is installed into this one any more. A runtime takes the group of a numeric user
# from /etc/passwd, and without an entry there it would be root's.
RUN rm -rf /usr/local/bin/pip* /usr/local/lib/python3.11/site-packages/pip* /usr/local/lib/python3.11/ensurepip \
 && groupadd --gid 65532 modelrouter \
 && useradd --uid 65532 --gid 65532 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin modelrouter
COPY --from=build /opt/modelrouter /opt/modelrouter
ENV PATH=/opt/modelrouter/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 65532:65532
ENTRYPOINT ["modelrouter"]
