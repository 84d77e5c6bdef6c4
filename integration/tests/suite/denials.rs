//! What is refused: one change to an otherwise ordinary request at a time, each of which plain runc carries out.

use std::fs;
use std::path::Path;

use libtest_mimic::{Failed, Trial};
use nix::mount::{MsFlags, mount, umount};
use palisade_integration::containerd::Runtime;
use palisade_integration::ctr::{Run, unique};
use palisade_integration::tasks::CreateOptions;
use palisade_integration::{Failure, bundle_spec, image};
use serde_json::{Value, json};

use crate::spec_edits::{add_capability, bind, drop_namespace, join_namespace, mount_options, push, set};
use crate::support::{Check, Test, World, expect_denial};

/// A change to a spec, the rule that refuses it, and whether runc can be asked for it as a control on any machine.
struct Change {
    name: &'static str,
    rule: &'static str,
    make: fn(&mut Value),
    control: Control,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Control {
    /// runc runs the container to its end.
    Runs,
    /// runc refuses as well, or it would change the machine; the rule's own tests have the control.
    None,
}

const fn change(name: &'static str, rule: &'static str, make: fn(&mut Value)) -> Change {
    Change { name, rule, make, control: Control::Runs }
}

const fn without_control(name: &'static str, rule: &'static str, make: fn(&mut Value)) -> Change {
    Change { name, rule, make, control: Control::None }
}

const CHANGES: &[Change] = &[
    change("the host's pid namespace", "linux.ns", |spec| drop_namespace(spec, "pid")),
    change("the host's network namespace", "linux.ns", |spec| drop_namespace(spec, "network")),
    change("the host's ipc namespace", "linux.ns", |spec| drop_namespace(spec, "ipc")),
    // No control: a test machine may keep process 1 from root as well.
    without_control("the host's network namespace by path", "linux.ns", |spec| {
        join_namespace(spec, "network", "/proc/1/ns/net")
    }),
    change("the shim's network namespace by path", "linux.ns", |spec| {
        join_namespace(spec, "network", "/proc/self/ns/net")
    }),
    change("CAP_SYS_ADMIN", "caps.never", |spec| add_capability(spec, "CAP_SYS_ADMIN")),
    change("CAP_SYS_PTRACE", "caps.never", |spec| add_capability(spec, "CAP_SYS_PTRACE")),
    change("CAP_DAC_READ_SEARCH", "caps.never", |spec| add_capability(spec, "CAP_DAC_READ_SEARCH")),
    change("a device of the host", "linux.devices", |spec| {
        push(
            spec,
            "/linux/devices",
            json!({ "path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666 }),
        );
    }),
    change("/etc of the host", "mount.deny-always", |spec| bind(spec, "/etc")),
    change("/ of the host", "mount.deny-always", |spec| bind(spec, "/")),
    change("containerd's socket", "mount.deny-always", |spec| bind(spec, "/run/containerd/containerd.sock")),
    change("the shims' sockets", "mount.deny-always", |spec| bind(spec, "/run/containerd/s")),
    change("/proc of the host", "mount.deny-always", |spec| bind(spec, "/proc")),
    change("every device", "res.devices", |spec| {
        push(spec, "/linux/resources/devices", json!({ "allow": true, "access": "rwm" }))
    }),
    change("a folder of the host", "mount.host-path", |spec| bind(spec, "/srv")),
    change("two marks of privileged mode", "priv.heuristic", |spec| {
        set(spec, "/linux/maskedPaths", json!([]));
        set(spec, "/linux/readonlyPaths", json!([]));
        mount_options(spec, "/sys", json!(["nosuid", "noexec", "nodev", "rw"]));
    }),
    change("shared propagation", "mount.propagation", |spec| set(spec, "/linux/rootfsPropagation", json!("shared"))),
    change("a mount over /proc", "mount.dest", |spec| {
        push(
            spec,
            "/mounts",
            json!({ "destination": "/proc/sys/kernel", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid"] }),
        );
    }),
    without_control("a bpf file system", "mount.type", |spec| {
        push(spec, "/mounts", json!({ "destination": "/mnt", "type": "bpf", "source": "bpf", "options": [] }))
    }),
    change("a hook on the host", "hooks", |spec| set(spec, "/hooks", json!({ "poststop": [{ "path": "/bin/true" }] }))),
    change("a hook before the start", "hooks", |spec| {
        set(spec, "/hooks", json!({ "createRuntime": [{ "path": "/bin/true" }] }))
    }),
    without_control("a sysctl of the node", "linux.sysctl", |spec| {
        set(spec, "/linux/sysctl", json!({ "kernel.core_pattern": "|/bin/false" }))
    }),
    change("a cgroup of the system", "linux.cgroups-path", |spec| {
        set(spec, "/linux/cgroupsPath", json!("/../../system.slice"))
    }),
    change("a working directory behind a descriptor", "process.cwd", |spec| {
        set(spec, "/process/cwd", json!("/proc/self/cwd"))
    }),
    without_control("a user id that wraps", "user.range", |spec| {
        set(spec, "/process/user/uid", json!(2_147_483_648_u64))
    }),
    without_control("a user namespace that maps root to root", "linux.userns", |spec| {
        push(spec, "/linux/namespaces", json!({ "type": "user" }));
        set(spec, "/linux/uidMappings", json!([{ "containerID": 0, "hostID": 0, "size": 65_536 }]));
        set(spec, "/linux/gidMappings", json!([{ "containerID": 0, "hostID": 0, "size": 65_536 }]));
    }),
    without_control("a SELinux type without confinement", "process.selinux", |spec| {
        set(spec, "/process/selinuxLabel", json!("system_u:system_r:spc_t:s0"))
    }),
    without_control("a network device of the host", "linux.net-devices", |spec| {
        set(spec, "/linux/netDevices", json!({ "lo": {} }))
    }),
];

/// Flags of `ctr run`, the rule that refuses them.
const FLAGS: &[(&str, &[&str], &str)] = &[
    ("--privileged", &["--privileged"], "priv.heuristic"),
    ("--privileged without devices", &["--privileged", "--privileged-without-host-devices"], "priv.heuristic"),
    ("--net-host", &["--net-host"], "linux.ns"),
    ("--mount /etc", &["--mount", "type=bind,src=/etc,dst=/mnt,options=rbind:ro"], "mount.deny-always"),
    ("--device /dev/kmsg", &["--device", "/dev/kmsg"], "linux.devices"),
    ("--cap-add CAP_NET_ADMIN", &["--cap-add", "CAP_NET_ADMIN"], "caps.never"),
    ("--with-ns pid of the host", &["--with-ns", "pid:/proc/self/ns/pid"], "linux.ns"),
    ("--rootfs-propagation", &["--rootfs-propagation", "rshared"], "mount.propagation"),
];

pub(crate) fn trials(world: &'static World) -> Vec<Trial> {
    let changes = CHANGES
        .iter()
        .map(|change| Trial::test(format!("spec: refuses {}", change.name), move || refuses_change(world, change)));
    let flags = FLAGS.iter().map(|(name, flags, rule)| {
        Trial::test(format!("ctr: refuses {name}"), move || refuses_flags(world, flags, rule))
    });
    let requests: [(&str, Test); 10] = [
        ("spec: refuses a host path behind a link", link_to_host_path),
        ("spec: refuses a host path mounted elsewhere", alias_of_host_path),
        ("image: refuses a link in place of /dev", link_for_dev),
        ("request: refuses an unknown field", unknown_field),
        ("request: refuses a key given twice", duplicate_key),
        ("request: refuses a checkpoint", checkpoint),
        ("request: refuses a program as a log", program_as_log),
        ("request: refuses a file as a log", file_as_log),
        ("request: refuses a directory of the host as root file system", host_rootfs),
        ("request: refuses a runtime binary of the client's", runtime_binary),
    ];
    let requests = requests.into_iter().map(|(name, test)| Trial::test(name, move || test(world)));
    changes.chain(flags).chain(requests).collect()
}

fn refuses_change(world: &World, change: &Change) -> Check {
    let refused = attempt(world, Runtime::Palisade, |spec| (change.make)(spec), CreateOptions::default())?;
    let Err(failure) = refused else { return Err("palisade made the container".into()) };
    world.expect_refusal(&failure, change.rule)?;
    if change.control == Control::Runs {
        attempt(world, Runtime::Runc, |spec| (change.make)(spec), CreateOptions::default())?
            .map_err(|failure| Failed::from(format!("control: runc refuses it as well: {failure}")))?;
    }
    Ok(())
}

fn refuses_flags(world: &World, flags: &[&str], rule: &str) -> Check {
    let said = world.containerd.run(&Run::new(Runtime::Palisade, &["true"]).flags(flags))?.refusal()?;
    expect_denial(&said, rule)?;
    world.containerd.run(&Run::new(Runtime::Runc, &["true"]).flags(flags))?.success()?;
    Ok(())
}

/// Creates, starts and deletes a container with a changed spec; the inner error is the answer to Create, after which nothing is left.
fn attempt(
    world: &World,
    runtime: Runtime,
    change: impl FnOnce(&mut Value),
    options: CreateOptions,
) -> Result<Result<(), Failure>, Failed> {
    let id = unique("denied");
    let mut spec = bundle_spec::spec(world.containerd.tag(), &id, &["true"]);
    change(&mut spec);
    attempt_text(world, runtime, &id, &spec.to_string(), options)
}

fn attempt_text(
    world: &World,
    runtime: Runtime,
    id: &str,
    spec: &str,
    options: CreateOptions,
) -> Result<Result<(), Failure>, Failed> {
    let tasks = world.tasks()?;
    let mounts = tasks.make_container_of(id, &world.containerd.runtime_name(runtime), spec)?;
    let created = tasks.create(id, mounts, options);
    if created.is_ok() {
        tasks.start(id, "")?;
        tasks.wait(id, "")?;
        tasks.delete(id)?;
    }
    tasks.remove_container(id)?;
    let bundle = world.containerd.layout().bundles().join(world.containerd.tag()).join(id);
    expect!(!bundle.exists(), "{} is left", bundle.display());
    Ok(created.map(drop))
}

/// Text that the policy cannot read is refused before any rule.
fn expect_unreadable(refused: Result<(), Failure>, word: &str) -> Check {
    let Err(failure) = refused else { return Err("palisade made the container".into()) };
    let Some((_, message)) = failure.refusal() else { return Err(format!("not a refusal: {failure}").into()) };
    expect!(message.contains("palisade") && message.contains(word), "{message:?}");
    Ok(())
}

/// Refuses a bind source whose name says nothing, and runc takes it.
fn refuses_source(world: &World, source: &Path) -> Check {
    let source = source.display().to_string();
    match attempt(world, Runtime::Palisade, |spec| bind(spec, &source), CreateOptions::default())? {
        Ok(()) => return Err("palisade made the container".into()),
        Err(failure) => world.expect_refusal(&failure, "mount.deny-always")?,
    }
    attempt(world, Runtime::Runc, |spec| bind(spec, &source), CreateOptions::default())?
        .map_err(|failure| Failed::from(format!("control: {failure}")))
}

fn link_to_host_path(world: &World) -> Check {
    let link = world.containerd.layout().base.join(unique("link"));
    std::os::unix::fs::symlink("/etc", &link)?;
    refuses_source(world, &link)
}

fn alias_of_host_path(world: &World) -> Check {
    let alias = world.containerd.layout().base.join(unique("alias"));
    fs::create_dir(&alias)?;
    let nothing = None::<&str>;
    // The shims' mount namespace is the suite's, so they see this mount.
    mount(Some("/etc"), &alias, nothing, MsFlags::MS_BIND, nothing)?;
    let refused = refuses_source(world, &alias);
    umount(&alias)?;
    refused
}

/// CVE-2026-41579 and CVE-2026-47766 in harmless form: what is meant for /dev lands in another place of the image. With an
/// absolute link runc would follow it on the host.
fn link_for_dev(world: &World) -> Check {
    let create = |runtime| -> Result<Result<(), Failure>, Failed> {
        let id = unique("links");
        let spec = bundle_spec::spec(world.containerd.tag(), &id, &["true"]);
        let tasks = world.tasks()?;
        let mounts = tasks.make_container_of(&id, &world.containerd.runtime_name(runtime), &spec.to_string())?;
        let upper = mounts.iter().flat_map(|mount| &mount.options).find_map(|option| option.strip_prefix("upperdir="));
        let upper = Path::new(upper.ok_or("the snapshot has no upper directory")?).to_owned();
        std::os::unix::fs::symlink("elsewhere", upper.join("dev"))?;
        fs::create_dir(upper.join("elsewhere"))?;
        let created = tasks.create(&id, mounts, CreateOptions::default()).map(drop);
        if created.is_ok() {
            tasks.start(&id, "")?;
            tasks.wait(&id, "")?;
            tasks.delete(&id)?;
        }
        let left = world.containerd.layout().bundles().join(world.containerd.tag()).join(&id);
        expect!(!left.exists(), "{} is left", left.display());
        tasks.remove_container(&id)?;
        Ok(created)
    };
    match create(Runtime::Palisade)? {
        Ok(()) => return Err("palisade made the container".into()),
        Err(failure) => world.expect_refusal(&failure, "root.links")?,
    }
    create(Runtime::Runc)?.map_err(|failure| Failed::from(format!("control: {failure}")))
}

fn unknown_field(world: &World) -> Check {
    let change = |spec: &mut Value| set(spec, "/linux/newIsolation", json!(true));
    expect_unreadable(attempt(world, Runtime::Palisade, change, CreateOptions::default())?, "newIsolation")?;
    attempt(world, Runtime::Runc, change, CreateOptions::default())?
        .map_err(|failure| Failed::from(format!("control: {failure}")))
}

fn duplicate_key(world: &World) -> Check {
    let text = |id: &str| {
        bundle_spec::spec(world.containerd.tag(), id, &["true"]).to_string().replacen(
            "\"process\":",
            "\"process\":{},\"process\":",
            1,
        )
    };
    let id = unique("twice");
    expect_unreadable(attempt_text(world, Runtime::Palisade, &id, &text(&id), CreateOptions::default())?, "process")?;
    let id = unique("twice");
    attempt_text(world, Runtime::Runc, &id, &text(&id), CreateOptions::default())?
        .map_err(|failure| Failed::from(format!("control: {failure}")))
}

fn expect_request_refused(world: &World, options: CreateOptions, rule: &str) -> Check {
    match attempt(world, Runtime::Palisade, |_| (), options)? {
        Ok(()) => Err("palisade made the container".into()),
        Err(failure) => world.expect_refusal(&failure, rule),
    }
}

fn checkpoint(world: &World) -> Check {
    // containerd unpacks the checkpoint before it asks the shim, so the content has to be there.
    let digest = image::digest_of(&image::EMPTY_LAYER);
    expect_request_refused(world, CreateOptions { checkpoint: Some(digest), ..Default::default() }, "task.checkpoint")
}

fn program_as_log(world: &World) -> Check {
    let options = || CreateOptions {
        stdio: [String::new(), "binary:///bin/true".to_owned(), "binary:///bin/true".to_owned()],
        ..Default::default()
    };
    expect_request_refused(world, options(), "task.stdio")
}

fn file_as_log(world: &World) -> Check {
    let file = world.containerd.layout().base.join(unique("log"));
    let uri = format!("file://{}", file.display());
    let options = || CreateOptions { stdio: [String::new(), uri.clone(), uri.clone()], ..Default::default() };
    expect_request_refused(world, options(), "task.stdio")?;
    expect!(!file.exists(), "{} was made", file.display());
    attempt(world, Runtime::Runc, |_| (), options())?.map_err(|failure| Failed::from(format!("control: {failure}")))
}

fn host_rootfs(world: &World) -> Check {
    let mount = containerd_client::types::Mount {
        r#type: "bind".to_owned(),
        source: "/".to_owned(),
        target: String::new(),
        options: vec!["rbind".to_owned(), "ro".to_owned()],
    };
    expect_request_refused(world, CreateOptions { rootfs: Some(vec![mount]), ..Default::default() }, "task.rootfs")
}

/// `containerd.runc.v1.Options` with `binary_name`, its sixth field.
fn runtime_binary(world: &World) -> Check {
    let name = b"/bin/true";
    let mut value = vec![6 << 3 | 2, u8::try_from(name.len())?];
    value.extend_from_slice(name);
    let options = prost_types::Any { type_url: "containerd.runc.v1.Options".to_owned(), value };
    expect_request_refused(world, CreateOptions { options: Some(options), ..Default::default() }, "task.options")
}
