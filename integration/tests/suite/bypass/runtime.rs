//! What a specification has the OCI runtime do: hooks and annotations (contract §6.6, §6.10). CDI and NRI plugins write these as well.

use super::ways::Way::{Annotation, Hook};
use super::{Bypass, powerless, refused};

const STRIPPED: &str = "annotations";

pub(super) const ENTRIES: &[Bypass] = &[
    refused("hook-prestart", "§6.6, CVE-2025-23266", "a hook, prestart", Hook("prestart"), "hooks"),
    refused("hook-create-runtime", "§6.6, CVE-2025-23266", "a hook, createRuntime", Hook("createRuntime"), "hooks"),
    refused("hook-create-container", "§6.6", "a hook, createContainer", Hook("createContainer"), "hooks"),
    refused("hook-start-container", "§6.6", "a hook, startContainer", Hook("startContainer"), "hooks"),
    refused("hook-poststart", "§6.6", "a hook, poststart", Hook("poststart"), "hooks"),
    refused("hook-poststop", "§6.6", "a hook, poststop", Hook("poststop"), "hooks"),
    powerless(
        "annotation-systemd",
        "§6.10, CVE-2024-3154",
        "a property of the container's systemd unit",
        Annotation("org.systemd.property.TasksMax", "uint64 18446744073709551615"),
        STRIPPED,
    ),
    powerless(
        "annotation-criu",
        "§6.10",
        "a configuration of CRIU's",
        Annotation("org.criu.config", "/tmp/criu.conf"),
        STRIPPED,
    ),
    powerless(
        "annotation-crun-seccomp",
        "§6.10",
        "crun: a filter instead of the policy's",
        Annotation("run.oci.seccomp_bpf_data", "AAAA"),
        STRIPPED,
    ),
    powerless(
        "annotation-crun-groups",
        "§6.10",
        "crun: the groups of the runtime's process",
        Annotation("run.oci.keep_original_groups", "1"),
        STRIPPED,
    ),
    powerless(
        "annotation-crun-output",
        "§6.10",
        "crun: a file of the host for the output of hooks",
        Annotation("run.oci.hooks.stdout", "/tmp/canary"),
        STRIPPED,
    ),
    powerless(
        "annotation-crun-handler",
        "§6.10, CVE-2025-24965",
        "crun: another handler",
        Annotation("run.oci.handler", "krun"),
        STRIPPED,
    ),
    powerless(
        "annotation-wasm",
        "§6.10",
        "a WebAssembly handler",
        Annotation("module.wasm.image/variant", "compat"),
        STRIPPED,
    ),
    refused(
        "annotation-profile",
        "controls",
        "a looser profile of palisade's own",
        Annotation("palisade.io/profile", "privileged"),
        "task.annotations",
    ),
];
