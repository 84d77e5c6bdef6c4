//! Golden files: a specification in, the hardened specification and the findings out.
//!
//! `tests/golden/<case>/` holds `config.json` as containerd writes it; `hardened.json`, `patch.json` (from one to the other) and `record.json`, or
//! `denial.txt` and `record.json`, are what palisade makes of it under the built-in policy, or under `policy.toml` where there is one; then on
//! a machine with cgroup v2 and huge pages.
//! `UPDATE_GOLDEN=1` writes them anew; read the difference before it is committed.

#[cfg(test)]
#[path = "../shim/policy/tests/policy/support/mod.rs"]
#[allow(dead_code, reason = "shared with the crate's other tests")]
mod support;

#[cfg(test)]
mod golden {
    use std::fs;
    use std::path::Path;

    use palisade_policy::{Outcome, Patch, Policy};
    use serde_json::Value;

    use super::support;

    fn pretty(value: &Value) -> String {
        format!("{}\n", serde_json::to_string_pretty(value).unwrap())
    }

    /// What the seccomp profile holds is its own crate's to test, and differs between architectures.
    fn without_profile(mut document: Value) -> Value {
        if let Some(profile) = document.pointer_mut("/linux/seccomp").and_then(Value::as_object_mut) {
            profile.retain(|key, _| key == "defaultAction");
        }
        for finding in document.pointer_mut("/findings").and_then(Value::as_array_mut).into_iter().flatten() {
            if finding["rule"].as_str().is_some_and(|rule| rule.starts_with("linux.seccomp")) {
                finding["after"] = Value::Null;
                finding["allowed"] = Value::Null;
            }
        }
        document
    }

    /// The files that a case produces, and `None` for those that it must not.
    fn outcome(spec: &Value, policy: Option<&str>) -> Vec<(&'static str, Option<String>)> {
        let decision = match policy {
            None => support::create(spec, &Policy::builtin()),
            Some(text) => {
                let task = support::Task::of(&support::id_of(spec));
                support::create_with(spec, &task, &Policy::from_toml(text).unwrap(), |host| {
                    host.cgroup_v2 = true;
                    host.huge_page_sizes = vec!["2MB".into(), "1GB".into()];
                })
            }
        };
        let record = pretty(&without_profile(serde_json::to_value(&decision.record).unwrap()));
        let (hardened, patch, denial) = match decision.outcome {
            Outcome::Admit(hardened) => {
                let (hardened, patch) = (support::json(hardened.as_bytes()), patch(spec, hardened.as_bytes()));
                expect_patched(spec, &patch, &hardened);
                (Some(pretty(&without_profile(hardened))), Some(pretty(&without_length(patch))), None)
            }
            Outcome::Deny(denial) => (None, None, Some(format!("{denial}\n"))),
        };
        vec![("record.json", Some(record)), ("hardened.json", hardened), ("patch.json", patch), ("denial.txt", denial)]
    }

    fn patch(spec: &Value, hardened: &[u8]) -> Value {
        let patch = Patch::between(spec.to_string().as_bytes(), hardened).unwrap();
        serde_json::to_value(patch).unwrap()
    }

    const PROFILE: &str = "/linux/seccomp";

    /// Applied to what came, the patch makes what is handed on, but for the profile, whose value is the one that it does not tell.
    fn expect_patched(spec: &Value, told: &Value, hardened: &Value) {
        let operations: json_patch::Patch = serde_json::from_value(told["patch"].clone()).unwrap();
        let mut made = spec.clone();
        json_patch::patch(&mut made, &operations).unwrap();
        let withheld = u64::from(hardened.pointer(PROFILE).is_some());
        if let Some(profile) = made.pointer_mut(PROFILE) {
            *profile = hardened.pointer(PROFILE).cloned().unwrap_or_default();
        }
        assert_eq!(&made, hardened);
        assert_eq!(told["patch_withheld"].as_u64().unwrap_or_default(), withheld, "{told}");
    }

    fn without_length(mut told: Value) -> Value {
        let operations = told["patch"].as_array_mut().into_iter().flatten();
        operations
            .filter(|operation| operation["path"] == PROFILE)
            .for_each(|operation| operation["value"] = Value::Null);
        told
    }

    fn differs(directory: &Path, name: &str, expected: Option<&String>) -> bool {
        fs::read_to_string(directory.join(name)).ok().as_ref() != expected
    }

    fn write(directory: &Path, name: &str, text: Option<&String>) {
        let path = directory.join(name);
        match text {
            Some(text) => fs::write(path, text).unwrap(),
            None if path.exists() => fs::remove_file(path).unwrap(),
            None => {}
        }
    }

    #[test]
    fn every_case_comes_out_as_written_down() {
        let update = std::env::var_os("UPDATE_GOLDEN").is_some();
        let mut cases = 0;
        let mut wrong = Vec::new();
        for entry in fs::read_dir(support::golden_root()).unwrap() {
            let directory = entry.unwrap().path();
            if !directory.is_dir() {
                continue;
            }
            cases += 1;
            let spec = support::json(&fs::read(directory.join("config.json")).unwrap());
            let policy = fs::read_to_string(directory.join("policy.toml")).ok();
            for (name, text) in outcome(&spec, policy.as_deref()) {
                if update {
                    write(&directory, name, text.as_ref());
                } else if differs(&directory, name, text.as_ref()) {
                    wrong.push(directory.join(name));
                }
            }
        }
        assert!(cases >= 14, "{cases} cases found");
        assert!(wrong.is_empty(), "differ; see UPDATE_GOLDEN in the header: {wrong:#?}");
    }

    #[test]
    fn what_must_run_runs_and_what_must_not_does_not() {
        for (name, runs) in [
            ("ctr-default", true),
            ("ctr-seccomp", true),
            ("ctr-annotation", true),
            ("ctr-limits-and-device", false),
            ("ctr-host-path", false),
            ("cri-app", true),
            ("cri-pause", true),
            ("cri-userns", true),
            ("cri-plain-cgroup-v1", true),
            ("ctr-net-host", false),
            ("ctr-privileged", false),
            ("cri-privileged", false),
            ("cri-host-network", false),
            ("cri-host-path", false),
        ] {
            let decision = support::create(&support::golden(name), &Policy::builtin());
            assert_eq!(!support::is_denied(&decision), runs, "{name}: {:#?}", decision.outcome.denial());
        }
    }
}
