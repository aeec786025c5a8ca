# Sweeps, Ray nodes, the MLflow server and the dashboard, all of one version.
#
#   docker build --tag chemprop-hpo:local .
#   docker build --tag chemprop-hpo:cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128 .

ARG PYTHON_IMAGE=python:3.11.16-slim-trixie

FROM ${PYTHON_IMAGE} AS build
# Where PyTorch's builds for this kind of machine lie; everything else comes from PyPI.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE CHANGELOG.md ./
COPY configs/ configs/
COPY storage/ storage/
COPY hpo/ hpo/
COPY chemprop_hpo/ chemprop_hpo/
# A build for the CPU is version 2.13.0+cpu to pip, and preferred to the plain 2.13.0 of PyPI.
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv /opt/venv \
    && /opt/venv/bin/pip install --constraint constraints.txt --extra-index-url "${TORCH_INDEX}" \
        '.[postgres,dashboard,s3]'

FROM ${PYTHON_IMAGE}
# RDKit draws with the first three, and git tells which commit a sweep's file came from. Debian
# keeps one version of each, so that a pinned one would soon be gone.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libexpat1 libxext6 libxrender1 git \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --home-dir /srv/hpo hpo \
    && install --directory --owner hpo --group hpo /srv/hpo
COPY --from=build /opt/venv /opt/venv
COPY docker/ /opt/chemprop-hpo/docker/
# The checkout that is mounted belongs to another user, whom git would not trust.
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/srv/hpo \
    RAY_USAGE_STATS_ENABLED=0 \
    GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0=*
USER 10001
WORKDIR /srv/hpo
ENTRYPOINT ["chemprop-hpo"]
CMD ["--help"]
