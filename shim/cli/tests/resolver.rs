//! The shim's question for a container's image, and programs that answer it in every wrong way. One test: it waits for all children of its
//! process, as the shim does.

#[cfg(test)]
mod resolver {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::os::unix::net::UnixListener;
    use std::path::{Path, PathBuf};
    use std::time::{Duration, Instant};

    use palisade::image::ImageQuestion;
    use palisade::task::Reaper;
    use palisade_policy::ImageAnswer;

    const PALISADE: &str = env!("CARGO_BIN_EXE_palisade");

    fn question(resolver: &Path, seconds: u64) -> ImageQuestion {
        ImageQuestion {
            namespace: "default".into(),
            id: "c1".into(),
            resolver: resolver.into(),
            deadline: Duration::from_secs(seconds),
        }
    }

    fn unknown(answer: ImageAnswer) -> String {
        match answer {
            ImageAnswer::Unknown(why) => why,
            other => panic!("{other:?}"),
        }
    }

    fn children() -> String {
        let tasks = fs::read_dir("/proc/self/task").unwrap();
        tasks.map(|task| fs::read_to_string(task.unwrap().path().join("children")).unwrap()).collect()
    }

    /// A copy of the program, as an admin would have it.
    fn copy(dir: &Path, name: &str, mode: u32) -> PathBuf {
        let path = dir.join(name);
        fs::copy(PALISADE, &path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    /// `for (;;) write(1, 0x400000, 120);`
    const ENDLESS: &[u8] = b"\xb8\x01\0\0\0\xbf\x01\0\0\0\xbe\0\0\x40\0\xba\x78\0\0\0\x0f\x05\xeb\xe8";
    /// `for (;;) pause();`
    const MUTE: &[u8] = b"\xb8\x22\0\0\0\x0f\x05\xeb\xf7";

    /// A program of these instructions of x86-64, which no arguments keep from what it does: one segment at 0x400000, the headers before it.
    /// Source: elf(5).
    fn program(dir: &Path, name: &str, code: &[u8]) -> PathBuf {
        const HEADERS: u64 = 64 + 56;
        let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
        let put =
            |elf: &mut Vec<u8>, numbers: &[u64]| numbers.iter().for_each(|number| elf.extend(number.to_le_bytes()));
        put(&mut elf, &[0x0040_0000 + HEADERS, 64, 0]);
        elf.extend(b"\0\0\0\0\x40\0\x38\0\x01\0\0\0\0\0\0\0\x01\0\0\0\x05\0\0\0");
        let size = HEADERS + code.len() as u64;
        put(&mut elf, &[0, 0x0040_0000, 0x0040_0000, size, size, 0x1000]);
        elf.extend(code);
        let path = dir.join(name);
        fs::write(&path, elf).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn whatever_is_wrong_with_the_resolver_the_image_is_unknown_and_nothing_is_left() {
        let dir = std::env::temp_dir().join(format!("palisade-resolver-{}", std::process::id()));
        fs::create_dir_all(dir.join("open")).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
        let palisade = copy(&dir, "palisade", 0o755);
        let writable = copy(&dir, "writable", 0o777);
        let exchangeable = copy(&dir.join("open"), "palisade", 0o755);
        fs::set_permissions(dir.join("open"), fs::Permissions::from_mode(0o777)).unwrap();
        let plain = copy(&dir, "plain", 0o644);
        let link = dir.join("link");
        symlink(&palisade, &link).unwrap();
        let endless = program(&dir, "endless", ENDLESS);
        let mute = program(&dir, "mute", MUTE);
        // It takes connections and says nothing.
        let silent = dir.join("silent.sock");
        let listener = UnixListener::bind(&silent).unwrap();
        let silent = silent.to_str().unwrap();
        let nobody = dir.join("nobody.sock");
        let nobody = nobody.to_str().unwrap();

        let executor = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let reaper = Reaper::default();
        executor.spawn(reaper.clone().run({
            let _entered = executor.enter();
            Reaper::listen().unwrap()
        }));
        let ask = |resolver: &Path, seconds: u64, address: &str| {
            let why = unknown(executor.block_on(question(resolver, seconds).ask(address, &reaper)));
            assert_eq!(children(), "", "{why}");
            why
        };
        for (resolver, address, told) in [
            (dir.join("missing").as_path(), nobody, "open the resolver: "),
            (&writable, nobody, "not writable by group or others"),
            (&exchangeable, nobody, "not writable by group or others"),
            (&link, nobody, "not writable by group or others"),
            (Path::new("/dev/null"), nobody, "must be a regular file"),
            (&dir, nobody, "must be a regular file"),
            (&plain, nobody, "start the resolver"),
            (&palisade, "", "has not said where it is reached"),
            (&palisade, "run/containerd.sock", "can be no id or name"),
            (&palisade, nobody, "connect to containerd at"),
            // Of the programs that every machine has: one that prints no JSON, two that say nothing.
            (Path::new("/usr/bin/echo"), nobody, "is not understood"),
            (Path::new("/usr/bin/true"), nobody, "no answer (exit status 0)"),
            (Path::new("/usr/bin/false"), nobody, "no answer (exit status 1)"),
            (&endless, nobody, "more than 1048576 bytes"),
        ] {
            let why = ask(resolver, 20, address);
            assert!(why.contains(told), "{resolver:?}: {why}");
        }
        assert!(ask(&mute, 1, nobody).contains("no answer within 1 s"));
        let begun = Instant::now();
        assert!(
            ask(&palisade, 1, silent).contains("no answer within 1 s ([images] deadline)"),
            "it has 2 s by its policy"
        );
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        assert!(ask(&palisade, 20, silent).contains("containerd has not answered within 2 s"));
        drop(listener);
        fs::remove_dir_all(dir).unwrap();
    }
}
