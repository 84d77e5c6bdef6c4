//! The schema and the shim's own reader take and refuse the same files.

#[cfg(test)]
mod schema {
    use std::fs;
    use std::path::Path;
    use std::process::Command;

    use palisade_policy::{Policy, RULES};
    use serde_json::Value;

    fn schema() -> Value {
        let output = Command::new(env!("CARGO_BIN_EXE_palisade")).args(["policy", "schema"]).output().unwrap();
        assert!(output.status.success());
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn takes(schema: &Value, file: &str) -> bool {
        let validator = jsonschema::draft202012::new(schema).unwrap();
        let file: toml::Value = toml::from_str(file).unwrap();
        validator.is_valid(&serde_json::to_value(file).unwrap())
    }

    /// Each with whether it is a policy file.
    const FILES: &[(bool, &str)] = &[
        (true, ""),
        (true, "version = 1"),
        (false, "version = 2"),
        (false, "profil = 'restricted'"),
        (true, "runtime.binary = '/usr/sbin/runc'"),
        (false, "runtime.binary = 'runc'"),
        (false, "runtime.binary = '/usr/../sbin/runc'"),
        (false, "runtime.binary = '/'"),
        (false, "runtime.root = '/run/runc'"),
        (true, "runtime.deadline = 1"),
        (true, "runtime.deadline = 600"),
        (false, "runtime.deadline = 0"),
        (false, "runtime.deadline = 601"),
        (false, "runtime.deadline = '60'"),
        (false, "runtime.deadline = 1.5"),
        (true, "audit.max_bytes = '64MiB'"),
        (true, "audit.max_bytes = 1000000"),
        (false, "audit.max_bytes = '64MB'"),
        (false, "audit.max_bytes = 0"),
        (false, "audit.max_bytes = '0MiB'"),
        (true, "audit.keep = 100\naudit.sink = 'both'\naudit.chain = true\naudit.sync = true\naudit.attested = false"),
        (true, "audit.sink = 'journald'\naudit.chain = false"),
        (false, "audit.keep = 0"),
        (false, "audit.keep = 101"),
        (false, "audit.sink = 'syslog'"),
        (false, "audit.chain = 'yes'"),
        (true, "node.kubelet_roots = ['/var/lib/kubelet', '/mnt/kubelet']"),
        (false, "node.kubelet_roots = '/var/lib/kubelet'"),
        (
            true,
            "[images]\nrecord = true\nresolver = '/opt/palisade'\ndeadline = 30\non_error = 'audit'\nsigned_repository = false",
        ),
        (true, "[images]\ndenied = '/d'\nallowed = '/a'\nverdicts = '/v'\nsignatures = '/s'\nverifier = 'baseline'"),
        (false, "[images]\nresolver = 'palisade'"),
        (false, "[images]\ndeadline = 31"),
        (false, "[images]\ndeadline = 0"),
        (false, "[images]\non_error = 'allow'"),
        (false, "[images]\nverdict = '/v'"),
        (true, "images.keys.k = \"\"\"\n-----BEGIN PUBLIC KEY-----\nMFkw+/=\n-----END PUBLIC KEY-----\n\"\"\""),
        (false, "images.keys.k = 'MFkw'"),
        (false, "images.keys.k = \"\"\"\n-----BEGIN PUBLIC KEY-----\nMF-kw\n-----END PUBLIC KEY-----\n\"\"\""),
        (
            true,
            "[profiles.restricted.rules.'image.registry']\naction = 'deny'\nallow = ['docker.io/library/nginx', 'r.example:5000/*', '[fd00::1]:5000/a/*']",
        ),
        (false, "[profiles.restricted.rules.'image.registry']\nallow = ['nginx']"),
        (false, "[profiles.restricted.rules.'image.registry']\nallow = ['docker.io/lib*']"),
        (false, "[profiles.restricted.rules.'image.registry']\nallow = ['Docker.io/library/nginx']"),
        (false, "[profiles.restricted.rules.'image.registry']\nallow = ['docker.io/library/nginx:1']"),
        (
            true,
            "[profiles.restricted.rules.'image.scan']\nseverity = 'critical'\nignore = ['CVE-2026-1']\nmax_age = '30d'",
        ),
        (false, "[profiles.restricted.rules.'image.scan']\nseverity = 'severe'"),
        (false, "[profiles.restricted.rules.'image.scan']\nmax_age = '3w'"),
        (true, "[profiles.restricted.rules.'image.age']\nmax_age = 90"),
        (false, "[profiles.restricted.rules.'image.age']\nmax_age = 0"),
        (true, "[profiles.restricted.rules.'image.labels']\nlabels = ['stage=test*', 'internal']"),
        (false, "[profiles.restricted.rules.'image.labels']\nlabels = ['*']"),
        (false, "[profiles.restricted.rules.'image.age']\naction = 'mutate'"),
        (true, "[profiles.own]\nextends = 'restricted@1'\nmode = 'audit'"),
        (false, "[profiles.restricted]\nmode = 'warn'"),
        (true, "[profiles.restricted.rules.'res.memory']\ndefault = '1GiB'\nmax = '2Gi'"),
        (false, "[profiles.restricted.rules.'res.memory']\ndefault = '1500m'"),
        (true, "[profiles.restricted.rules.'res.cpu']\nmax = 2\ndefault = '1500m'"),
        (false, "[profiles.restricted.rules.'res.cpu']\nmax = '2GiB'"),
        (true, "[profiles.restricted.rules.'res.pids']\nmax = 100"),
        (false, "[profiles.restricted.rules.'res.pids']\nmax = '100'"),
        (false, "[profiles.restricted.rules.'res.pids']\nuid = 100"),
        (true, "[profiles.restricted.rules.'user.non-root']\nuid = 1000\ngid = 2147483647"),
        (false, "[profiles.restricted.rules.'user.non-root']\nuid = 0"),
        (false, "[profiles.restricted.rules.'user.non-root']\nuid = 2147483648"),
        (true, "[profiles.restricted.rules.'caps.allow-list']\ncapabilities = ['CAP_CHOWN']"),
        (false, "[profiles.restricted.rules.'caps.allow-list']\ncapabilities = ['chown']"),
        (true, "[profiles.restricted.rules.'linux.seccomp']\nprofile = 'runtime-default'"),
        (false, "[profiles.restricted.rules.'linux.seccomp']\nprofile = 'un/confined'"),
        (true, "mitigations = ['io-uring']"),
        (false, "mitigations = 'io-uring'"),
        (false, "mitigations = ['']"),
        (true, "[profiles.restricted.rules.'linux.seccomp.arch']\nallow = ['x86', 'arm']"),
        (false, "[profiles.restricted.rules.'linux.seccomp.arch']\nallow = ['x86_64']"),
        (true, "[profiles.restricted.rules.'mount.host-path']\nallow = ['/srv/data:ro', '/srv/more']"),
        (false, "[profiles.restricted.rules.'mount.host-path']\nallow = ['srv']"),
        (true, "[profiles.restricted.rules.'task.stdio']\nallow = ['/srv/logs', 'binary:///usr/bin/nerdctl']"),
        (false, "[profiles.restricted.rules.'task.stdio']\nallow = ['binary://nerdctl']"),
        (false, "[profiles.restricted.rules.'task.stdio']\nallow = ['file:///srv/logs']"),
        (true, "[profiles.restricted.rules.'linux.devices']\nallow = ['/dev/fuse', '/dev/nvidia0 c 195:0']"),
        (false, "[profiles.restricted.rules.'linux.devices']\nallow = ['/dev/nvidia0']"),
        (true, "[profiles.restricted.rules.'linux.sysctl']\nallow = ['kernel.msgmax']"),
        (false, "[profiles.restricted.rules.'annotations']\nallow = ['*']"),
        (false, "[profiles.restricted.rules.'annotations']\nallow = ['a b']"),
        (true, "[profiles.restricted.rules.'res.memory']\nhigh = '80%'\noom_group = true"),
        (true, "[profiles.restricted.rules.'res.memory']\nhigh = '1GiB'\noom_group = false"),
        (true, "[profiles.restricted.rules.'res.memory']\nhigh = '100%'"),
        (false, "[profiles.restricted.rules.'res.memory']\nhigh = '101%'"),
        (false, "[profiles.restricted.rules.'res.memory']\nhigh = '0%'"),
        (false, "[profiles.restricted.rules.'res.memory']\nhigh = 0"),
        (false, "[profiles.restricted.rules.'res.memory']\noom_group = 1"),
        (true, "[profiles.restricted.rules.'res.cpuset']\ncpus = '0-3,8'\nmems = '0'"),
        (false, "[profiles.restricted.rules.'res.cpuset']\ncpus = ''"),
        (false, "[profiles.restricted.rules.'res.cpuset']\ncpus = 3"),
        (false, "[profiles.restricted.rules.'res.cpuset']\nmems = '0-'"),
        (true, "[profiles.restricted.rules.'res.hugepages']\ndefault = 0\nmax = '2MiB'"),
        (true, "[profiles.restricted.rules.'res.hugepages']\nmax = 0"),
        (true, "[profiles.restricted.rules.'res.hugepages']\ndefault = 0"),
        (false, "[profiles.restricted.rules.'res.hugepages']\nmax = -1"),
        (true, "[profiles.restricted.rules.'res.io']\nlimits = ['8:0 rbps=10MiB wiops=200', '* wbps=1']\nweight = 500"),
        (true, "[profiles.restricted.rules.'res.io']\nlimits = []"),
        (false, "[profiles.restricted.rules.'res.io']\nlimits = ['8:0']"),
        (false, "[profiles.restricted.rules.'res.io']\nlimits = ['sda rbps=1']"),
        (false, "[profiles.restricted.rules.'res.io']\nlimits = ['8:0 riops=1MiB']"),
        (false, "[profiles.restricted.rules.'res.io']\nlimits = ['8:0 rbps=0']"),
        (false, "[profiles.restricted.rules.'res.io']\nlimits = ['8:0 rbps=max']"),
        (false, "[profiles.restricted.rules.'res.io']\nweight = 9"),
        (false, "[profiles.restricted.rules.'res.io']\nweight = 1001"),
        (true, "[[select]]\nnamespace = 'kube-*'\nprofile = 'baseline'"),
        (false, "[[select]]\nprofile = 'baseline'"),
        (false, "[[select]]\nnamespace = 'a*b'\nprofile = 'baseline'"),
        (false, "[[select]]\nnamespace = 'a'"),
        (true, "[[exempt]]\nrule = 'linux.sysctl'\nnamespace = 'db'\nreason = 'T-1'\nexpires = '2027-03-01'"),
        (true, "[[exempt]]\nrule = 'linux.sysctl'\nsandbox = true\nreason = 'T-1'\nexpires = '2027-03-01'"),
        (false, "[[exempt]]\nrule = 'linux.sysctl'\npod = 'db'\nreason = 'T-1'\nexpires = '2027-03-01'"),
        (false, "[[exempt]]\nrule = 'caps.never'\nnamespace = 'db'\nreason = 'T-1'\nexpires = '2027-03-01'"),
        (false, "[[exempt]]\nrule = 'linux.sysctl'\nnamespace = 'db'\nreason = ' '\nexpires = '2027-03-01'"),
        (false, "[[exempt]]\nrule = 'linux.sysctl'\nnamespace = 'db'\nreason = 'T-1'\nexpires = 'soon'"),
    ];

    #[test]
    fn it_takes_what_the_shim_takes() {
        let schema = schema();
        for (valid, file) in FILES {
            assert_eq!(Policy::from_toml(file).is_ok(), *valid, "the shim: {file}");
            assert_eq!(takes(&schema, file), *valid, "the schema: {file}");
        }
    }

    #[test]
    fn every_action_of_every_rule() {
        let schema = schema();
        for rule in RULES {
            for action in ["deny", "mutate", "audit", "off", "warn"] {
                let file = format!("[profiles.restricted.rules.\"{}\"]\naction = \"{action}\"\n", rule.id);
                assert_eq!(takes(&schema, &file), Policy::from_toml(&file).is_ok(), "{file}");
            }
        }
    }

    #[test]
    fn it_takes_the_examples_of_the_documentation() {
        let schema = schema();
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/policy.md");
        let page = fs::read_to_string(page).unwrap();
        let examples: Vec<&str> = page.split("```toml").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        assert!(examples.len() >= 3, "the page has examples");
        for example in examples {
            assert!(takes(&schema, example), "{example}");
        }
    }
}
