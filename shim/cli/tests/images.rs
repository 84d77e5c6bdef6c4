//! containerd's image verifier as containerd runs it: lists, verdicts, and signatures that openssl has made. As root: the files have to be root's.

#[cfg(test)]
mod images {
    use std::fs;
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::{Path, PathBuf};
    use std::process::{Command, Stdio};

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::{Value, json};

    const NAME: &str = "registry.example:5000/team/app:1";
    const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

    fn digest(digit: char) -> String {
        format!("sha256:{}", digit.to_string().repeat(64))
    }

    /// The name of a file about a digest, without what follows.
    fn file(digit: char) -> String {
        digest(digit).replace(':', "-")
    }

    /// A directory of root's with a policy.
    struct Node(PathBuf);

    impl Node {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("palisade-images-{name}-{}", std::process::id()));
            for part in ["", "verdicts", "signatures"] {
                fs::create_dir_all(dir.join(part)).unwrap();
                fs::set_permissions(dir.join(part), fs::Permissions::from_mode(0o755)).unwrap();
            }
            let node = Self(dir);
            node.policy("", "");
            node
        }

        fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
            let path = self.0.join(name);
            fs::write(&path, bytes).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        }

        fn policy(&self, images: &str, rules: &str) {
            let dir = self.0.display();
            let log = format!("[audit]\npath = \"{dir}/audit.jsonl\"\n");
            let images =
                format!("[images]\nverdicts = \"{dir}/verdicts\"\nsignatures = \"{dir}/signatures\"\n{images}\n");
            self.write("policy.toml", format!("{log}{images}{rules}"));
        }

        /// Runs the verifier for an image whose manifest has this digest: whether it consents, and what it says.
        fn verify(&self, name: &str, digit: char) -> (bool, String) {
            let digest = digest(digit);
            let descriptor = json!({"mediaType": MANIFEST, "digest": digest, "size": 1000}).to_string();
            let kind = "application/vnd.oci.descriptor.v1+json";
            self.run(&["image-verifier", "-name", name, "-digest", &digest, "-stdin-media-type", kind], &descriptor)
        }

        fn run(&self, args: &[&str], stdin: &str) -> (bool, String) {
            let mut command = Command::new(env!("CARGO_BIN_EXE_palisade"));
            command.args(args).env("PALISADE_CONFIG", self.0.join("policy.toml"));
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            // containerd does not mind that a verifier does not read it.
            child.stdin.take().unwrap().write_all(stdin.as_bytes()).ok();
            let output = child.wait_with_output().unwrap();
            (output.status.success(), String::from_utf8(output.stdout).unwrap())
        }

        fn consents(&self, name: &str, digit: char) {
            let (consents, said) = self.verify(name, digit);
            assert!(consents && said.contains("allowed by profile"), "{said}");
        }

        fn refuses(&self, name: &str, digit: char, told: &str) {
            let (consents, said) = self.verify(name, digit);
            assert!(!consents && said.contains(told) && said.trim_end().lines().count() == 1, "{told}: {said}");
        }

        fn openssl(&self, args: &[&str]) -> Vec<u8> {
            let output = Command::new("openssl").args(args).current_dir(&self.0).output().unwrap();
            assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
            output.stdout
        }

        /// Makes a key; its public half in PEM.
        fn key(&self, name: &str, options: &[&str]) -> String {
            self.openssl(&[&["genpkey", "-out", name], options].concat());
            String::from_utf8(self.openssl(&["pkey", "-in", name, "-pubout"])).unwrap()
        }

        /// A signature of bytes, in base64.
        fn sign(&self, key: &str, bytes: &[u8]) -> String {
            fs::write(self.0.join("payload"), bytes).unwrap();
            let signature = if key.starts_with("ed") {
                self.openssl(&["pkeyutl", "-sign", "-rawin", "-inkey", key, "-in", "payload"])
            } else {
                self.openssl(&["dgst", "-sha256", "-sign", key, "payload"])
            };
            STANDARD.encode(signature)
        }
    }

    impl Drop for Node {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn rule(name: &str, settings: &str) -> String {
        format!("[profiles.restricted.rules.\"image.{name}\"]\naction = \"deny\"\n{settings}\n")
    }

    #[test]
    fn a_pull_is_let_through_or_not_by_name_and_lists_and_is_on_record() {
        let node = Node::new("lists");
        node.consents("docker.io/library/busybox:latest", 'a');
        node.policy("", &rule("registry", "allow = [\"registry.example:5000/team/*\"]"));
        node.consents(NAME, 'a');
        node.refuses("docker.io/library/busybox:latest", 'a', "image.registry");
        node.refuses("evil.example/registry.example:5000/team/app", 'a', "image.registry");
        node.policy("", &rule("digest", ""));
        node.consents(&format!("{NAME}@{}", digest('a')), 'a');
        node.refuses(NAME, 'a', "image.digest");
        let list = format!("denied = \"{0}/denied\"\nallowed = \"{0}/allowed\"", node.0.display());
        node.policy(&list, &(rule("denied", "") + &rule("allowed", "")));
        node.refuses(NAME, 'a', "is not there");
        node.write(
            "denied",
            format!("# what is known to be bad\n\n{} CVE-2026-1, mended in 1.2 # soon\n", digest('b')),
        );
        node.write("allowed", format!("{}\n{}\n", digest('a'), digest('b')));
        node.consents(NAME, 'a');
        node.refuses(NAME, 'b', "CVE-2026-1, mended in 1.2;");
        node.refuses(NAME, 'c', "image.allowed");
        node.write("denied", "sha256:abc\n");
        node.refuses(NAME, 'a', "line 1: no digest");
        node.write("denied", "");
        fs::set_permissions(node.0.join("denied"), fs::Permissions::from_mode(0o666)).unwrap();
        node.refuses(NAME, 'a', "image.denied");

        let log = fs::read_to_string(node.0.join("audit.jsonl")).unwrap();
        let last: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
        assert_eq!((&last["decision"], &last["record"]["operation"]), (&json!("deny"), &json!("pull")));
        assert_eq!(
            (&last["record"]["image"]["digest"], &last["identity"]["image_name"]),
            (&json!(digest('a')), &json!(NAME))
        );
        let schema =
            fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/audit.schema.json")).unwrap();
        let schema = jsonschema::validator_for(&serde_json::from_str(&schema).unwrap()).unwrap();
        for line in log.lines() {
            let line = serde_json::from_str(line).unwrap();
            assert!(
                schema.is_valid(&line),
                "{:?}",
                schema.iter_errors(&line).map(|error| error.to_string()).collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn whatever_is_wrong_with_the_call_or_the_policy_is_no_consent() {
        let node = Node::new("wrong");
        let (digest, kind) = (digest('a'), "application/vnd.oci.descriptor.v1+json");
        let descriptor = json!({"mediaType": MANIFEST, "digest": digest, "size": 1}).to_string();
        let whole = ["image-verifier", "-name", NAME, "-digest", &digest, "-stdin-media-type", kind];
        assert!(node.run(&whole, &descriptor).0);
        for (args, stdin) in [
            (&whole[..1], descriptor.as_str()),
            (&whole[..5], &descriptor),
            (&whole, "{}"),
            (&whole, ""),
            (&whole, &descriptor.replace("aaa", "bbb")),
            (&["image-verifier", "-name", NAME, "-digest", "sha256:0", "-stdin-media-type", kind], &descriptor),
        ] {
            let (consents, said) = node.run(args, stdin);
            assert!(!consents && said.starts_with("palisade: "), "{args:?} {stdin}: {said}");
        }
        node.write("policy.toml", "profil = 1\n");
        node.refuses(NAME, 'a', "line 1");
    }

    #[test]
    fn scanners_have_a_say() {
        let node = Node::new("scan");
        node.policy("", &rule("scan", "severity = \"high\"\nignore = [\"CVE-2026-9\"]"));
        node.refuses(NAME, 'a', "no verdict about the image is there");
        let trivy = |severity: &str| {
            json!({"SchemaVersion": 2, "CreatedAt": "2026-01-02T03:04:05Z", "ArtifactType": "container_image", "ArtifactName": NAME,
                "Metadata": {"ImageID": digest('c'), "RepoDigests": [format!("registry.example:5000/team/app@{}", digest('a'))]},
                "Results": [{"Target": "x", "Class": "os-pkgs", "Vulnerabilities": [
                    {"VulnerabilityID": "CVE-2026-9", "PkgName": "p", "Severity": "CRITICAL"},
                    {"VulnerabilityID": "CVE-2026-8", "PkgName": "p", "Severity": severity}]}]})
        };
        let report = |name: &str| format!("verdicts/{}.{name}.json", file('a'));
        node.write(&report("trivy"), trivy("MEDIUM").to_string());
        node.consents(NAME, 'a');
        node.write(&report("trivy"), trivy("HIGH").to_string());
        node.refuses(NAME, 'a', "trivy: CVE-2026-8");
        node.write(&report("trivy"), trivy("MEDIUM").to_string());
        let grype = json!({"matches": [{"vulnerability": {"id": "CVE-2026-7", "severity": "Critical"}}], "descriptor": {"name": "grype"},
            "source": {"type": "image", "target": {"imageID": digest('c'), "manifestDigest": digest('a'), "repoDigests": []}}});
        node.write(&report("grype"), grype.to_string());
        node.refuses(NAME, 'a', "grype: CVE-2026-7");
        node.write(&report("grype"), "{}");
        node.refuses(NAME, 'a', "is no verdict");
        // A report under another image's name is about that image all the same.
        node.write(&report("grype"), grype.to_string().replace("aaaa", "bbbb"));
        node.refuses(NAME, 'a', "is about another image");
        fs::remove_file(node.0.join(report("grype"))).unwrap();
        let verdict = json!({"digest": digest('a'), "verdict": "fail", "until": "2999-01-01", "scanner": "ci", "reason": "malware"});
        node.write(&format!("verdicts/{}.json", file('a')), verdict.to_string());
        node.refuses(NAME, 'a', "ci: fail, malware");
        fs::set_permissions(node.0.join("verdicts"), fs::Permissions::from_mode(0o777)).unwrap();
        node.refuses(NAME, 'a', "verdicts: palisade: ");
    }

    /// cosign's document.
    fn payload(digest: &str, repository: &str) -> Vec<u8> {
        let identity = json!({"docker-reference": repository});
        let image = json!({"docker-manifest-digest": digest});
        let critical = json!({"identity": identity, "image": image, "type": "cosign container image signature"});
        json!({"critical": critical, "optional": {"creator": "cosign"}}).to_string().into_bytes()
    }

    #[test]
    fn signatures_hold_over_digest_and_repository_by_the_policys_keys() {
        let node = Node::new("sign");
        let p256 = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
        let (release, stranger) = (node.key("release", &p256), node.key("stranger", &p256));
        let edwards = node.key("ed", &["-algorithm", "ED25519"]);
        let keys = |names: &[(&str, &str)]| {
            let lines = names.iter().map(|(name, pem)| format!("{name} = '''\n{pem}'''\n"));
            format!("[images.keys]\n{}", lines.collect::<String>())
        };
        let own = keys(&[("release", &release), ("edwards", &edwards)]);
        let put = |payload: &[u8], signature: &str| {
            node.write(&format!("signatures/{}.one.payload", file('a')), payload);
            node.write(&format!("signatures/{}.one.sig", file('a')), format!("{signature}\n"));
        };
        let good = payload(&digest('a'), "registry.example:5000/team/app");
        node.policy(&own, &rule("signature", ""));
        node.refuses(NAME, 'a', "no signature of one of the keys");
        for key in ["release", "ed"] {
            put(&good, &node.sign(key, &good));
            node.consents(NAME, 'a');
        }
        // What was signed under `index.docker.io` is Docker Hub's.
        let hub = payload(&digest('a'), "index.docker.io/library/busybox");
        put(&hub, &node.sign("release", &hub));
        node.consents("docker.io/library/busybox:1", 'a');
        node.refuses(NAME, 'a', "release has signed it as index.docker.io/library/busybox");

        let mut other_type: Value = serde_json::from_slice(&good).unwrap();
        other_type["critical"]["type"] = json!("atomic container signature");
        let other_type = other_type.to_string().into_bytes();
        let other = payload(&digest('b'), "registry.example:5000/team/app");
        for (payload, signature) in [
            (&good, node.sign("stranger", &good)),
            (&other, node.sign("release", &good)),
            (&other, node.sign("release", &other)),
            (&other_type, node.sign("release", &other_type)),
            (&good, String::new()),
            (&good, STANDARD.encode([0; 64])),
            (&good, "no base64".to_owned()),
        ] {
            put(payload, &signature);
            node.refuses(NAME, 'a', "no signature of one of the keys");
        }
        put(&good, &node.sign("stranger", &good));
        node.policy(&keys(&[("stranger", &stranger)]), &rule("signature", ""));
        node.consents(NAME, 'a');
        node.policy(
            &keys(&[("release", &release), ("stranger", &stranger)]),
            &rule("signature", "allow = [\"release\"]"),
        );
        node.refuses(NAME, 'a', "no signature of one of the keys");
        let rsa = node.key("rsa", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]);
        node.policy(&keys(&[("rsa", &rsa)]), &rule("signature", ""));
        node.refuses(NAME, 'a', "is no public key of ECDSA P-256 or Ed25519");
        assert!(!node.run(&["policy", "validate"], "").0, "a key that nothing can be held against");
        node.policy(&own, "");
        assert!(node.run(&["policy", "validate"], "").0);
    }

    #[test]
    fn a_bundle_signs_an_image_if_that_is_what_its_statement_says() {
        let node = Node::new("bundle");
        let pem = node.key("release", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
        let keys = format!("[images.keys]\nrelease = '''\n{pem}'''\n");
        let statement = |predicate: &str, digit: char| {
            let hex = digest(digit).replace("sha256:", "");
            json!({"_type": "https://in-toto.io/Statement/v1", "subject": [{"name": "", "digest": {"sha256": hex}}],
                "predicateType": predicate, "predicate": {}})
            .to_string()
        };
        let bundle = |statement: &str, signed: &str| {
            let kind = "application/vnd.in-toto+json";
            let encoded = format!("DSSEv1 {} {kind} {} {signed}", kind.len(), signed.len());
            let envelope = json!({"payload": STANDARD.encode(statement), "payloadType": kind,
                "signatures": [{"sig": node.sign("release", encoded.as_bytes())}]});
            let bundle = json!({"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
                "verificationMaterial": {"publicKey": {"hint": "x"}}, "dsseEnvelope": envelope});
            node.write(&format!("signatures/{}.sigstore.json", file('a')), bundle.to_string());
        };
        let sign = "https://sigstore.dev/cosign/sign/v1";
        let good = statement(sign, 'a');
        bundle(&good, &good);
        node.policy(&keys, &rule("signature", ""));
        node.refuses(NAME, 'a', "release has signed it without a repository");
        node.policy(&format!("signed_repository = false\n{keys}"), &rule("signature", ""));
        node.consents(NAME, 'a');
        for (statement, signed) in [
            (statement(sign, 'b'), None),
            (statement("https://cosign.sigstore.dev/attestation/vuln/v1", 'a'), None),
            (good, Some("another statement")),
        ] {
            bundle(&statement, signed.unwrap_or(&statement));
            node.refuses(NAME, 'a', "no signature of one of the keys");
        }
    }
}
