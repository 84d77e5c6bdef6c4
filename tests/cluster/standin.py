"""A stand-in for the Kubernetes API on a loopback address: it takes what it is given, and remembers it.

What Helm asks before it installs: the version, which kinds there are, whether an object is there already. Nothing is ever there.
"""

import http.server
import json
import threading

GROUPS = {
    "": {"v1": [("namespaces", "Namespace", False), ("serviceaccounts", "ServiceAccount", True), ("configmaps", "ConfigMap", True), ("secrets", "Secret", True)]},
    "apps": {"v1": [("daemonsets", "DaemonSet", True)]},
    "node.k8s.io": {"v1": [("runtimeclasses", "RuntimeClass", False)]},
    "networking.k8s.io": {"v1": [("networkpolicies", "NetworkPolicy", True)]},
    "rbac.authorization.k8s.io": {"v1": [("clusterroles", "ClusterRole", False)]},
    "monitoring.coreos.com": {"v1": [("podmonitors", "PodMonitor", True), ("prometheusrules", "PrometheusRule", True)]},
    "admissionregistration.k8s.io": {
        version: [
            ("validatingadmissionpolicies", "ValidatingAdmissionPolicy", False),
            ("validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", False),
            ("mutatingadmissionpolicies", "MutatingAdmissionPolicy", False),
            ("mutatingadmissionpolicybindings", "MutatingAdmissionPolicyBinding", False),
        ]
        for version in ("v1", "v1beta1")
    },
}


def resource(name, kind, namespaced):
    verbs = ["create", "delete", "get", "list", "patch", "update"]
    return {"name": name, "singularName": "", "kind": kind, "namespaced": namespaced, "verbs": verbs}


def discovery(path):
    """What there is below a path, or None."""
    if path == "/version":
        return {"major": "1", "minor": "36", "gitVersion": "v1.36.0"}
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        groups = []
        for group, versions in GROUPS.items():
            named = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
            groups.append({"name": group, "versions": named, "preferredVersion": named[0]})
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [group for group in groups if group["name"]]}
    for group, versions in GROUPS.items():
        for version, resources in versions.items():
            name = f"{group}/{version}" if group else version
            if path in (f"/apis/{name}", f"/api/{name}"):
                return {"kind": "APIResourceList", "groupVersion": name, "resources": [resource(*each) for each in resources]}
    return None


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, code, body, kind="application/json"):
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        path = self.path.split("?")[0]
        found = discovery(path)
        if found is None and path.endswith("/secrets"):
            found = {"kind": "SecretList", "apiVersion": "v1", "metadata": {}, "items": []}
        if found is None:
            absent = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404, "details": {}}
            self.reply(404, json.dumps(absent).encode())
        else:
            self.reply(200, json.dumps(found).encode())

    def take(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        kind = self.headers["Content-Type"]
        # Helm keeps its own record in a secret, in another encoding.
        if self.command == "POST" and kind == "application/json":
            self.server.taken.append(json.loads(body))
        self.reply(201, body, kind)

    do_POST = do_PUT = do_PATCH = take


class StandIn(http.server.ThreadingHTTPServer):
    """While it is entered it answers, and `taken` are the objects that were made."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.taken = []

    def kubeconfig(self):
        cluster = {"name": "standin", "cluster": {"server": f"http://127.0.0.1:{self.server_port}"}}
        context = {"name": "standin", "context": {"cluster": "standin", "user": "nobody"}}
        return json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [cluster],
                "contexts": [context],
                "users": [{"name": "nobody", "user": {}}],
                "current-context": "standin",
            }
        )

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()
