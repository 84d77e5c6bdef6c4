//! Real mounts, each test in a mount namespace of its own thread. They need root.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown, symlink};
use std::sync::atomic::{AtomicU32, Ordering};

use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::open;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;
use nix::sys::statvfs::{FsFlags, fstatvfs};

use super::target::PLAIN_DIRECTORY;
use super::unmount::mount_points;
use super::{MountError, RootfsMount, mount_rootfs, unmount};

static SERIAL: AtomicU32 = AtomicU32::new(0);

/// Runs `test` in a thread with a mount namespace of its own and a tmpfs to play in, then checks that the process's
/// own mount table is as it was.
fn isolated(test: impl FnOnce(&Path) + Send) {
    assert!(nix::unistd::geteuid().is_root(), "this test mounts filesystems and needs root");
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let place = std::env::temp_dir().join(format!("palisade-test-mount-{}-{serial}", std::process::id()));
    fs::create_dir(&place).unwrap();
    let outcome = std::thread::scope(|scope| {
        scope
            .spawn(|| {
                unshare(CloneFlags::CLONE_NEWNS).unwrap();
                let private = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
                mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
                mount(Some("tmpfs"), &place, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
                fs::create_dir(place.join("rootfs")).unwrap();
                test(&place);
            })
            .join()
    });
    let outside = fs::read_to_string("/proc/self/mountinfo").unwrap();
    fs::remove_dir(&place).unwrap();
    assert!(!outside.contains(place.to_str().unwrap()), "a mount got out");
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

fn request(kind: &str, source: &Path, target: &str, options: &[&str]) -> RootfsMount {
    RootfsMount {
        kind: kind.to_owned(),
        source: source.to_str().unwrap().to_owned(),
        target: target.to_owned(),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
    }
}

fn mounted_on(path: &Path) -> usize {
    let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    mount_points(&table).filter(|point| point.starts_with(path)).count()
}

/// Makes `count` layers with a file each and gives back their names in overlay's order.
fn layers(place: &Path, count: usize, padding: usize) -> String {
    let parent = place.join("p".repeat(padding));
    let names: Vec<_> = (0..count)
        .map(|layer| {
            let path = parent.join(layer.to_string()).join("fs");
            fs::create_dir_all(&path).unwrap();
            fs::write(path.join(format!("of-{layer}")), layer.to_string()).unwrap();
            path.to_str().unwrap().to_owned()
        })
        .collect();
    format!("lowerdir={}", names.join(":"))
}

#[test]
fn an_overlay_is_mounted_written_to_and_unmounted() {
    isolated(|place| {
        let lower = layers(place, 3, 1);
        let (upper, work) = (place.join("upper"), place.join("work"));
        fs::create_dir(&upper).unwrap();
        fs::create_dir(&work).unwrap();
        let dirs = [format!("upperdir={}", upper.display()), format!("workdir={}", work.display())];
        let overlay = request("overlay", Path::new("overlay"), "", &[&dirs[0], &dirs[1], &lower, "nosuid"]);
        let rootfs = place.join("rootfs");
        mount_rootfs(&rootfs, &[overlay]).unwrap().keep();
        assert_eq!(fs::read_to_string(rootfs.join("of-2")).unwrap(), "2");
        fs::write(rootfs.join("new"), "n").unwrap();
        assert_eq!(fs::read_to_string(upper.join("new")).unwrap(), "n");
        let fd = open(&rootfs, PLAIN_DIRECTORY, Mode::empty()).unwrap();
        assert!(fstatvfs(&fd).unwrap().flags().contains(FsFlags::ST_NOSUID));
        drop(fd);
        unmount(&rootfs).unwrap();
        assert_eq!(mounted_on(&rootfs), 0);
        unmount(&rootfs).unwrap();
        unmount(&place.join("absent")).unwrap();
    });
}

#[test]
fn more_layers_than_a_page_names_are_mounted_without_moving_the_process() {
    isolated(|place| {
        let lower = layers(place, 127, 100);
        assert!(lower.len() > 2 * 4096, "control: it is too long");
        let before = std::env::current_dir().unwrap();
        let rootfs = place.join("rootfs");
        let mounted = mount_rootfs(&rootfs, &[request("overlay", Path::new("overlay"), "", &[&lower])]).unwrap();
        assert_eq!(fs::read_to_string(rootfs.join("of-0")).unwrap(), "0");
        assert_eq!(fs::read_to_string(rootfs.join("of-126")).unwrap(), "126");
        assert_eq!(std::env::current_dir().unwrap(), before);
        mounted.unmount().unwrap();
        assert_eq!(mounted_on(&rootfs), 0);
    });
}

#[test]
fn what_cannot_be_shortened_enough_is_an_error() {
    isolated(|place| {
        let names: Vec<_> = (0..20).map(|layer| format!("/{layer}{}", "x".repeat(250))).collect();
        let lower = format!("lowerdir={}", names.join(":"));
        let outcome = mount_rootfs(&place.join("rootfs"), &[request("overlay", place, "", &[&lower])]);
        assert!(matches!(outcome, Err(MountError::OptionsTooLong { bytes }) if bytes > 4096), "{outcome:?}");
    });
}

/// The users of a pod's namespace.
const MAPPED: [&str; 2] = ["uidmap=0:100000:65536", "gidmap=0:200000:65536"];

/// The owner of a file.
fn owner(path: &Path) -> (u32, u32) {
    let seen = fs::symlink_metadata(path).unwrap();
    (seen.uid(), seen.gid())
}

#[test]
fn an_overlay_shows_its_layers_as_the_pods_and_leaves_them_as_they_are() {
    isolated(|place| {
        let lower = layers(place, 3, 1);
        let (upper, work) = (place.join("upper"), place.join("work"));
        fs::create_dir(&upper).unwrap();
        fs::create_dir(&work).unwrap();
        // As the snapshotter does it.
        chown(&upper, Some(100_000), Some(200_000)).unwrap();
        let (upperdir, workdir) = (format!("upperdir={}", upper.display()), format!("workdir={}", work.display()));
        chown(place.join("p/1/fs/of-1"), Some(7), Some(70_000)).unwrap();
        let options = [MAPPED[0], MAPPED[1], "index=off", lower.as_str(), &upperdir, &workdir];
        let mounted = mount_rootfs(&place.join("rootfs"), &[request("overlay", place, "", &options)]).unwrap();
        let root = place.join("rootfs");
        assert_eq!(owner(&root), (100_000, 200_000));
        assert_eq!(owner(&root.join("of-0")), (100_000, 200_000));
        assert_eq!(owner(&root.join("of-1")), (100_007, 65_534), "whom nobody is mapped to is nobody");
        assert_eq!(owner(&place.join("p/1/fs/of-1")), (7, 70_000));
        fs::write(root.join("new"), "").unwrap();
        assert_eq!(fs::read_to_string(root.join("of-2")).unwrap(), "2");
        // One mount, and the layers' are nowhere to be seen.
        assert_eq!(mounted_on(place), 2);
        mounted.unmount().unwrap();
        assert_eq!(mounted_on(place), 1);
    });
}

#[test]
fn more_layers_than_a_page_names_are_shown_as_the_pods() {
    isolated(|place| {
        let lower = layers(place, 60, 100);
        let options = [MAPPED[0], MAPPED[1], lower.as_str()];
        let mounted = mount_rootfs(&place.join("rootfs"), &[request("overlay", place, "", &options)]).unwrap();
        assert_eq!(owner(&place.join("rootfs/of-59")), (100_000, 200_000));
        mounted.unmount().unwrap();
    });
}

#[test]
fn a_bind_shows_its_source_as_the_pods() {
    isolated(|place| {
        let source = place.join("source");
        fs::create_dir(&source).unwrap();
        let options = ["rbind", "ro", MAPPED[0], MAPPED[1]];
        let mounted = mount_rootfs(&place.join("rootfs"), &[request("bind", &source, "", &options)]).unwrap();
        assert_eq!(owner(&place.join("rootfs")), (100_000, 200_000));
        assert_eq!(fs::write(place.join("rootfs/x"), "").unwrap_err().raw_os_error(), Some(libc::EROFS));
        assert_eq!(owner(&source), (0, 0));
        mounted.unmount().unwrap();
    });
}

/// An overlay, and what is below `/proc`, can't be idmapped, nor a mount a second time.
#[test]
fn what_cannot_be_shown_as_the_pods_is_refused_and_nothing_stays() {
    isolated(|place| {
        let lower = layers(place, 2, 1);
        let (source, overlay) = (place.join("source"), place.join("overlay"));
        fs::create_dir(&source).unwrap();
        fs::create_dir(&overlay).unwrap();
        mount(Some("x"), &overlay, Some("overlay"), MsFlags::empty(), Some(lower.as_str())).unwrap();
        let (rootfs, before) = (place.join("rootfs"), mounted_on(place));
        let of_overlay = format!("lowerdir={}:{}", source.display(), overlay.display());
        for request in [
            request("bind", Path::new("/proc"), "", &["rbind", MAPPED[0], MAPPED[1]]),
            request("bind", &overlay, "", &["bind", MAPPED[0], MAPPED[1]]),
            request("overlay", place, "", &[&of_overlay, MAPPED[0], MAPPED[1]]),
        ] {
            match mount_rootfs(&rootfs, std::slice::from_ref(&request)) {
                Err(error @ MountError::Idmap { .. }) => assert!(error.to_string().contains("idmapped"), "{error}"),
                other => panic!("{request:?}: {other:?}"),
            }
            assert_eq!(mounted_on(place), before);
        }
        let mapped = request("bind", &source, "", &["bind", MAPPED[0], MAPPED[1]]);
        let once = mount_rootfs(&source, &[mapped]).unwrap();
        let twice = mount_rootfs(&rootfs, &[request("bind", &source, "", &["bind", MAPPED[0], MAPPED[1]])]);
        assert!(matches!(twice, Err(MountError::Idmap { .. })), "{twice:?}");
        once.unmount().unwrap();
    });
}

#[test]
fn a_read_only_bind_is_read_only_and_keeps_its_sources_flags() {
    isolated(|place| {
        let source = place.join("source");
        fs::create_dir(&source).unwrap();
        let strict = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
        mount(Some("tmpfs"), &source, Some("tmpfs"), strict, None::<&str>).unwrap();
        fs::write(source.join("file"), "f").unwrap();
        let rootfs = place.join("rootfs");
        let mounted = mount_rootfs(&rootfs, &[request("bind", &source, "", &["rbind", "ro"])]).unwrap();
        assert_eq!(fs::read_to_string(rootfs.join("file")).unwrap(), "f");
        let written = fs::write(rootfs.join("file"), "g").unwrap_err();
        assert_eq!(written.raw_os_error(), Some(Errno::EROFS as i32));
        let fd = open(&rootfs, PLAIN_DIRECTORY, Mode::empty()).unwrap();
        let flags = fstatvfs(&fd).unwrap().flags();
        assert!(flags.contains(FsFlags::ST_NOSUID | FsFlags::ST_NOEXEC | FsFlags::ST_RDONLY), "{flags:?}");
        drop((fd, mounted));
        assert_eq!(mounted_on(&rootfs), 0);
        mount_rootfs(&rootfs, &[request("bind", &source, "", &["rbind", "rw"])]).unwrap().keep();
        fs::write(rootfs.join("file"), "control: rw is writable").unwrap();
    });
}

#[test]
fn targets_below_the_root_filesystem_see_the_mount_before() {
    isolated(|place| {
        let (first, second) = (place.join("first"), place.join("second"));
        fs::create_dir_all(first.join("data/deep")).unwrap();
        fs::create_dir(&second).unwrap();
        fs::write(second.join("file"), "f").unwrap();
        let rootfs = place.join("rootfs");
        let mounts = [request("bind", &first, "", &["bind"]), request("bind", &second, "/data/deep", &["bind", "ro"])];
        mount_rootfs(&rootfs, &mounts).unwrap().keep();
        assert_eq!(fs::read_to_string(rootfs.join("data/deep/file")).unwrap(), "f");
        assert_eq!(mounted_on(&rootfs), 2);
        unmount(&rootfs).unwrap();
        assert_eq!(mounted_on(&rootfs), 0);
    });
}

#[test]
fn a_link_is_never_mounted_on() {
    isolated(|place| {
        let (source, elsewhere) = (place.join("source"), place.join("elsewhere"));
        fs::create_dir(&source).unwrap();
        fs::create_dir(&elsewhere).unwrap();
        let link = place.join("link");
        symlink(&elsewhere, &link).unwrap();
        symlink(&elsewhere, source.join("inner")).unwrap();
        let bind = |target: &str| request("bind", &source, target, &["bind"]);
        let outcome = mount_rootfs(&link, &[bind("")]);
        assert!(matches!(outcome, Err(MountError::Target { .. })), "{outcome:?}");
        let rootfs = place.join("rootfs");
        for target in ["inner", "../elsewhere", "absent"] {
            let outcome = mount_rootfs(&rootfs, &[bind(""), bind(target)]);
            assert!(matches!(outcome, Err(MountError::Target { .. })), "{target}: {outcome:?}");
            assert_eq!(mounted_on(&rootfs), 0, "the first mount is taken back");
        }
        assert_eq!(mounted_on(&elsewhere), 0);
        mount(Some(&source), &elsewhere, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        unmount(&link).unwrap();
        assert_eq!(mounted_on(&elsewhere), 1, "nor unmounted through");
        mount_rootfs(&rootfs, &[bind("")]).unwrap().keep();
    });
}

#[test]
fn types_that_no_root_filesystem_has_are_refused() {
    isolated(|place| {
        let rootfs = place.join("rootfs");
        for kind in ["proc", "sysfs", "fuse.nydus-overlayfs", "cgroup2", "tmpfs", ""] {
            let outcome = mount_rootfs(&rootfs, &[request(kind, Path::new("none"), "", &[])]);
            assert!(matches!(outcome, Err(MountError::Kind { .. })), "{kind}: {outcome:?}");
        }
        for kind in ["overlay", "ext4", "none"] {
            let outcome = mount_rootfs(&rootfs, &[request(kind, place, "", &["rbind"])]);
            assert!(matches!(outcome, Err(MountError::Option { .. })), "{kind}: {outcome:?}");
        }
        let lower = layers(place, 127, 100);
        let outcome = mount_rootfs(&rootfs, &[request("ext4", place, "", &[&lower])]);
        assert!(matches!(outcome, Err(MountError::OptionsTooLong { .. })), "{outcome:?}");
        let failing = [request("bind", place, "", &["bind"]), request("ext4", Path::new("/dev/absent"), "", &[])];
        let outcome = mount_rootfs(&rootfs, &failing);
        assert!(matches!(outcome, Err(MountError::Io { action: "mount", .. })), "{outcome:?}");
        assert_eq!(mounted_on(&rootfs), 0);
        mount_rootfs(&rootfs, &[]).unwrap().keep();
    });
}

#[test]
fn propagation_is_set_as_asked() {
    isolated(|place| {
        let rootfs = place.join("rootfs");
        for (option, tag) in [("private", None), ("shared", Some("shared:"))] {
            let mounted = mount_rootfs(&rootfs, &[request("bind", place, "", &["bind", option])]).unwrap();
            let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
            let line = table.lines().find(|line| line.contains(rootfs.to_str().unwrap())).unwrap();
            assert_eq!(line.contains("shared:"), tag.is_some(), "{option}: {line}");
            mounted.unmount().unwrap();
        }
    });
}
