//! Fixture directories for parsing and writing, and real cgroups (these need root) for what only the kernel can answer.

mod apply;
mod counters;
mod kernel;
mod removed;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::directory::Directory;
use super::{Cgroup, Hierarchy, Version};

static SERIAL: AtomicU32 = AtomicU32::new(0);

/// A name that no other test and no other run uses.
fn unique(what: &str) -> String {
    format!("palisade-test-{what}-{}-{}", std::process::id(), SERIAL.fetch_add(1, Ordering::Relaxed))
}

/// A directory of plain files that stands for a cgroup.
struct Fixture {
    path: PathBuf,
}

impl Fixture {
    fn new(files: &[(&str, &str)]) -> Self {
        let path = std::env::temp_dir().join(unique("fixture"));
        fs::create_dir(&path).unwrap();
        let fixture = Self { path };
        fixture.write("cgroup.procs", "");
        for (name, text) in files {
            fixture.write(name, text);
        }
        fixture
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path.join(name)).unwrap()
    }

    fn cgroup(&self, version: Version) -> Cgroup {
        let controllers = match version {
            Version::V1 => "cpu,cpuacct,cpuset,memory,pids,blkio,hugetlb,rdma,freezer",
            Version::V2 => "",
        };
        opened(version, controllers, &self.path)
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.path).unwrap();
    }
}

fn opened(version: Version, controllers: &str, path: &Path) -> Cgroup {
    let directory = Directory::open(path.to_path_buf()).unwrap();
    let hierarchy = Hierarchy { controllers: controllers.to_owned(), directory };
    Cgroup::new(version, vec![hierarchy], || "fixture".to_owned()).unwrap()
}
