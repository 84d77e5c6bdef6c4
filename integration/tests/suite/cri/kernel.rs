//! Sysctls of a pod, and the filters that a pod may ask for: seccomp, AppArmor, SELinux.

use std::fs;
use std::path::Path;

use k8s_cri::v1 as api;
use k8s_cri::v1::security_profile::ProfileType;
use palisade_integration::cri;

use super::look;
use super::scenario::{Scenario, scenario};
use super::seen::Seen;
use super::stage::{Container, Fault, Stage, pod_secured, secured};

/// Refuses sethostname(2) and lets all else through.
const PROFILE: &str = r#"{ "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{ "names": ["sethostname"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95 }] }"#;

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario(
        "safe sysctls",
        "PodSandbox: safe sysctls",
        safe,
        &[("kernel.shm_rmid_forced", "1"), ("net.ipv4.ip_local_port_range", "1024 65000")],
    ),
    scenario(
        "sysctls that are not safe",
        "PodSandbox: unsafe sysctls",
        unsafe_,
        &[("fs.mqueue.msg_max", "100"), ("kernel.msgmax", "8100")],
    )
    .refused("linux.sysctl"),
    scenario(
        "seccomp: RuntimeDefault",
        "SeccompProfilePath: default",
        by_default,
        &[("Seccomp", "2"), ("keyctl", "Refused"), ("personality", "Refused")],
    ),
    scenario(
        "seccomp: Unconfined",
        "SeccompProfilePath: unconfined",
        unconfined,
        &[("Seccomp", "0"), ("keyctl", "Reached")],
    )
    .restricted(&[("Seccomp", "2"), ("keyctl", "Refused")]),
    scenario(
        "seccomp: none is named",
        "SeccompProfilePath: nil profile",
        unset,
        &[("Seccomp", "0"), ("keyctl", "Reached")],
    )
    .restricted(&[("Seccomp", "2"), ("keyctl", "Refused")]),
    scenario(
        "seccomp: a profile of the node, with SYS_ADMIN",
        "SeccompProfilePath: localhost, profile that blocks setting hostname with SYS_ADMIN",
        localhost,
        &[("Seccomp", "2"), ("hostname", "Operation not supported")],
    )
    .refused("caps.never"),
    scenario(
        "seccomp: a profile of the node",
        "SeccompProfilePath: localhost",
        localhost_alone,
        &[("Seccomp", "2"), ("hostname", "Operation not supported")],
    )
    .restricted(&[("Seccomp", "2"), ("keyctl", "Refused")]),
    scenario(
        "seccomp: Unconfined with SYS_ADMIN sets the host name",
        "SeccompProfilePath: not block setting host name with unconfined seccomp and SYS_ADMIN",
        unconfined_admin,
        &[("Seccomp", "0"), ("hostname", "done")],
    )
    .refused("caps.never"),
    scenario(
        "seccomp: privileged has no profile",
        "SeccompProfilePath: ignore a profile when privileged",
        privileged,
        &[("Seccomp", "0"), ("hostname", "done")],
    )
    .refused("priv.heuristic"),
    scenario(
        "AppArmor: a profile that is not loaded",
        "AppArmor: fail with an unloaded profile",
        app_armor_unloaded,
        &[("create", "refused")],
    ),
    scenario("AppArmor: the runtime's default", "", app_armor_default, &[("as the node allows", "true")]),
    scenario("SELinux options where SELinux is off", "SELinux: with selinux set", selinux, &[("runs", "yes")]),
];

fn safe(stage: &Stage<'_>) -> Result<Seen, Fault> {
    sysctls(
        stage,
        &[
            ("kernel.shm_rmid_forced", "1"),
            ("net.ipv4.ip_local_port_range", "1024 65000"),
            ("net.ipv4.tcp_syncookies", "0"),
            ("net.ipv4.ping_group_range", "0 2147483647"),
        ],
    )
}

fn unsafe_(stage: &Stage<'_>) -> Result<Seen, Fault> {
    sysctls(stage, &[("fs.mqueue.msg_max", "100"), ("kernel.msgmax", "8100")])
}

fn sysctls(stage: &Stage<'_>, wanted: &[(&str, &str)]) -> Result<Seen, Fault> {
    let pairs = wanted.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
    stage.one_in(
        |config| config.linux.get_or_insert_default().sysctls.extend(pairs),
        |_| (),
        |container, seen| {
            for (name, _) in wanted {
                let text = container.exec(&["cat", &format!("/proc/sys/{}", name.replace('.', "/"))])?.stdout;
                seen.note(*name, text.split_whitespace().collect::<Vec<_>>().join(" "));
            }
            Ok(())
        },
    )
}

fn by_default(stage: &Stage<'_>) -> Result<Seen, Fault> {
    filtered(stage, |security| security.seccomp = profile(ProfileType::RuntimeDefault, ""))
}

fn unconfined(stage: &Stage<'_>) -> Result<Seen, Fault> {
    filtered(stage, |security| security.seccomp = profile(ProfileType::Unconfined, ""))
}

fn unset(stage: &Stage<'_>) -> Result<Seen, Fault> {
    filtered(stage, |security| security.seccomp = None)
}

fn localhost(stage: &Stage<'_>) -> Result<Seen, Fault> {
    with_profile(stage, |security, file| {
        security.seccomp = profile(ProfileType::Localhost, file);
        security.capabilities = admin();
    })
}

fn localhost_alone(stage: &Stage<'_>) -> Result<Seen, Fault> {
    with_profile(stage, |security, file| security.seccomp = profile(ProfileType::Localhost, file))
}

fn with_profile(stage: &Stage<'_>, change: fn(&mut api::LinuxContainerSecurityContext, &str)) -> Result<Seen, Fault> {
    let folder = stage.folder()?;
    let file = folder.join("profile.json");
    fs::write(&file, PROFILE)?;
    let seen = filtered(stage, |security| change(security, &file.display().to_string()));
    fs::remove_dir_all(folder)?;
    seen
}

fn unconfined_admin(stage: &Stage<'_>) -> Result<Seen, Fault> {
    filtered(stage, |security| {
        security.seccomp = profile(ProfileType::Unconfined, "");
        security.capabilities = admin();
    })
}

fn privileged(stage: &Stage<'_>) -> Result<Seen, Fault> {
    stage.one_in(
        |config| pod_secured(config, |security| security.privileged = true),
        |config| {
            *config = cri::privileged(config.clone());
            secured(config, |security| security.seccomp = profile(ProfileType::RuntimeDefault, ""));
        },
        tried,
    )
}

fn admin() -> Option<api::Capability> {
    Some(api::Capability { add_capabilities: vec!["SYS_ADMIN".to_owned()], ..Default::default() })
}

fn profile(kind: ProfileType, file: &str) -> Option<api::SecurityProfile> {
    Some(api::SecurityProfile { profile_type: kind.into(), localhost_ref: file.to_owned() })
}

fn filtered(stage: &Stage<'_>, change: impl FnOnce(&mut api::LinuxContainerSecurityContext)) -> Result<Seen, Fault> {
    stage.one(|config| secured(config, change), tried)
}

fn tried(container: &Container<'_>, seen: &mut Seen) -> Result<(), Fault> {
    let fields = ["Seccomp", "NoNewPrivs", "Speculation_Store_Bypass"];
    look::status(&format!("/proc/{}", container.pid()?), &fields, seen)?;
    let executed = container.exec(&["/probe", "try", "keyctl", "personality", "io-uring", "mount-tmpfs", "ptrace"])?;
    for (name, outcome) in palisade_probe::Outcome::parse_lines(&executed.stdout)? {
        seen.note(name, format!("{:?}", outcome.result));
    }
    let executed = container.exec(&["hostname", "another"])?;
    let reason = executed.stderr.trim().rsplit(": ").next().unwrap_or_default().to_owned();
    seen.note("hostname", if executed.code == 0 { "done".to_owned() } else { reason });
    Ok(())
}

fn app_armor_unloaded(stage: &Stage<'_>) -> Result<Seen, Fault> {
    let pod = stage.pod(|_| ())?;
    let created = stage.created(&pod, |config| {
        secured(config, |security| security.apparmor = profile(ProfileType::Localhost, "no-such-profile"));
    });
    let mut seen = Seen::new();
    match created {
        Ok(container) => seen.answer("create", &stage.cri.begin(&container.id)),
        Err(Fault::Refused(failure)) => {
            seen.note("create", "refused");
            seen.note("words", failure);
        }
        Err(broken) => return Err(broken),
    }
    pod.remove()?;
    Ok(seen)
}

/// The kubelet asks for it only where there is AppArmor.
fn app_armor_default(stage: &Stage<'_>) -> Result<Seen, Fault> {
    let there = Path::new("/sys/kernel/security/apparmor").exists();
    match runs(stage, |security| security.apparmor = profile(ProfileType::RuntimeDefault, "")) {
        Ok(mut seen) => {
            seen.note("as the node allows", there);
            Ok(seen)
        }
        Err(Fault::Refused(failure)) => {
            let mut seen = Seen::new();
            let says = failure.to_string().contains("apparmor is not supported");
            seen.note("as the node allows", !there && says);
            seen.note("words", failure);
            Ok(seen)
        }
        Err(broken) => Err(broken),
    }
}

fn selinux(stage: &Stage<'_>) -> Result<Seen, Fault> {
    runs(stage, |security| {
        security.selinux_options = Some(api::SeLinuxOption { level: "s0:c1,c2".to_owned(), ..Default::default() });
    })
}

/// Whether it runs, and under which label of a security module.
fn runs(stage: &Stage<'_>, change: impl FnOnce(&mut api::LinuxContainerSecurityContext)) -> Result<Seen, Fault> {
    stage.one(
        |config| secured(config, change),
        |container, seen| {
            container.note(seen, "runs", "echo yes")?;
            let label = Path::new("/proc").join(container.pid()?.to_string()).join("attr/current");
            // No such file where there is no security module with labels.
            seen.note(
                "label",
                fs::read_to_string(label).unwrap_or_else(|error| error.kind().to_string()).trim_end_matches('\0'),
            );
            Ok(())
        },
    )
}
