//! `palisade check --kubernetes` as an author of manifests runs it. As root: a policy file has to be root's.

#[cfg(test)]
mod kubernetes {
    use std::fs;
    use std::io::{ErrorKind, Write as _};
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::{Path, PathBuf};
    use std::process::{Command, Output, Stdio};
    use std::time::{Duration, Instant};

    use serde_json::Value;

    /// A directory of root's with an empty policy file.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("palisade-kubernetes-{name}-{}", std::process::id()));
            fs::create_dir_all(&dir).unwrap();
            fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
            let scratch = Self(dir);
            scratch.write("policy.toml", "");
            scratch
        }

        fn write(&self, name: &str, text: &str) -> String {
            let path = self.0.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        }

        fn command(&self) -> Command {
            let mut command = Command::new(env!("CARGO_BIN_EXE_palisade"));
            command
                .args(["check", "--kubernetes"])
                .env("PALISADE_CONFIG", self.0.join("policy.toml"))
                .env("NO_COLOR", "1");
            command
        }

        fn run(&self, args: &[&str]) -> Output {
            self.command().args(args).output().unwrap()
        }

        fn judged(&self, args: &[&str]) -> Value {
            let output = self.run(&[&["--format", "json"], args].concat());
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)))
        }

        fn piped(&self, args: &[&str], input: &str) -> Output {
            let mut command = self.command();
            let mut child = command
                .arg("-")
                .args(args)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            // One that ends over its options reads nothing.
            if let Err(error) = child.stdin.take().unwrap().write_all(input.as_bytes()) {
                assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{error}");
            }
            child.wait_with_output().unwrap()
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn text(bytes: &[u8]) -> String {
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    fn data(path: &str) -> String {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(path).to_str().unwrap().to_owned()
    }

    /// The rules with this action among an object's findings.
    fn rules(judged: &Value, action: &str) -> Vec<String> {
        let containers =
            judged["objects"].as_array().unwrap().iter().flat_map(|object| object["containers"].as_array().unwrap());
        let findings = containers.flat_map(|container| container["record"]["findings"].as_array().unwrap());
        let mut all: Vec<String> = findings
            .filter(|finding| finding["action"] == action)
            .map(|finding| finding["rule"].as_str().unwrap().to_owned())
            .collect();
        all.sort();
        all.dedup();
        all
    }

    /// The recipes of `deploy/examples`: each passes under its own policy, and shows what that is for under the default one.
    #[test]
    fn every_recipe_passes_under_its_policy_and_needs_it() {
        let scratch = Scratch::new("recipes");
        for (recipe, manifest, refused, changed) in [
            ("web", "deployment.yaml", &[][..], &[][..]),
            ("database", "statefulset.yaml", &["linux.sysctl"], &[]),
            ("build", "job.yaml", &[], &["caps.allow-list"]),
            ("gpu", "pod.yaml", &["hooks", "linux.devices", "mount.host-path"], &[]),
            ("node-exporter", "daemonset.yaml", &["linux.ns", "mount.deny-always", "mount.host-path"], &[]),
            ("legacy", "deployment.yaml", &[], &["caps.allow-list", "process.nnp", "user.non-root"]),
        ] {
            let folder = data(&format!("../../deploy/examples/{recipe}"));
            let (manifest, policy) = (format!("{folder}/{manifest}"), format!("{folder}/policy.toml"));
            let cdi = format!("nvidia.com/gpu={folder}/cdi.yaml");
            let mut args = vec![manifest.as_str()];
            if recipe == "gpu" {
                args.extend(["--cdi", &cdi]);
            }
            let own = scratch.run(&[args.clone(), vec!["--policy", &policy]].concat());
            assert_eq!(own.status.code(), Some(0), "{recipe}: {}{}", text(&own.stdout), text(&own.stderr));
            let judged = scratch.judged(&[args.clone(), vec!["--policy", &policy]].concat());
            assert_eq!(judged["objects"][0]["not_reached"], Value::Null, "{recipe}");
            let of_default = scratch.judged(&args);
            assert_eq!(rules(&of_default, "denied"), refused, "{recipe} under the default policy");
            for rule in changed {
                let of = |judged: &Value| {
                    places(judged).into_iter().any(|(one, action, _)| one == *rule && action == "mutated")
                };
                assert!(of(&of_default), "{recipe}: {rule} does not change what a field says under the default policy");
                if *rule == "user.non-root" || *rule == "process.nnp" {
                    assert!(!of(&judged), "{recipe}: {rule} changes it under its own policy");
                }
            }
        }
    }

    /// Rule, action and field of every finding that a field decides.
    fn places(judged: &Value) -> Vec<(String, String, String)> {
        let mut all = Vec::new();
        for container in
            judged["objects"].as_array().unwrap().iter().flat_map(|object| object["containers"].as_array().unwrap())
        {
            let findings = container["record"]["findings"].as_array().unwrap();
            for (finding, place) in findings.iter().zip(container["places"].as_array().unwrap()) {
                let word = |key: &str| finding[key].as_str().unwrap().to_owned();
                if let Some(field) = place["field"].as_str() {
                    all.push((word("rule"), word("action"), field.to_owned()));
                }
            }
        }
        all
    }

    #[test]
    fn each_refusal_names_the_field_that_decides_it() {
        let scratch = Scratch::new("fields");
        let manifest = data("tests/kubernetes/refused.yaml");
        let judged = scratch.judged(&[&manifest]);
        let spec = "spec.template.spec";
        let of = |container: &str, field: &str| format!("{spec}.containers[{container}].{field}");
        let refused = places(&judged);
        for (rule, field) in [
            ("linux.ns", format!("{spec}.hostNetwork")),
            ("linux.ns", format!("{spec}.hostPID")),
            ("linux.ns", format!("{spec}.hostIPC")),
            ("linux.sysctl", format!("{spec}.securityContext.sysctls[kernel.shmmax]")),
            ("priv.heuristic", of("privileged", "securityContext.privileged")),
            ("priv.heuristic", of("all", "securityContext.capabilities.add")),
            ("caps.never", of("capable", "securityContext.capabilities")),
            ("process.apparmor", of("unconfined", "securityContext.appArmorProfile")),
            ("process.selinux", of("unconfined", "securityContext.seLinuxOptions")),
            ("process.cwd", of("lost", "workingDir")),
            ("process.args", of("lost", "command[0]")),
            ("mount.deny-always", format!("{spec}.volumes[etc].hostPath.path")),
            ("mount.deny-always", format!("{spec}.volumes[docker].hostPath.path")),
            ("mount.host-path", format!("{spec}.volumes[srv].hostPath.path")),
            ("mount.dest", of("mounting", "volumeMounts[cache].mountPath")),
            ("mount.propagation", of("mounting", "volumeMounts[srv].mountPropagation")),
            ("linux.devices", of("mounting", "volumeDevices[0]")),
            ("user.range", format!("{spec}.initContainers[first].securityContext.runAsUser")),
        ] {
            let wanted = (rule.to_owned(), "denied".to_owned(), field.clone());
            assert!(refused.contains(&wanted), "no {rule} at {field} in {refused:#?}");
        }
        let shown = text(&scratch.run(&[&manifest]).stdout);
        for line in [
            ":9: Deployment bad, sandbox: denied: linux.ns: spec.template.spec.hostNetwork: ",
            "container privileged: REFUSED under profile restricted (profile), ",
            "mend: remove spec.template.spec.hostNetwork",
            "mend: take kernel.shmmax out of spec.template.spec.securityContext.sysctls",
            "container mounting: no mend: mount.deny-always: spec.template.spec.volumes[etc].hostPath.path: ",
            "1 judged, 1 refused, 0 not reached",
        ] {
            assert!(shown.contains(line), "no {line:?} in {shown}");
        }
    }

    #[test]
    fn sarif_is_valid_and_has_the_lines_of_the_manifest() {
        let scratch = Scratch::new("sarif");
        let output = scratch.run(&["--format", "sarif", &data("tests/kubernetes/refused.yaml")]);
        assert_eq!(output.status.code(), Some(1));
        let log: Value = serde_json::from_slice(&output.stdout).unwrap();
        let schema: Value = serde_json::from_str(include_str!("sarif-2.1.0-part.schema.json")).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let errors: Vec<String> = validator.iter_errors(&log).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}");
        let results = log["runs"][0]["results"].as_array().unwrap();
        let network = results.iter().find(|result| {
            result["locations"][0]["logicalLocations"][0]["fullyQualifiedName"] == "spec.template.spec.hostNetwork"
        });
        let network = network.unwrap();
        assert_eq!(network["level"], "error");
        assert_eq!(network["locations"][0]["physicalLocation"]["region"]["startLine"], 9);
    }

    const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  runtimeClassName: palisade\n  containers:\n  - {name: c, image: i}\n";

    #[test]
    fn documents_lists_json_and_standard_input_are_read_and_other_kinds_are_told() {
        let scratch = Scratch::new("forms");
        let service = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\n";
        let list = r#"{"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "j"},
            "spec": {"schedule": "@daily", "jobTemplate": {"spec": {"template": {"spec": {"runtimeClassName": "palisade", "hostPID": true,
            "containers": [{"name": "c", "image": "i"}]}}}}}}]}"#;
        scratch.write("manifests/a.yaml", &format!("{POD}---\n{service}---\n"));
        scratch.write("manifests/deep/b.json", list);
        scratch.write("manifests/values.yaml", "replicas: 3\n");
        scratch.write("manifests/notes.txt", "no manifest");
        let folder = scratch.0.join("manifests");
        let judged = scratch.judged(&[folder.to_str().unwrap()]);
        let names: Vec<(&str, &str)> = judged["objects"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| (one["kind"].as_str().unwrap(), one["pod"].as_str().unwrap()))
            .collect();
        assert_eq!(names, [("Pod", "p"), ("CronJob", "j-29450880-x7k2p")]);
        assert_eq!(rules(&judged, "denied"), ["linux.ns"]);
        let denied =
            places(&judged).into_iter().find(|(rule, action, _)| rule == "linux.ns" && action == "denied").unwrap();
        assert_eq!(denied.2, "spec.jobTemplate.spec.template.spec.hostPID");
        let skipped = judged["skipped"].to_string();
        assert!(skipped.contains("Service") && skipped.contains("values.yaml"), "{skipped}");
        let piped = scratch.piped(&[], POD);
        assert_eq!(piped.status.code(), Some(0), "{}", text(&piped.stderr));
        assert!(text(&piped.stdout).contains("-:1: Pod p, container c: admitted"), "{}", text(&piped.stdout));
        let other =
            scratch.piped(&[], "apiVersion: batch.volcano.sh/v1alpha1\nkind: Job\nmetadata: {name: v}\nspec: {x: 1}\n");
        assert!(text(&other.stdout).contains("skipped: Job \"v\" makes no pods"), "{}", text(&other.stdout));
    }

    #[test]
    fn a_wrong_field_is_an_error_with_file_document_line_and_path() {
        let scratch = Scratch::new("wrong");
        for (wrong, words) in [
            (
                POD.replace("image: i", "imagge: i"),
                ["document 2, line 10", "spec.containers[0]", "unknown field `imagge`"],
            ),
            (
                POD.replace("image: i", "image: i, tty: 'yes'"),
                ["document 2, line 10", "spec.containers[0].tty", "expected a boolean"],
            ),
            (
                POD.replace("spec:", "spec:\n  hostNetwrok: true"),
                ["document 2, line 8", "spec", "unknown field `hostNetwrok`"],
            ),
            (
                POD.replace("metadata: {name: p}", "metadata: {name: p, labels: {a: 1}}"),
                ["document 2", "metadata.labels.a", "expected a string"],
            ),
            (
                POD.replace("containers:\n  - {name: c, image: i}", "containers: []"),
                ["document 2", "spec.containers", "at least one container"],
            ),
            (
                POD.replace("name: c", &format!("name: {}", "c".repeat(64))),
                ["document 2, line 10", "].name", "is longer than 63 bytes"],
            ),
            ("a: 1\n".to_owned(), ["document 2", "apiVersion and kind", "no Kubernetes object"]),
            (
                POD.replace("image: i", "image: i, resources: {limits: {memory: much}}"),
                ["document 2, line 10", "spec.containers[c].resources.limits.memory", "is no quantity"],
            ),
            (
                POD.replace("image: i", "image: i, volumeMounts: [{name: v, mountPath: /v}]"),
                ["document 2", "spec.containers[c].volumeMounts[v].name", "no such volume"],
            ),
            (
                POD.replace("image: i", "image: i, securityContext: {procMount: unmasked}"),
                ["document 2", "spec.containers[c].securityContext.procMount", "is none of Default, Unmasked"],
            ),
            (POD.replace("kind: Pod", "kind: Pod\nkind: Pod"), ["line 6", "\"kind\"", "stands twice"]),
            ("a: [\n".to_owned(), ["line", "no YAML", "more"]),
        ] {
            let file = scratch.write("wrong.yaml", &format!("apiVersion: v1\nkind: Namespace\n---\n{wrong}"));
            let output = scratch.run(&[&file]);
            assert_eq!(output.status.code(), Some(2), "{wrong}");
            let said = text(&output.stderr);
            for word in ["wrong.yaml", words[0], words[1], words[2]].iter().filter(|word| **word != "more") {
                assert!(said.contains(word), "no {word:?} in {said}");
            }
        }
    }

    #[test]
    fn pods_of_another_class_are_not_reached_unless_assumed() {
        let scratch = Scratch::new("class");
        for (class, args, judged) in [
            ("palisade", &[][..], true),
            ("gvisor", &[][..], false),
            ("gvisor", &["--runtime-class", "gvisor"][..], true),
            ("palisade", &["--runtime-class", "gvisor"][..], false),
            ("kata", &["--assume"][..], true),
        ] {
            let output = scratch
                .piped(args, &POD.replace("palisade", class).replace("containers:", "hostIPC: true\n  containers:"));
            let shown = text(&output.stdout);
            assert_eq!(output.status.code(), Some(i32::from(judged)), "{class} {args:?}: {shown}");
            assert_eq!(shown.contains("NOT REACHED by palisade: it selects RuntimeClass"), !judged, "{shown}");
        }
        let none = scratch.piped(&[], &POD.replace("  runtimeClassName: palisade\n", ""));
        assert!(text(&none.stdout).contains("it selects no RuntimeClass"), "{}", text(&none.stdout));
    }

    #[test]
    fn what_is_not_known_is_assumed_and_told_and_can_be_given() {
        let scratch = Scratch::new("given");
        let said = text(&scratch.piped(&[], POD).stdout);
        for words in [
            "assumed: image \"i\" has no USER (so root)",
            "assumed: the service account \"default\"",
            "changed: user.non-root",
        ] {
            assert!(said.contains(words), "no {words:?} in {said}");
        }
        let config = scratch.write(
            "image.json",
            r#"{"config": {"User": "1000:1000", "Entrypoint": ["/app"], "Volumes": {"/data": {}}}}"#,
        );
        let given = text(&scratch.piped(&["--image-config", &format!("i={config}")], POD).stdout);
        assert!(!given.contains("assumed: image") && !given.contains("user.non-root"), "{given}");
        let specs = scratch.piped(&["--image-config", &format!("i={config}"), "--specs", "--node", "cgroup=v1"], POD);
        let specs: Value = serde_json::from_slice(&specs.stdout).unwrap();
        let spec = &specs[0]["specifications"]["c"];
        assert_eq!(spec["process"]["user"]["uid"], 1000);
        assert_eq!(spec["process"]["args"][0], "/app");
        let mounts = spec["mounts"].as_array().unwrap();
        assert!(mounts.iter().any(|mount| mount["destination"] == "/data"), "{mounts:?}");
        let namespaces = spec["linux"]["namespaces"].to_string();
        assert!(!namespaces.contains("cgroup"), "{namespaces}");
        for wrong in [&["--node", "colour=red"][..], &["--image-config", "i"], &["--cdi", "x=/nonexistent"]] {
            assert_eq!(scratch.piped(wrong, POD).status.code(), Some(2), "{wrong:?}");
        }
    }

    #[test]
    fn profiles_are_selected_by_namespace_pod_image_and_annotation() {
        let scratch = Scratch::new("select");
        let policy = "[[select]]\nnamespace = \"ops\"\npod = \"p*\"\nprofile = \"baseline\"\n";
        scratch.write("policy.toml", policy);
        let said = |manifest: &str, args: &[&str]| text(&scratch.piped(args, manifest).stdout);
        assert!(said(POD, &[]).contains("container c: admitted under profile restricted (profile)"));
        assert!(
            said(POD, &["--namespace", "ops"]).contains("container c: admitted under profile baseline (select[0])")
        );
        let asking = POD.replace("{name: p}", "{name: p, annotations: {palisade.io/profile: privileged}}");
        let refused = said(&asking, &["--node", "pod-annotations=palisade.io/profile palisade.io/seccomp"]);
        assert!(refused.contains("denied: task.annotations: metadata.annotations[palisade.io/profile]: "), "{refused}");
        assert!(refused.contains("mend: remove metadata.annotations[palisade.io/profile]"), "{refused}");
        assert!(!refused.contains("does not reach palisade"), "{refused}");
    }

    /// What containerd keeps to itself decides nothing: a pod is not shown under a stricter profile than it gets.
    #[test]
    fn annotations_that_no_handler_lists_do_not_select() {
        let scratch = Scratch::new("annotations");
        scratch.write("policy.toml", "profile = \"baseline\"\n");
        let asking = POD.replace("{name: p}", "{name: p, annotations: {palisade.io/profile: restricted}}");
        let told = "assumed: annotation \"palisade.io/profile\" does not reach palisade: ";
        for (args, wanted) in [
            (&[][..], "under profile baseline (profile)"),
            (&["--node", "pod-annotations=palisade.io/seccomp"], "under profile baseline (profile)"),
            (
                &["--node", "pod-annotations=palisade.io/profile"],
                "under profile restricted (annotation palisade.io/profile)",
            ),
        ] {
            let said = text(&scratch.piped(args, &asking).stdout);
            assert!(said.contains(&format!("container c: admitted {wanted}")), "{said}");
            assert_eq!(said.contains(told), wanted.contains("baseline"), "{said}");
        }
        assert!(!text(&scratch.piped(&[], POD).stdout).contains("does not reach palisade"));
    }

    #[test]
    fn a_patch_that_is_suggested_is_printed_and_works() {
        let scratch = Scratch::new("patch");
        let file = scratch.write("p.yaml", &POD.replace("image: i", "image: i, securityContext: {privileged: true}"));
        let judged = scratch.judged(&[&file]);
        assert_eq!(
            judged["objects"][0]["patch"].to_string(),
            r#"[{"op":"remove","path":"/spec/containers/0/securityContext/privileged"}]"#
        );
        assert_eq!(judged["objects"][0]["without_mend"], serde_json::json!([]));
        let shown = text(&scratch.run(&[&file, "--suggest"]).stdout);
        assert!(shown.contains("# kubectl patch pod p --type=json\n[{\"op\":\"remove\""), "{shown}");
        let mended = POD.replace("image: i", "image: i, securityContext: {}");
        assert_eq!(scratch.piped(&[], &mended).status.code(), Some(0));
    }

    /// Files that unfold without end, and ones that never end.
    #[test]
    fn bombs_end_in_an_error_soon() {
        let scratch = Scratch::new("bombs");
        let laughs: String =
            (1..30).map(|i| format!("a{i}: &a{i} [*a{0}, *a{0}, *a{0}, *a{0}, *a{0}]\n", i - 1)).collect();
        for bomb in [format!("a0: &a0 [lol]\n{laughs}"), "[".repeat(1 << 20), "x".repeat(9 << 20)] {
            let begun = Instant::now();
            let output = scratch.run(&[&scratch.write("bomb.yaml", &bomb)]);
            assert_eq!(output.status.code(), Some(2), "{}", text(&output.stdout));
            assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        }
        // A device that never ends is read up to the limit.
        assert_eq!(scratch.run(&["/dev/zero"]).status.code(), Some(2));
    }

    /// What a node can't do for a pod with a user namespace of its own: no policy changes that, an auditing one neither.
    #[test]
    fn what_host_users_needs_of_the_node_is_refused_or_told() {
        let scratch = Scratch::new("users");
        scratch.write("policy.toml", "[profiles.restricted]\nmode = \"audit\"\n");
        let with = |volume: &str, users: bool| {
            POD.replace("image: i", "image: i, volumeMounts: [{name: v, mountPath: /v}]").replace(
                "containers:",
                &format!("hostUsers: {users}\n  volumes:\n  - {{name: v, {volume}}}\n  containers:"),
            )
        };
        for (volume, field, filesystem) in [
            ("nfs: {server: s, path: /}", "nfs", "NFS"),
            ("azureFile: {secretName: s, shareName: s}", "azureFile", "SMB"),
            ("glusterfs: {endpoints: e, path: /}", "glusterfs", "GlusterFS"),
        ] {
            let refused = scratch.piped(&[], &with(volume, false));
            let said = text(&refused.stdout);
            assert_eq!(refused.status.code(), Some(1), "{said}{}", text(&refused.stderr));
            for words in [
                format!("-:8: Pod p, container c: denied: node: spec.volumes[v].{field}: can't show its files"),
                format!("{filesystem} has no such mounts"),
                "container c: REFUSED under".to_owned(),
                format!("no mend: node: spec.volumes[v].{field}: "),
                "sandbox: admitted".to_owned(),
            ] {
                assert!(said.contains(&words), "no {words:?} in {said}");
            }
            assert_eq!(scratch.piped(&[], &with(volume, true)).status.code(), Some(0), "{volume}");
        }
        for (volume, told) in [
            ("persistentVolumeClaim: {claimName: c}", true),
            ("csi: {driver: d}", true),
            ("cephfs: {monitors: [m]}", true),
            ("emptyDir: {}", false),
            ("secret: {secretName: s}", false),
        ] {
            let passed = scratch.piped(&[], &with(volume, false));
            let said = text(&passed.stdout);
            assert_eq!(passed.status.code(), Some(0), "{said}");
            assert_eq!(said.contains("is on a filesystem that can be idmapped"), told, "{said}");
        }
        let old = &["--node", "containerd=1.7"][..];
        let said = text(&scratch.piped(old, &with("emptyDir: {}", false)).stdout);
        let words = "-:6: Pod p, sandbox: denied: node: spec.hostUsers: containerd 1.7 has no user namespaces for pods";
        assert!(said.contains(words), "{said}");
        assert_eq!(scratch.piped(old, &with("emptyDir: {}", true)).status.code(), Some(0));
        let file = scratch.write("nfs.yaml", &with("nfs: {server: s, path: /}", false));
        let judged = scratch.judged(&[&file]);
        let container = &judged["objects"][0]["containers"][1];
        assert_eq!(container["decision"], "deny");
        assert_eq!(container["node"][0]["place"]["pointer"], "/spec/volumes/0/nfs");
        assert_eq!(judged["objects"][0]["without_mend"][0]["rule"], "node");
        let log: Value = serde_json::from_slice(&scratch.run(&["--format", "sarif", &file]).stdout).unwrap();
        let results = log["runs"][0]["results"].as_array().unwrap();
        assert!(results.iter().any(|result| result["ruleId"] == "node" && result["level"] == "error"), "{results:?}");
    }

    /// Through an idmapped mount root of the pod's user namespace is root on the disk: where others are shown it, another user is forced.
    #[test]
    fn root_of_a_user_namespace_is_forced_to_another_user_on_a_disk_of_others_alone() {
        let scratch = Scratch::new("disk");
        let with = |volume: &str, mount: &str, users: bool| {
            let own = format!(
                "image: i, securityContext: {{runAsUser: 0}}, volumeMounts: [{{name: v, mountPath: /v{mount}}}]"
            );
            let pod = format!("hostUsers: {users}\n  volumes:\n  - {{name: v, {volume}}}\n  containers:");
            POD.replace("image: i", &own).replace("containers:", &pod)
        };
        let claim = "persistentVolumeClaim: {claimName: c}";
        for (volume, mount, users, forced) in [
            (claim, "", false, true),
            ("csi: {driver: d}", "", false, true),
            ("ephemeral: {volumeClaimTemplate: {}}", "", false, true),
            ("iscsi: {iqn: i}", "", false, true),
            (claim, ", subPath: a", false, true),
            // Which volume it is part of, nobody can see on the node.
            ("emptyDir: {}", ", subPath: a", false, true),
            (claim, ", readOnly: true", false, false),
            ("persistentVolumeClaim: {claimName: c, readOnly: true}", "", false, false),
            ("emptyDir: {}", "", false, false),
            ("secret: {secretName: s}", "", false, false),
            ("emptyDir: {}", "", true, true),
        ] {
            let file = scratch.write("disk.yaml", &with(volume, mount, users));
            let forcing = (
                "user.non-root".to_owned(),
                "mutated".to_owned(),
                "spec.containers[c].securityContext.runAsUser".to_owned(),
            );
            let places = places(&scratch.judged(&[&file]));
            assert_eq!(places.contains(&forcing), forced, "{volume}{mount} hostUsers: {users}: {places:?}");
            let specs: Value = serde_json::from_slice(&scratch.run(&["--specs", &file]).stdout).unwrap();
            let mounts = specs[0]["specifications"]["c"]["mounts"].as_array().unwrap().clone();
            let shown = mounts.into_iter().find(|mount| mount["destination"] == "/v").unwrap();
            let map = serde_json::json!([{"containerID": 0, "hostID": 65_536, "size": 65_536}]);
            let wanted = if users { Value::Null } else { map };
            assert_eq!((&shown["uidMappings"], &shown["gidMappings"]), (&wanted, &wanted), "{shown}");
        }
    }

    /// Variables that each hold the one before twice, others that repeat one that is long, mounts of a long path, and very many of them.
    #[test]
    fn variables_that_multiply_are_an_error_that_names_where() {
        let scratch = Scratch::new("variables");
        let with = |env: &str| POD.replace("image: i", &format!("image: i, env: [{env}]"));
        let double = |i: usize| format!("{{name: V{i}, value: \"$(V{0})$(V{0})\"}},", i.saturating_sub(1));
        let doubling: String = (1..41).map(double).collect();
        let long = "x".repeat(100_000);
        let told = POD.replace("{name: p}", &format!("{{name: p, annotations: {{a: {long}}}}}"));
        let field: String = (0..100)
            .map(|i| format!("{{name: V{i}, valueFrom: {{fieldRef: {{fieldPath: \"metadata.annotations['a']\"}}}}}},"))
            .collect();
        let mounting: String = (0..100).map(|i| format!("{{name: v, mountPath: /m{i}}},")).collect();
        let repeating = "\"$(V0)\",".repeat(100);
        for (bomb, place) in [
            (with(&format!("{{name: V0, value: lol}},{doubling}")), "spec.containers[c].env[V18].value: "),
            (told.replace("image: i", &format!("image: i, env: [{field}]")), "spec.containers[c].env[V10].valueFrom: "),
            (
                with(&format!("{{name: V0, value: {long}}}")).replace("env:", &format!("args: [{repeating}], env:")),
                "spec.containers[c].args[10]: ",
            ),
            (
                POD.replace("image: i", &format!("image: i, volumeMounts: [{mounting}]"))
                    .replace("spec:", &format!("spec:\n  volumes: [{{name: v, hostPath: {{path: /{long}}}}}]")),
                "spec.containers[c].volumeMounts[v]: ",
            ),
        ] {
            let begun = Instant::now();
            let output = scratch.piped(&[], &format!("apiVersion: v1\nkind: Namespace\n---\n{bomb}"));
            let said = text(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{said}");
            for words in ["document 2, line 1", place, "more than 1048576 bytes"] {
                assert!(said.contains(words), "no {words:?} in {said}");
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        }
        let many: String = (0..50_000).map(|i| format!("{{name: V{i}}},")).collect();
        let begun = Instant::now();
        assert_eq!(scratch.piped(&[], &with(&many)).status.code(), Some(0));
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    }

    const BEGIN: &str =
        "<!-- The output is written by a test: UPDATE_GOLDEN=1 cargo test -p palisade-cli --test kubernetes -->\n";

    /// `docs/kubernetes-check.md` shows what the program prints. `UPDATE_GOLDEN=1` writes it anew.
    #[test]
    fn the_guide_shows_what_is_printed() {
        let scratch = Scratch::new("guide");
        let mut command = scratch.command();
        let output = command.current_dir(data("tests/kubernetes")).args(["cart.yaml", "--suggest"]).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let block =
            format!("```text\n$ palisade check --kubernetes cart.yaml --suggest\n{}```\n", text(&output.stdout));
        let path = data("../../docs/kubernetes-check.md");
        let page = fs::read_to_string(&path).unwrap();
        let (before, rest) = page.split_once(BEGIN).unwrap();
        let (_, after) = rest.split_once("\n\n- ").unwrap();
        let wanted = format!("{before}{BEGIN}{block}\n- {after}");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, &wanted).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), wanted, "UPDATE_GOLDEN=1 writes it anew");
    }

    #[test]
    fn what_an_author_writes_does_not_steer_the_terminal() {
        let scratch = Scratch::new("steer");
        let hostile =
            POD.replace("name: c,", "name: \"c\\u001b[2J\\u202e\",").replace("{name: p}", "{name: \"p\\u009b\"}");
        for format in ["text", "json", "sarif"] {
            let output = text(&scratch.piped(&["--format", format], &hostile).stdout);
            let steering = output.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}');
            assert!(!steering, "{format}: {output:?}");
        }
        let wrong = POD.replace("name: c,", "\"\\u001b[2J\": 1, name: c,");
        let said = text(&scratch.piped(&[], &wrong).stderr);
        assert!(!said.chars().any(|c| c.is_control() && c != '\n'), "{said:?}");
    }
}
