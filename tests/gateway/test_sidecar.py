"""The pod of deploy/kubernetes: who may do what in it, and that it calls the script as that is called."""

import shutil
import subprocess

import pytest
import yaml

from peers.api.script import filled_in
from tests.conftest import ROOT
from tests.gateway.conftest import require
from tests.gateway.machine import OURS, bare
from tests.gateway.portal_double import PEER

POD = yaml.safe_load((ROOT / "deploy" / "kubernetes" / "sidecar.yaml").read_text())
SPEC = POD["spec"]
ENROL, TUNNEL = SPEC["initContainers"]
(APPLICATION,) = SPEC["containers"]
CALLS = {
    "enrol": ENROL["command"],
    "up": TUNNEL["lifecycle"]["postStart"]["exec"]["command"],
    "renew": TUNNEL["command"],
}


def test_the_sidecar_alone_has_a_capability_and_only_the_networks():
    capabilities = {
        container["name"]: container["securityContext"]["capabilities"]
        for container in (ENROL, TUNNEL, APPLICATION)
    }
    assert capabilities == {
        "enrol": {"drop": ["ALL"]},
        "tunnel": {"drop": ["ALL"], "add": ["NET_ADMIN"]},
        "application": {"drop": ["ALL"]},
    }


@pytest.mark.parametrize("container", [ENROL, TUNNEL, APPLICATION], ids=lambda container: container["name"])
def test_no_container_gains_rights_or_writes_to_its_image(container):
    context = container["securityContext"]
    assert context["allowPrivilegeEscalation"] is False
    assert context["readOnlyRootFilesystem"] is True
    assert "privileged" not in context
    assert SPEC["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(SPEC)


def test_the_application_is_not_root_and_sees_neither_keys_nor_token():
    assert APPLICATION["securityContext"]["runAsNonRoot"] is True
    assert "volumeMounts" not in APPLICATION
    assert SPEC["automountServiceAccountToken"] is False


def test_keys_are_kept_in_memory_and_the_token_comes_from_a_secret_as_a_file():
    volumes = {volume["name"]: volume for volume in SPEC["volumes"]}
    assert volumes["wireguard"]["emptyDir"]["medium"] == "Memory"
    assert volumes["token"]["secret"]["defaultMode"] == 0o400
    for container in (ENROL, TUNNEL):
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert mounts["wireguard"] == "/etc/wireguard"
        assert container["env"] == [{"name": "LATCHKEY_TOKEN_FILE", "value": f"{mounts['token']}/token"}]


def test_the_sidecar_starts_before_the_application_and_ends_after_it():
    assert TUNNEL["restartPolicy"] == "Always"
    assert "restartPolicy" not in ENROL
    assert "--down" in CALLS["renew"]
    assert "preStop" not in TUNNEL["lifecycle"]


@pytest.mark.parametrize("verb", CALLS)
def test_the_script_takes_what_the_pod_gives_it(verb, tmp_path):
    for tool in OURS:
        require(shutil.which(tool), f"needs {tool}: see deploy/demo/packages.py")
    shell, path, *words = CALLS[verb]
    assert (shell, path, words[0]) == ("sh", "/opt/latchkey/enrol.sh", verb)
    script, token = tmp_path / "enrol.sh", tmp_path / "token"
    script.write_text(filled_in("https://portal.example.com"))
    token.write_text("latchkey_only-for-tests")
    key = subprocess.run(["wg", "genkey"], capture_output=True, check=True).stdout
    (tmp_path / "latchkey.enrol.key").write_bytes(key)
    (tmp_path / "latchkey.enrol.peer").write_text(f"id {PEER['id']}\n")
    (tmp_path / "latchkey.conf").write_text("[Interface]\n")
    environment = {"PATH": str(bare(tmp_path / "bin")), "LATCHKEY_TOKEN_FILE": str(token)}
    command = [shutil.which(shell), str(script), *words, "--dry-run", f"--dir={tmp_path}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Would" in done.stdout


def test_renewing_comes_in_time_even_when_it_fails_once():
    ttl = int(CALLS["enrol"][CALLS["enrol"].index("--ttl") + 1])
    every = int(CALLS["renew"][CALLS["renew"].index("--every") + 1])
    assert 2 * every < ttl
