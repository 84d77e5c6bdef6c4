//! Rules about images, with images that containerd really has. `PALISADE_CLI` names the program that the shim asks; `scripts/test` builds it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libtest_mimic::{Failed, Trial};
use palisade_integration::containerd::Runtime;
use palisade_integration::cri::{container as cri_container, sleeper};
use palisade_integration::ctr::{Run, unique};
use palisade_integration::leftovers::Leftovers;
use palisade_integration::policy::PolicyFile;
use palisade_integration::registry::Registry;
use palisade_integration::{bundle_spec, image, poll};
use serde_json::{Value, json};

use crate::audit::records;
use crate::support::{Check, World, expect_denial, trial};

const OLD: &str = "palisade.test/images/old:1";
const RETAGGED: &str = "palisade.test/images/retagged:1";

pub(crate) fn trials(world: &'static World) -> Vec<Trial> {
    if program().is_none() {
        println!("PALISADE_CLI names no program: no image is asked for");
        return Vec::new();
    }
    let mut trials = vec![
        trial(world, "images: what runs is on record by its digest, whatever an annotation says", recorded),
        trial(world, "images: each rule refuses an image that has what it is for, and nothing is left", refused),
        trial(world, "images: a name that leads elsewhere by now is no proof", retagged),
        trial(world, "images: another root filesystem than the image's is no proof", exchanged),
        trial(world, "images: a signature in containerd's store counts", signed),
        trial(world, "images: a pod's sandbox has a profile of its own, and containers another", pod),
        trial(world, "images: containerd fetches nothing that the verifier refuses", verified),
        trial(
            world,
            "images: a resolver that is not there or not root's alone refuses, unless errors are let pass",
            resolvers,
        ),
    ];
    // containerd 1.7 hands on no name but the one that sorts first.
    if !world.containerd.is_one_seven() {
        let name = "images: another name for the same image, which sorts first, is not the one that counts";
        trials.push(trial(world, name, renamed));
    }
    trials
}

fn program() -> Option<PathBuf> {
    std::env::var_os("PALISADE_CLI").map(PathBuf::from)
}

/// The program as an admin installs it: root's, below directories of root's.
fn installed(world: &World) -> Result<PathBuf, Failed> {
    let path = world.containerd.layout().base.join("palisade");
    if !path.exists() {
        fs::copy(program().ok_or("no program")?, &path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(path)
}

fn set_policy(world: &World, images: &str, rules: &str) -> Check {
    let resolver = installed(world)?;
    let text = format!("[images]\nresolver = \"{}\"\n{images}\n{rules}", resolver.display());
    Ok(PolicyFile::of(&text).write(world.containerd.layout())?)
}

fn rule(name: &str, settings: &str) -> String {
    format!("[profiles.restricted.rules.\"image.{name}\"]\naction = \"deny\"\n{settings}\n")
}

/// Imports an archive; containerd keeps its images for the rest of the run.
fn import(world: &World, archive: &std::path::Path, more: &[&str]) -> Check {
    let archive = archive.to_str().ok_or("no UTF-8")?;
    world.containerd.ctr(&[&["images", "import"], more, &[archive]].concat())?.success()?;
    Ok(())
}

fn variant(world: &World, name: &str, change: impl FnOnce(&mut Value)) -> Result<String, Failed> {
    let archive = world.containerd.layout().base.join("variant.tar");
    let digest = image::write_variant(world.containerd.assets(), &archive, name, change)?;
    import(world, &archive, &[])?;
    Ok(digest)
}

fn text<'a>(record: &'a Value, pointer: &str) -> &'a str {
    record.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn recorded(world: &World) -> Check {
    set_policy(world, "record = true", &rule("registry", "allow = [\"palisade.test/*\"]"))?;
    let lie = ["--annotation", "io.kubernetes.cri.image-name=docker.io/library/innocent:1"];
    let container = world.containerd.detach(&Run::new(Runtime::Palisade, &["/probe", "sleep"]).flags(&lie))?;
    container.exec(&[], &["true"])?.success()?;
    let recorded = records(world, container.id())?;
    let create = recorded.first().ok_or("no record")?;
    let digest = text(create, "/record/image/digest");
    expect_eq!(text(create, "/record/image/name"), image::WORKLOAD, "the name in {create}");
    expect!(digest.starts_with("sha256:") && digest.len() == 71, "{create}");
    for record in &recorded {
        expect_eq!(text(record, "/identity/image_digest"), digest, "the digest in {record}");
    }
    expect_eq!(recorded.len(), 2, "create and exec, in {recorded:?}");
    container.remove()?;
    // In a user namespace the snapshot may stand on one of its own, with other owners, above the image's layers.
    if !world.containerd.is_one_seven() {
        let mapped = ["--uidmap", "0:100000:65536", "--gidmap", "0:100000:65536"];
        world.containerd.run(&Run::new(Runtime::Palisade, &["true"]).flags(&mapped))?.success()?;
    }
    // The other way round: what an annotation names is allowed, what runs is not.
    set_policy(world, "", &rule("registry", "allow = [\"docker.io/library/*\"]"))?;
    let run = Run::new(Runtime::Palisade, &["true"]).flags(&lie);
    expect_denial(&world.containerd.run(&run)?.refusal()?, "image.registry")
}

fn refused(world: &World) -> Check {
    let digest = variant(world, OLD, |config| {
        config["created"] = json!("2001-02-03T04:05:06Z");
        config["config"]["Labels"] = json!({ "stage": "test-7" });
    })?;
    let base = &world.containerd.layout().base;
    let verdicts = base.join("verdicts");
    fs::create_dir_all(&verdicts)?;
    let denied = base.join("denied");
    fs::write(&denied, format!("{digest} known to be bad\n"))?;
    let grype = json!({ "matches": [{ "vulnerability": { "id": "CVE-2026-1", "severity": "Critical" } }], "descriptor": { "name": "grype" },
        "source": { "type": "image", "target": { "manifestDigest": digest } } });
    fs::write(verdicts.join(format!("{}.grype.json", digest.replace(':', "-"))), grype.to_string())?;
    let images = format!("verdicts = \"{}\"\ndenied = \"{}\"", verdicts.display(), denied.display());
    let run = Run::new(Runtime::Palisade, &["true"]).image(OLD);
    let before = Leftovers::count(&world.containerd)?;
    for (name, settings) in [
        ("labels", "labels = [\"stage=test*\"]"),
        ("age", "max_age = \"90d\""),
        ("denied", ""),
        ("scan", ""),
        ("digest", ""),
        ("registry", "allow = [\"palisade.test/image/*\"]"),
    ] {
        set_policy(world, &images, &rule(name, settings))?;
        expect_denial(&world.containerd.run(&run)?.refusal()?, &format!("image.{name}"))?;
    }
    Leftovers::settle(&before, &world.containerd)?;
    // With the rules off, and with what lets it pass, the same container runs.
    set_policy(world, &images, "")?;
    world.containerd.run(&run)?.success()?;
    let passing = [
        ("labels", "labels = [\"stage=prod\"]"),
        ("scan", "ignore = [\"CVE-2026-1\"]"),
        ("registry", "allow = [\"palisade.test/images/*\"]"),
    ];
    let rules: String = passing.iter().map(|(name, settings)| rule(name, settings)).collect();
    set_policy(world, &images, &rules)?;
    world.containerd.run(&run)?.success()?;
    Ok(())
}

fn retagged(world: &World) -> Check {
    set_policy(world, "", &rule("registry", "allow = [\"palisade.test/*\"]"))?;
    variant(world, RETAGGED, |config| config["created"] = json!("2026-01-01T00:00:00Z"))?;
    let create = |id: &str| -> Check {
        let runtime = world.containerd.runtime_name(Runtime::Palisade);
        world.containerd.ctr(&["containers", "create", "--runtime", &runtime, RETAGGED, id, "true"])?.success()?;
        Ok(())
    };
    let (first, second) = (unique("retagged"), unique("retagged"));
    create(&first)?;
    world.containerd.ctr(&["task", "start", &first])?.success()?;
    create(&second)?;
    world.containerd.ctr(&["images", "tag", "--force", image::PAUSE, RETAGGED])?.success()?;
    let said = world.containerd.ctr(&["task", "start", &second])?.refusal()?;
    for id in [first, second] {
        world.containerd.ctr(&["task", "rm", "--force", &id]).ok();
        world.containerd.ctr(&["containers", "rm", &id])?.success()?;
    }
    expect!(said.contains("is not made of what"), "{said}");
    expect_denial(&said, "image.registry")
}

/// Who calls containerd can name any mounts; what was looked at is the container's snapshot.
fn exchanged(world: &World) -> Check {
    set_policy(world, "", &rule("registry", "allow = [\"palisade.test/*\"]"))?;
    let tasks = world.tasks()?;
    let (one, other) = (unique("exchanged"), unique("exchanged"));
    let runtime = world.containerd.runtime_name(Runtime::Palisade);
    let make = |id: &str| tasks.make_container(id, &runtime, &bundle_spec::spec(world.containerd.tag(), id, &["true"]));
    let (own, others) = (make(&one)?, make(&other)?);
    let options = palisade_integration::tasks::CreateOptions::default;
    let refused = tasks.create(&one, others, options()).err().ok_or("another root filesystem was taken")?;
    world.expect_refusal(&refused, "image.registry")?;
    tasks.create(&one, own, options())?;
    tasks.delete(&one)?;
    for id in [one, other] {
        tasks.remove_container(&id)?;
    }
    Ok(())
}

fn openssl(args: &[&str], stdin: &[u8]) -> Result<Vec<u8>, Failed> {
    use std::io::Write as _;
    let mut child = Command::new("openssl").args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    child.stdin.take().ok_or("no input")?.write_all(stdin)?;
    let output = child.wait_with_output()?;
    expect!(output.status.success(), "openssl {args:?}");
    Ok(output.stdout)
}

fn signed(world: &World) -> Check {
    let layout = world.containerd.layout();
    let key = layout.base.join("release.pem");
    let key = key.to_str().ok_or("no UTF-8")?;
    openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key], b"")?;
    let public = String::from_utf8(openssl(&["pkey", "-in", key, "-pubout"], b"")?)?;
    let name = "palisade.test/images/signed";
    let digest = variant(world, &format!("{name}:1"), |config| config["created"] = json!("2026-02-02T00:00:00Z"))?;
    let run = Run::new(Runtime::Palisade, &["true"]).image("palisade.test/images/signed:1");
    set_policy(world, "", &format!("[images.keys]\nrelease = '''\n{public}'''\n{}", rule("signature", "")))?;
    expect_denial(&world.containerd.run(&run)?.refusal()?, "image.signature")?;
    let payload = json!({ "critical": { "identity": { "docker-reference": name }, "image": { "docker-manifest-digest": digest },
        "type": "cosign container image signature" }, "optional": null });
    let payload = payload.to_string().into_bytes();
    let signature = STANDARD.encode(openssl(&["dgst", "-sha256", "-sign", key], &payload)?);
    let archive = layout.base.join("signature.tar");
    image::write_signature(&archive, &format!("{name}:{}.sig", digest.replace(':', "-")), &payload, &signature)?;
    import(world, &archive, &["--no-unpack"])?;
    let container = world.containerd.detach(&run)?;
    let record = records(world, container.id())?;
    expect_eq!(record.first().ok_or("no record")?["record"]["image"]["signed_by"], json!(["release"]), "{record:?}");
    Ok(container.remove()?)
}

/// As the guide has it.
const OF_PODS: &str = r#"
[profiles.sandbox]
extends = "restricted@1"
[profiles.sandbox.rules."image.registry"]
action = "deny"
allow = ["palisade.test/pause"]
[profiles.restricted.rules."image.registry"]
action = "deny"
allow = ["palisade.test/workload", "palisade.test/user"]
[[select]]
sandbox = true
profile = "sandbox"
"#;

fn pod(world: &World) -> Check {
    set_policy(world, "", OF_PODS)?;
    let cri = world.cri()?;
    let pod = cri.run_pod(Runtime::Palisade, cri.pod_config())?;
    let container = cri.start(&pod, sleeper())?;
    for (id, name) in [(&pod.id, image::PAUSE), (&container, image::WORKLOAD)] {
        let record = records(world, id)?;
        let create = record.first().ok_or("no record")?;
        expect_eq!(text(create, "/record/image/name"), name, "{create}");
        let digest = text(create, "/identity/image_digest");
        expect!(digest.starts_with("sha256:") && digest == text(create, "/record/image/digest"), "{create}");
    }
    let refused = cri.start(&pod, cri_container(image::ROOT, &["/probe", "sleep"])).err();
    let refused = refused.ok_or("another repository's image was run")?;
    world.expect_refusal(&refused, "image.registry")?;
    set_policy(world, "", &format!("{OF_PODS}{}", rule("digest", "")))?;
    let refused = cri.start(&pod, sleeper()).err().ok_or("an image was run by its tag")?;
    world.expect_refusal(&refused, "image.digest")?;
    Ok(pod.remove()?)
}

/// As the kubelet asks: by the image's id, with the name that the pod has beside it. Of several names CRI keeps the one that sorts first,
/// which another tenant of the node can have chosen.
fn renamed(world: &World) -> Check {
    const OTHER: &str = "aaa.test/tenant/workload:1";
    set_policy(world, "", OF_PODS)?;
    let cri = world.cri()?;
    let id = cri.image(image::WORKLOAD)?.ok_or("CRI does not have the image")?.id;
    world.containerd.ctr_in("k8s.io", &["images", "tag", image::WORKLOAD, OTHER])?.success()?;
    poll::eventually("CRI's news of the other name", 20, || match cri.image(&id) {
        Ok(Some(image)) if image.repo_tags.iter().any(|tag| tag == OTHER) => Ok(()),
        other => Err(format!("{other:?}")),
    })?;
    let pod = cri.run_pod(Runtime::Palisade, cri.pod_config())?;
    let asked = |name: &str| {
        let mut config = sleeper();
        config.image = Some(k8s_cri::v1::ImageSpec {
            image: id.clone(),
            user_specified_image: name.to_owned(),
            ..Default::default()
        });
        config
    };
    let container = cri.start(&pod, asked(image::WORKLOAD));
    let refused = cri.start(&pod, asked(OTHER)).err();
    world.containerd.ctr_in("k8s.io", &["images", "rm", OTHER])?.success()?;
    let record = records(world, &container?)?;
    let create = record.first().ok_or("no record")?;
    expect_eq!(text(create, "/record/image/name"), image::WORKLOAD, "{create}");
    // What counts is what the pod asked for, in both directions.
    world.expect_refusal(&refused.ok_or("the other name was let pass")?, "image.registry")?;
    Ok(pod.remove()?)
}

/// containerd 1.7 knows no verifiers.
fn verified(world: &World) -> Check {
    if world.containerd.is_one_seven() {
        return Ok(());
    }
    let base = &world.containerd.layout().base;
    let registry = Registry::serve(world.containerd.assets(), "2026-03-03T00:00:00Z")?;
    let hosts = base.join("registries").join(registry.host());
    fs::create_dir_all(&hosts)?;
    fs::write(hosts.join("hosts.toml"), format!("server = \"http://{}\"\n", registry.host()))?;
    let verifiers = base.join("verifiers");
    fs::create_dir_all(&verifiers)?;
    fs::copy(installed(world)?, verifiers.join("palisade-image-verifier"))?;
    let cri = world.cri()?;
    let (good, other) = (format!("{}/team/app:1", registry.host()), format!("{}/other/app:1", registry.host()));
    set_policy(world, "", &rule("registry", &format!("allow = [\"{}/team/*\"]", registry.host())))?;
    let refused = cri.pull(&other).err().ok_or("another repository was fetched")?;
    expect!(refused.to_string().contains("image.registry"), "{refused}");
    expect_eq!(registry.fetched(), 0, "blobs that were fetched of what was refused");
    cri.pull(&good)?;
    expect!(registry.fetched() > 0, "nothing was fetched");
    let log = fs::read_to_string(world.containerd.layout().audit())?;
    let pulls = log.lines().filter(|line| line.contains("\"pull\"")).map(serde_json::from_str);
    let pulls: Vec<Value> = pulls.collect::<Result<_, _>>()?;
    let seen: Vec<_> = pulls.iter().map(|line| (text(line, "/decision"), text(line, "/record/image/digest"))).collect();
    expect_eq!(seen, [("deny", registry.digest()), ("allow", registry.digest())], "the records of pulls");
    fs::remove_dir_all(verifiers)?;
    // Without the verifier the same image is fetched: the rules at create are left.
    cri.pull(&other)?;
    Ok(())
}

fn resolvers(world: &World) -> Check {
    let base = &world.containerd.layout().base;
    let writable = base.join("writable");
    fs::copy(installed(world)?, &writable)?;
    fs::set_permissions(&writable, fs::Permissions::from_mode(0o757))?;
    let rules = rule("registry", "allow = [\"palisade.test/*\"]");
    let run = Run::new(Runtime::Palisade, &["true"]);
    for (resolver, told) in [
        (base.join("none"), "open the resolver"),
        (writable, "must be a r"),
        ("/usr/bin/echo".into(), "is not understood"),
    ] {
        let set = |more: &str| {
            let text = format!("[images]\nresolver = \"{}\"\n{more}\n{rules}", resolver.display());
            PolicyFile::of(&text).write(world.containerd.layout())
        };
        set("")?;
        let said = world.containerd.run(&run)?.refusal()?;
        expect_denial(&said, "image.registry")?;
        expect!(said.contains("could not be looked at") && said.contains(told), "{told}: {said}");
        set("on_error = \"audit\"")?;
        world.containerd.run(&run)?.success()?;
    }
    Ok(())
}
