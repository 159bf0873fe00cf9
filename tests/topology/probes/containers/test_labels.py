"""Labels that are kept, and those that are not: secrets are none of the graph's."""

from __future__ import annotations

import pytest

from skytrail.settings.tree import ContainerFacts
from topology.probes.containers.labels import LabelFilter

MAY_BE_SECRET = """
    DB_PASSWORD dbpass mysql.passwd passphrase db.pwd dbPwd pwd my.auth OAuth2 oauth pgp_key apikey apiKey APIKey2
    api-key accessKeyId ssh-keys sshkey com.example.private_key secret client-secret GITHUB_TOKEN tokens aws.credentials
    creds cred.file tls.cert certs salt password-salt sentry.dsn SENTRY_DSN jwt psk wifi-psk
    traefik.http.middlewares.a.basicauth.users digestAuth.users
"""
INNOCENT = """
    maintainer author org.opencontainers.image.authors org.opencontainers.image.licenses
    org.opencontainers.image.base.digest monkey keyboard keycloak turkey certainty authority saltwater credit
    environment version com.docker.compose.config-hash com.docker.compose.project
    com.docker.compose.project.config_files com.docker.compose.depends_on com.docker.swarm.node.id
    io.kubernetes.pod.name io.kubernetes.pod.namespace io.kubernetes.pod.uid io.kubernetes.container.name
    io.kubernetes.container.hash io.kubernetes.container.terminationMessagePath io.kubernetes.docker.type
    io.cri-containerd.kind app.kubernetes.io/name pod-template-hash PODMAN_SYSTEMD_UNIT io.buildah.version
    traefik.http.routers.web.rule com.example.tier a~b/c@d nerdctl/networks
"""


@pytest.mark.parametrize(
    ("allowed", "denied", "kept"),
    [
        (["*"], [], {"tier", "DB.Password", "a/b@c"}),
        (["*"], ["*password*"], {"tier", "a/b@c"}),
        (["t*", "a/*"], [], {"tier", "a/b@c"}),
        ([], [], set()),
        (["*"], ["*"], set()),
        (["tie?"], ["ti"], {"tier"}),
        (["*"], ["password", "b"], {"tier"}),
    ],
)
def test_labels_are_chosen_by_patterns(allowed: list[str], denied: list[str], kept: set[str]) -> None:
    labels = {"tier": "front", "DB.Password": "x", "a/b@c": "1"}

    assert LabelFilter(allowed, denied).chosen(labels) == {key: labels[key] for key in kept}


def test_what_may_be_a_secret_is_not_kept_by_default() -> None:
    kept, innocent = ContainerFacts(), INNOCENT.split()
    labels = dict.fromkeys([*MAY_BE_SECRET.split(), *innocent], "x")

    assert [*LabelFilter(kept.labels, kept.labels_denied).chosen(labels)] == innocent
