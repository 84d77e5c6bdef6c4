//! The propagation of mounts, with runc as the measure.

use std::fs;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use serde_json::{Value, json};

use crate::support::{Container, Runtime};

const NONE: Option<&str> = None;

/// Does it in a mount namespace of its own, where a directory is mounted that propagates, as a node's `/` does.
fn with_shared_volume(work: impl FnOnce(&Path) + Send + 'static) {
    let work = || {
        unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS).unwrap();
        mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE).unwrap();
        let folder = PathBuf::from("/mnt");
        mount(Some("volume"), &folder, Some("tmpfs"), MsFlags::empty(), NONE).unwrap();
        mount(NONE, &folder, NONE, MsFlags::MS_SHARED, NONE).unwrap();
        let volume = folder.join("volume");
        fs::create_dir(&volume).unwrap();
        work(&volume);
    };
    std::thread::spawn(work).join().unwrap();
}

fn with_volume(spec: &mut Value, source: &Path, propagation: &str) {
    let volume = json!({ "destination": "/tmp", "type": "bind", "source": source, "options": ["rbind", propagation] });
    spec["mounts"].as_array_mut().unwrap().push(volume);
}

/// The optional fields of a mount, by kind. Source: proc_pid_mountinfo(5).
fn peers(pid: i32, at: &str) -> Vec<String> {
    let table = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
    let line = table.lines().find(|line| line.split(' ').nth(4) == Some(at)).unwrap();
    let fields = line.split(" - ").next().unwrap().split(' ').skip(6);
    fields.map(|field| field.split(':').next().unwrap().to_owned()).collect()
}

#[test]
fn a_volume_has_the_propagation_that_the_spec_asks_for() {
    let cases: [(&str, Option<&str>, &[&str]); 5] = [
        ("rprivate", None, &[]),
        ("rprivate", Some("rslave"), &[]),
        ("rslave", Some("rslave"), &["master"]),
        ("slave", Some("rprivate"), &[]),
        ("rshared", Some("rshared"), &["shared"]),
    ];
    for (propagation, rootfs, expected) in cases {
        with_shared_volume(move |volume| {
            for runtime in [Runtime::Runc, Runtime::Embedded] {
                let container = Container::new(runtime, "exec sleep 1000", |spec| {
                    with_volume(spec, volume, propagation);
                    spec["linux"]["rootfsPropagation"] = json!(rootfs);
                });
                container.run();
                let found = peers(container.pid(), "/tmp");
                assert_eq!(found, expected, "{propagation} below {rootfs:?} under {runtime:?}");
            }
        });
    }
}

#[test]
fn what_the_host_mounts_later_does_not_appear_in_a_private_volume() {
    with_shared_volume(|volume| {
        fs::create_dir(volume.join("later")).unwrap();
        for (propagation, appears) in [("rprivate", false), ("rslave", true)] {
            let container = Container::embedded("exec sleep 1000", |spec| {
                with_volume(spec, volume, propagation);
                spec["linux"]["rootfsPropagation"] = json!("rslave");
            });
            container.run();
            let later = volume.join("later");
            mount(Some("later"), &later, Some("tmpfs"), MsFlags::empty(), NONE).unwrap();
            fs::write(later.join("word"), "").unwrap();
            let seen = container.exec("ls /tmp/later").succeeds().stdout;
            nix::mount::umount(&later).unwrap();
            assert_eq!(seen.contains("word"), appears, "{propagation}: {seen}");
        }
    });
}

/// A mount that lies under a later one can't be reached by a path any more, and must not make the create fail.
#[test]
fn a_covered_mount_does_no_harm() {
    with_shared_volume(|volume| {
        fs::create_dir(volume.join("below")).unwrap();
        let below =
            json!({ "destination": "/tmp/below", "type": "bind", "source": volume, "options": ["rbind", "rprivate"] });
        let container = Container::embedded("exec sleep 1000", |spec| {
            spec["mounts"].as_array_mut().unwrap().push(below);
            with_volume(spec, volume, "rprivate");
        });
        container.run();
        assert_eq!(peers(container.pid(), "/tmp"), [] as [&str; 0]);
    });
}
