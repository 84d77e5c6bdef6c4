"""Manifests and chart of deploy/: valid for the versions of Kubernetes that they are for, and one and the same.

Run by scripts/check-deploy, which says where the tools are.
"""

import copy
import json
import os
import pathlib
import subprocess
import sys
import traceback

import kubernetes_validate
import yaml

from helm import Helm, Refused

DEPLOY = pathlib.Path(__file__).resolve().parents[2] / "deploy"
CHART = DEPLOY / "helm" / "palisade"
NAMESPACE = "palisade-system"
# The oldest that the chart takes, one in the middle, and the newest ones whose schemas there are.
VERSIONS = ["1.30", "1.33", "1.36", "1.37"]
# Kinds that came later, by the version that has them as stable.
SINCE = {"MutatingAdmissionPolicy": "1.36", "MutatingAdmissionPolicyBinding": "1.36"}
# Kinds of the Prometheus operator, whose schemas come apart.
OPERATOR = {"PodMonitor", "PrometheusRule"}


def build(folder):
    """The objects that kustomize makes of a folder."""
    built = subprocess.run([os.environ["PALISADE_KUSTOMIZE"], "build", folder], check=True, capture_output=True, text=True)
    return list(yaml.safe_load_all(built.stdout))


HELM = Helm(os.environ["PALISADE_HELM"])


def chart(values):
    """What Helm makes of the chart, without what it adds to find its own objects again."""
    objects, _ = HELM.install(CHART, NAMESPACE, values)
    objects = copy.deepcopy(objects)
    for each in objects:
        metadata = each["metadata"]
        metadata["labels"].pop("app.kubernetes.io/managed-by")
        own = metadata.pop("annotations")
        assert set(own) == {"meta.helm.sh/release-name", "meta.helm.sh/release-namespace"}, own
    return objects


def named(objects):
    """By kind and name, each once."""
    by_name = {(each["apiVersion"], each["kind"], each["metadata"]["name"]): each for each in objects}
    assert len(by_name) == len(objects), "two objects of one name"
    return by_name


def same(objects, others):
    left, right = named(objects), named(others)
    assert left.keys() == right.keys(), f"{sorted(left.keys() ^ right.keys())} are on one side alone"
    for name, each in left.items():
        assert each == right[name], f"{name} differ:\n{json.dumps(each, sort_keys=True)}\n{json.dumps(right[name], sort_keys=True)}"


def validate(objects, version):
    for each in objects:
        kind = each["kind"]
        if kind in OPERATOR or tuple(map(int, version.split("."))) < tuple(map(int, SINCE.get(kind, "1.0").split("."))):
            continue
        kubernetes_validate.validate(each, version, strict=True)


OVERLAYS = sorted(path.parent for path in DEPLOY.glob("kubernetes/overlays/*/kustomization.yaml"))
FULL = {
    "namespace": {"create": True},
    "enforce": {"enabled": True, "defaultClass": True},
    "monitoring": {"enabled": True},
}


def test_every_manifest_is_valid_for_every_version_and_has_no_unknown_field():
    assert len(OVERLAYS) >= 4
    for folder in [DEPLOY / "kubernetes/base", *OVERLAYS]:
        objects = build(folder)
        for version in VERSIONS:
            validate(objects, version)


def test_the_schemas_refuse_what_is_misspelt():
    for change in (
        lambda each: each["spec"]["template"]["spec"].update(hostPid=True),
        lambda each: each["spec"]["template"]["spec"]["containers"][0]["securityContext"].update(privileged="no"),
        lambda each: each["spec"].pop("selector"),
    ):
        wrong = next(each for each in build(DEPLOY / "kubernetes/base") if each["kind"] == "DaemonSet")
        change(wrong)
        try:
            validate([wrong], VERSIONS[0])
        except kubernetes_validate.ValidationError:
            continue
        raise AssertionError("it was taken")


def test_the_chart_with_its_own_values_is_the_base_but_for_the_namespace():
    base = build(DEPLOY / "kubernetes/base")
    same(chart({}), [each for each in base if each["kind"] != "Namespace"])
    same(chart({"namespace": {"create": True}}), base)


def test_the_chart_with_everything_on_is_the_overlay_with_everything():
    same(chart(FULL), build(DEPLOY / "kubernetes/overlays/full"))


def test_what_the_chart_makes_of_other_values_is_valid_too():
    values = {
        "image": {"repository": "registry.example/palisade", "digest": "sha256:" + "0" * 64, "pullPolicy": "Always"},
        "imagePullSecrets": [{"name": "pull"}],
        "policy": {"policy.toml": 'profile = "baseline"\n', "policy.10-team.toml": "[audit]\nkeep = 5\n", "seccomp.web.json": "{}\n"},
        "installer": {"enabled": False},
        "policySync": {"args": ["--interval", "60"]},
        "nodeSelector": {"palisade.io/node": "true"},
        "tolerations": [],
        "priorityClassName": "",
        "runtimeClass": {"create": False},
        "maxUnavailable": 1,
        "enforce": {"enabled": True},
        "monitoring": {"enabled": True, "labels": {"release": "prometheus"}, "dashboard": False, "from": "observability"},
    }
    objects = chart(values)
    for version in VERSIONS:
        validate(objects, version)
    by_kind = {each["kind"]: each for each in objects}
    assert "RuntimeClass" not in by_kind and by_kind["ConfigMap"]["data"] == values["policy"]
    pod = next(each for each in objects if each["kind"] == "DaemonSet" and each["metadata"]["name"] == "palisade")["spec"]["template"]["spec"]
    assert "initContainers" not in pod and not any(volume.get("hostPath", {}).get("path") == "/" for volume in pod["volumes"])
    assert pod["containers"][0]["image"] == "registry.example/palisade@sha256:" + "0" * 64
    assert pod["containers"][0]["command"][-2:] == ["--interval", "60"]
    assert by_kind["PodMonitor"]["metadata"]["labels"]["release"] == "prometheus"


def test_the_default_class_before_it_was_stable():
    values = {"enforce": {"enabled": True, "defaultClass": True, "defaultClassApiVersion": "admissionregistration.k8s.io/v1beta1"}}
    objects = [each for each in chart(values) if each["kind"].startswith("MutatingAdmissionPolicy")]
    assert [each["apiVersion"] for each in objects] == ["admissionregistration.k8s.io/v1beta1"] * 2
    for each in objects:
        kubernetes_validate.validate(each, "1.34", strict=True)


def test_values_that_mean_nothing_are_refused():
    for values, word in [
        ({"enforced": {}}, "enforced"),
        ({"policy": {"README.md": "x"}}, "README.md"),
        ({"policy": {"policy.toml": 1}}, "policy.toml"),
        ({"image": {"digest": "latest"}}, "digest"),
        ({"nodeSelector": None, "monitoring": {"interval": "often"}}, "interval"),
        ({"enforce": {"defaultClass": True}}, "enforce"),
    ]:
        try:
            HELM.install(CHART, NAMESPACE, values)
        except Refused as refused:
            assert word in str(refused), refused
            continue
        raise AssertionError(f"{values} was taken")


def test_the_notes_name_what_is_to_be_done():
    _, notes = HELM.install(CHART, NAMESPACE, {"enforce": {"enabled": True}})
    for word in ("rollout status daemonset/palisade", "palisade.io/enforce=true", "Kubernetes 1.36"):
        assert word in notes, notes


def test_the_alerts_of_the_operator_are_those_of_the_file():
    alerts = yaml.safe_load((DEPLOY / "monitoring/alerts.yml").read_text())
    rule = next(each for each in build(DEPLOY / "kubernetes/overlays/monitoring") if each["kind"] == "PrometheusRule")
    assert rule["spec"] == alerts


def operator_takes(objects):
    script = pathlib.Path(__file__).with_name("operator.mjs")
    own = json.dumps([each for each in objects if each["kind"] in OPERATOR])
    return subprocess.run(["node", script, os.environ["PALISADE_OPERATOR"]], input=own, text=True, capture_output=True)


def test_what_is_for_the_prometheus_operator_is_valid_by_its_own_schemas():
    for objects in (build(DEPLOY / "kubernetes/overlays/monitoring"), chart(FULL)):
        assert {each["kind"] for each in objects} >= OPERATOR
        taken = operator_takes(objects)
        assert taken.returncode == 0, taken.stderr
        wrong = copy.deepcopy(objects)
        next(each for each in wrong if each["kind"] == "PodMonitor")["spec"]["podMetricsEndpoints"][0]["interval"] = "often"
        assert operator_takes(wrong).returncode != 0


def test_no_pod_has_more_than_it_needs():
    """What stands in the manifests on purpose, so that more is a change of this test."""
    for objects in (build(DEPLOY / "kubernetes/overlays/full"), chart(FULL)):
        kinds = {each["kind"] for each in objects}
        assert not kinds & {"ClusterRoleBinding", "RoleBinding", "Role", "Secret"}, kinds
        pods = {each["metadata"]["name"]: each["spec"]["template"]["spec"] for each in objects if each["kind"] == "DaemonSet"}
        for name, pod in pods.items():
            assert pod["automountServiceAccountToken"] is False, name
            assert not pod.get("hostNetwork") and not pod.get("hostIPC"), name
            for container in pod["containers"]:
                context = container["securityContext"]
                assert context["readOnlyRootFilesystem"] and not context["allowPrivilegeEscalation"] and not context["privileged"], name
                assert context["capabilities"]["drop"] == ["ALL"] and context["seccompProfile"] == {"type": "RuntimeDefault"}, name
                writable = {mount["name"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
                assert writable == {"palisade": {"sets", "status"}, "palisade-monitor": {"counters"}}[name], writable
                assert container["resources"]["requests"] and container["resources"]["limits"]["memory"], name
        [installer] = pods["palisade"]["initContainers"]
        context = installer["securityContext"]
        assert not context["privileged"] and not context["allowPrivilegeEscalation"] and context["readOnlyRootFilesystem"]
        assert context["capabilities"] == {"drop": ["ALL"], "add": ["CHOWN", "DAC_OVERRIDE", "FOWNER", "SYS_CHROOT"]}
        assert "add" not in pods["palisade"]["containers"][0]["securityContext"]["capabilities"]
        # The installer's systemctl has to see systemd, and the monitor the shims.
        assert pods["palisade-monitor"]["hostPID"] and pods["palisade"]["hostPID"]
        assert "initContainers" not in pods["palisade-monitor"]
        # The node's own tree, sockets included, is the installer's alone.
        wide = {mount["name"] for pod in pods.values() for container in pod["containers"] for mount in container["volumeMounts"]}
        assert "node" not in wide


def main():
    failed = 0
    tests = {name[5:].replace("_", " "): test for name, test in globals().items() if name.startswith("test_")}
    for name, test in tests.items():
        try:
            test()
            print(f"test deploy {name} ... ok", flush=True)
        except Exception:  # noqa: BLE001: whatever it is, the test failed
            failed += 1
            print(f"test deploy {name} ... FAILED\n{traceback.format_exc()}", flush=True)
    print(f"test result: {'FAILED' if failed else 'ok'}. {len(tests) - failed} passed; {failed} failed; 0 ignored")
    sys.exit(1 if failed else 0)


main()
