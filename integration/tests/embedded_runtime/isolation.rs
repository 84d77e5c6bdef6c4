//! What of the host a container gets to see or to touch through the runtime.

use std::fs;
use std::os::fd::AsRawFd as _;
use std::process::{Command, Stdio};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use serde_json::json;

use crate::support::{Container, Runtime, field, shim};

#[test]
fn no_descriptor_and_no_variable_of_the_host_goes_in() {
    let container = Container::embedded(
        "ls -l /proc/self/fd; env; grep SigIgn /proc/self/status; echo end; exec sleep 1000",
        |_| {},
    );
    let secret = fs::File::open("/etc/hostname").unwrap();
    // Without the flag it would go to every child.
    fcntl(&secret, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    assert!(secret.as_raw_fd() > 2);
    let leak = |command: &mut Command| {
        command.env("LISTEN_FDS", "5").env("SECRET", "of the host");
    };
    container.create_with(leak).succeeds();
    container.call(["start"]).succeeds();
    let init = container.output_with("end");
    let mut command = container.command();
    leak(&mut command);
    // The shell ignores SIGQUIT on its own here, so it is left out of the question.
    command.args(["exec", &container.id, "sh", "-c", "ls -l /proc/self/fd; env"]);
    let mut exec = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let ignored =
        container.command().args(["exec", &container.id, "grep", "SigIgn", "/proc/self/status"]).output().unwrap();
    exec.push_str(&String::from_utf8(ignored.stdout).unwrap());
    for (text, who) in [(init, "init"), (exec, "exec")] {
        let fds =
            text.lines().filter(|line| line.contains("r-x") || line.contains("-wx") || line.contains("rwx")).count();
        // 0, 1, 2 and the directory that ls itself reads.
        assert_eq!(fds, 4, "{who}: {text}");
        assert!(!text.contains("hostname") && !text.contains("SECRET") && !text.contains("LISTEN"), "{who}: {text}");
        assert!(text.contains("A=1\n") && text.contains("PATH=/bin\n") && text.contains("HOME=/\n"), "{who}: {text}");
        let ignored = u64::from_str_radix(&field(&text, "SigIgn"), 16).unwrap();
        // 32 and 33 are the C library's own; the posix_spawn of this test's leaves them ignored.
        assert_eq!(ignored & !(0b11 << 31), 0, "{who}");
    }
}

/// An image whose program is `/proc/self/exe` makes a runtime run itself inside the container (CVE-2019-5736).
#[test]
fn the_binary_can_not_be_written_from_inside() {
    let all = json!(["CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_SYS_ADMIN", "CAP_SYS_PTRACE"]);
    let container = Container::embedded("exec sleep 1000", |spec| {
        spec["process"]["capabilities"] = json!({ "bounding": all, "effective": all, "permitted": all });
    });
    std::os::unix::fs::symlink("/proc/self/exe", container.rootfs().join("bin/itself")).unwrap();
    let before = fs::read(shim()).unwrap();
    container.run();
    container.exec("mkfifo /fifo").succeeds();
    // It blocks in opening its log until somebody reads the FIFO, and is this binary all the while.
    let mut itself = container.command();
    itself.args(["exec", &container.id, "/bin/itself", "runtime", "--log", "/fifo", "state", "none"]);
    let mut itself = itself.spawn().unwrap();
    let attack = "sleep 0.5; for p in /proc/[0-9]*; do case $(readlink $p/exe) in *busybox*) ;; *) \
                  exec 9<$p/exe; (echo X >$p/exe); echo tried; cat /fifo >/dev/null; sleep 0.3; (echo X >/proc/self/fd/9);; esac; done";
    let answer = container.exec(attack);
    itself.wait().unwrap();
    let said = answer.stdout + &answer.stderr;
    assert!(said.contains("tried"), "{said}");
    assert_eq!(said.matches("Read-only file system").count(), 2, "{said}");
    assert!(before == fs::read(shim()).unwrap(), "the binary was changed");
    // The control: a program of the image is no secret to its own root, it is only busy.
    let answer = container.exec("(echo X >/proc/1/exe)");
    assert!(answer.stderr.contains("Text file busy"), "{answer:?}");
}

/// The host's node would let a container's root change its mode and owner for the whole host.
#[test]
fn a_stream_to_nowhere_is_the_containers_own_device() {
    // busybox puts its own stdout aside for stat, so the shell's is looked at by another number.
    let look = "exec 3>&1; stat -L -c 'at %d:%i' /dev/null /proc/$$/fd/0 /proc/$$/fd/3 >&2; echo said || echo mute >&2; echo end >&2";
    let container = Container::embedded(&format!("{look}; exec sleep 1000"), |_| {});
    let nowhere = |command: &mut Command| {
        command.stdout(Stdio::null());
    };
    container.create_with(nowhere).succeeds();
    container.call(["start"]).succeeds();
    let init = container.output_with("end");
    let mut command = container.command();
    command.args(["exec", &container.id, "/bin/sh", "-c", look]).stdout(Stdio::null());
    let exec = String::from_utf8(command.output().unwrap().stderr).unwrap();
    for (said, who) in [(init, "init"), (exec, "exec")] {
        let nodes: Vec<&str> = said.lines().filter(|line| line.starts_with("at ")).collect();
        assert_eq!(nodes, [nodes[0]; 3], "{who}: {said}");
        assert!(!said.contains("mute"), "{who}: {said}");
    }
}

#[test]
fn devices_outside_the_list_can_be_made_and_not_opened() {
    let tries = "mknod /tmp/loop b 7 0; dd if=/tmp/loop of=/dev/null count=1; mknod /tmp/tun c 10 200; head -c 1 /tmp/tun; \
                 mknod /tmp/fuse c 10 229; head -c 1 /tmp/fuse; mknod /tmp/null c 1 3; echo x >/tmp/null && echo null is fine; echo end; exec sleep 1000";
    let capabilities = json!(["CAP_MKNOD"]);
    let edit = |rules: serde_json::Value| {
        let capabilities = capabilities.clone();
        move |spec: &mut serde_json::Value| {
            spec["process"]["capabilities"] =
                json!({ "bounding": capabilities, "effective": capabilities, "permitted": capabilities });
            spec["linux"]["resources"]["devices"] = rules;
        }
    };
    // With the rules that containerd writes, and with none at all.
    for rules in [json!([{ "allow": false, "access": "rwm" }]), json!([])] {
        let container = Container::embedded(tries, edit(rules));
        container.run();
        let text = container.output_with("end");
        assert_eq!(text.matches("Operation not permitted").count(), 3, "{text}");
        assert!(text.contains("null is fine"), "{text}");
    }
    // The control: what a rule allows can be opened (or is not there, which is another error).
    let container = Container::embedded(tries, edit(json!([{ "allow": true, "access": "rwm" }])));
    container.run();
    let text = container.output_with("end");
    assert_eq!(text.matches("Operation not permitted").count(), 0, "{text}");
}

#[test]
fn masked_and_read_only_paths_are_in_force() {
    for runtime in [Runtime::Embedded, Runtime::Runc] {
        let container = Container::new(
            runtime,
            "wc -c </proc/keys; echo 1 >/proc/sys/kernel/domainname; echo end; exec sleep 1000",
            |_| {},
        );
        container.run();
        let text = container.output_with("end");
        assert!(text.contains("0\n") && text.contains("Read-only file system"), "{runtime:?} {text}");
    }
}

/// libcontainer mounts v1 hierarchies writable whatever the spec says: root of a container could lift its own limits.
#[test]
fn a_read_only_cgroup_mount_can_not_be_written() {
    let mounted = |options: &'static [&'static str]| {
        Container::embedded("exec sleep 1000", move |spec| {
            let mount =
                json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": options});
            let mounts = spec["mounts"].as_array_mut().unwrap();
            if mounts.iter().all(|mount| mount["destination"] != "/sys") {
                mounts.push(json!({"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]}));
            }
            mounts.retain(|mount| mount["destination"] != "/sys/fs/cgroup");
            mounts.push(mount);
        })
    };
    let attack = "cd /sys/fs/cgroup; [ -d pids ] && cd pids; mkdir escape && echo made";
    let read_only = mounted(&["nosuid", "noexec", "nodev", "relatime", "ro"]);
    read_only.run();
    let answer = read_only.exec(attack);
    assert!((answer.stdout.clone() + &answer.stderr).contains("Read-only file system"), "{answer:?}");
    // The control: the same under a spec that does not ask for it.
    let writable = mounted(&["nosuid", "noexec", "nodev", "relatime"]);
    writable.run();
    let answer = writable.exec(attack);
    assert!(answer.stdout.contains("made"), "{answer:?}");
    writable.exec("cd /sys/fs/cgroup; [ -d pids ] && cd pids; rmdir escape");
}

/// CRI writes the recursive words, which libcontainer does not know.
#[test]
fn every_word_of_the_roots_propagation_is_understood() {
    for word in ["private", "rprivate", "slave", "rslave", "unbindable", "runbindable"] {
        let container = Container::embedded("cat /proc/self/mountinfo; echo end; exec sleep 1000", |spec| {
            spec["linux"]["rootfsPropagation"] = json!(word);
        });
        container.create().succeeds();
        container.call(["start"]).succeeds();
        let table = container.output_with("end");
        let root = table.lines().find(|line| line.split(' ').nth(4) == Some("/")).unwrap();
        assert!(!root.contains("shared:"), "{word}: {root}");
        assert_eq!(root.contains("unbindable"), word.contains("unbindable"), "{word}: {root}");
    }
}

/// Whoever stays outside in a hierarchy without a controller, such as systemd's, sees all of it and belongs to the shim's service.
#[test]
fn a_container_is_in_a_cgroup_of_its_own_in_every_hierarchy() {
    let cgroups = |runtime| {
        let container = Container::new(runtime, "exec sleep 1000", |_| {});
        container.run();
        let text = fs::read_to_string(format!("/proc/{}/cgroup", container.pid())).unwrap();
        text.replace(&container.id, "ID")
    };
    let embedded = cgroups(Runtime::Embedded);
    assert!(embedded.contains(":/ID\n"), "{embedded}");
    assert_eq!(embedded, cgroups(Runtime::Runc));
}

/// A directory that everybody may write to would let any user put another node in the place of one.
#[test]
fn directories_of_device_nodes_belong_to_root() {
    let nodes = |spec: &mut serde_json::Value| {
        let node =
            |path| json!({ "path": path, "type": "c", "major": 1, "minor": 3, "fileMode": 438, "uid": 0, "gid": 0 });
        spec["linux"]["devices"] = json!([node("/dev/net/tun"), node("/dev/a/b/c"), node("/dev/single")]);
    };
    for runtime in [Runtime::Runc, Runtime::Embedded] {
        let container = Container::new(runtime, "exec sleep 1000", nodes);
        container.run();
        let modes = container.exec("stat -c '%a %n' /dev/net /dev/a /dev/a/b /dev/net/tun").succeeds().stdout;
        assert_eq!(modes, "755 /dev/net\n755 /dev/a\n755 /dev/a/b\n666 /dev/net/tun\n", "{runtime:?}");
    }
}
