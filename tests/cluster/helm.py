"""Helm's own library, as the package helm-sdkpy carries it, by the one call that installs a chart.

It is the engine, the values' schema and the client of Helm 4; its command line is not in it.
"""

import ctypes
import json
import os
import pathlib
import tempfile

from standin import StandIn

OPTIONS = {
    "create_namespace": False,
    "wait": False,
    "timeout_seconds": 30,
    "wait_for_jobs": False,
    "server_side_apply": "false",
    "disable_openapi_validation": True,
}


class Refused(Exception):
    """Helm installs nothing, and says why."""


class Helm:
    def __init__(self, library):
        self.library = ctypes.CDLL(str(library))
        self.library.helm_sdkpy_last_error.restype = ctypes.c_char_p

    def install(self, chart, namespace, values):
        """The objects that Helm makes of a chart, as it gives them to the API, and the notes that it prints."""
        with tempfile.TemporaryDirectory() as home, StandIn() as api:
            os.environ["HOME"] = home
            kubeconfig = pathlib.Path(home, "kubeconfig")
            kubeconfig.write_text(api.kubeconfig())
            handle, result = ctypes.c_ulonglong(), ctypes.c_char_p()
            create = self.library.helm_sdkpy_config_create
            if create(namespace.encode(), str(kubeconfig).encode(), b"", b"{}", ctypes.byref(handle)) != 0:
                raise Refused(self.error())
            arguments = [b"palisade", str(chart).encode(), json.dumps(values).encode(), b"", json.dumps(OPTIONS).encode()]
            done = self.library.helm_sdkpy_install(handle, *arguments, ctypes.byref(result))
            self.library.helm_sdkpy_config_destroy(handle)
            if done != 0:
                raise Refused(self.error())
            return api.taken, json.loads(result.value)["info"].get("notes", "")

    def error(self):
        return (self.library.helm_sdkpy_last_error() or b"").decode()
