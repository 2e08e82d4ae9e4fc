"""The pod of deploy/kubernetes: who may do what in it, and what its sidecar does from its start to its end."""

import re

import pytest
import yaml

from peers.models import Peer
from peers.states import State
from tests.conftest import ROOT
from tests.gateway.acting import state
from tests.gateway.tunnel.looking import ON_BUSYBOX

POD = yaml.safe_load((ROOT / "deploy" / "kubernetes" / "sidecar.yaml").read_text())
SPEC = POD["spec"]
(TUNNEL,) = SPEC["initContainers"]
(APPLICATION,) = SPEC["containers"]
MOUNTS = {mount["name"]: mount["mountPath"] for mount in TUNNEL["volumeMounts"]}


def test_the_sidecar_alone_has_a_capability_and_only_the_networks():
    assert TUNNEL["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["NET_ADMIN"]}
    assert APPLICATION["securityContext"]["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize("container", [TUNNEL, APPLICATION], ids=lambda container: container["name"])
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
    assert MOUNTS["wireguard"] == "/etc/wireguard"
    assert TUNNEL["env"] == [{"name": "LATCHKEY_TOKEN_FILE", "value": f"{MOUNTS['token']}/token"}]


def test_the_sidecar_starts_before_the_application_and_ends_after_it():
    assert TUNNEL["restartPolicy"] == "Always"
    assert "startupProbe" in TUNNEL
    assert "lifecycle" not in TUNNEL


def test_renewing_comes_in_time_even_when_it_fails_once():
    ttl, every = (
        int(re.search(rf"{option} (\d+)", TUNNEL["command"][-1])[1]) for option in ("--ttl", "--every")
    )
    assert 2 * every < ttl


class Pod:
    """The sidecar's container on a machine: what its volumes hold is where they mount it."""

    def __init__(self, machine, script, token):
        self._machine = machine
        self._command = machine.bare_command(*(f"{one['name']}={one['value']}" for one in TUNNEL["env"]))
        machine.run("mount", "-t", "tmpfs", "tmpfs", "/opt")
        for volume, file in (("script", script.path), ("token", token)):
            machine.run("mkdir", "-p", MOUNTS[volume])
            machine.run("cp", str(file), MOUNTS[volume])

    def start(self):
        return self._machine.namespace.popen(*self._command, *TUNNEL["command"])

    def has_started(self):
        probe = TUNNEL["startupProbe"]["exec"]["command"]
        return self._machine.namespace.run(*self._command, *probe, check=False).returncode == 0


@ON_BUSYBOX
def test_a_sidecar_gives_its_place_back_when_it_ends_and_enrols_again_when_it_is_started_again(
    running, machine, script, token, pinging
):
    pod = Pod(machine, script, token)
    sidecar = pod.start()
    running.eventually(pod.has_started)
    running.eventually(pinging(machine).times)
    peer = Peer.objects.get()
    running.eventually(lambda: Peer.objects.get().expires_at > peer.expires_at)
    sidecar.terminate()
    assert sidecar.wait(10) == 0
    running.eventually(lambda: state(peer) == State.REVOKED)
    for end in ("kill", "terminate"):
        sidecar = pod.start()
        running.eventually(pod.has_started)
        assert Peer.objects.exclude(pk=peer.pk).count() == 1
        getattr(sidecar, end)()
        sidecar.wait(10)


@ON_BUSYBOX
def test_a_sidecar_that_is_told_to_end_while_it_enrols_keeps_no_place(running, machine, script, token):
    running.stop()  # so that enrolling waits
    sidecar = Pod(machine, script, token).start()
    running.eventually(Peer.objects.exists)
    sidecar.terminate()
    assert sidecar.wait(20) == 0
    assert Peer.objects.get().revoked_at
