//! The policy: a file, its drop-ins, system call profiles and mitigations. All of it is the admin's, so root's and nobody else's to write.

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use palisade_policy::{Policy, PolicyError, RuntimeChoice};
use palisade_seccomp::{KernelVersion, Library, ProfileError};
use rustix::fs::FileType;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::admin_file::{
    FileIdentity, MAX_DROP_INS, OpenFile, ReadFile, files_of, is_roots_alone, open_file, read_file,
};

/// Where the policy is, unless containerd's environment names another file.
const DEFAULT_PATH: &str = "/etc/palisade/policy.toml";
/// Directory beside the policy file with the admin's own system call profiles.
const PROFILES: &str = "seccomp.d";
/// Directory beside the policy file with the admin's own mitigations.
const MITIGATIONS: &str = "mitigations.d";
/// Variable of containerd's environment, which only the node's admin can set.
pub const CONFIG_VARIABLE: &str = "PALISADE_CONFIG";

/// Why there is no policy, and so no container.
#[derive(Debug, Error)]
pub enum PolicyFileError {
    /// It can't be read.
    #[error("palisade: policy file {path:?} can't be read, so nothing is created")]
    Read {
        /// The file.
        path: PathBuf,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// It is not a regular file of root's that only root can write.
    #[error(
        "palisade: {path:?} must be a regular file or directory of root, not writable by group or others; mend: chown root:root and chmod go-w {path:?}"
    )]
    NotTheAdmins {
        /// The file, or a directory above it.
        path: PathBuf,
    },
    /// It is larger than any policy.
    #[error("palisade: {path:?} has more than {most} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The bound.
        most: u64,
    },
    /// It is not a policy.
    #[error("palisade: policy file {path:?} is wrong, so nothing is created")]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Line and mend.
        #[source]
        source: PolicyError,
    },
    /// One of the system call profiles or mitigations in a directory is wrong.
    #[error("palisade: a file in {dir:?} is wrong, so nothing is created")]
    Seccomp {
        /// The directory.
        dir: PathBuf,
        /// Which one, and why.
        #[source]
        source: ProfileError,
    },
    /// There are more drop-ins than any admin keeps.
    #[error("palisade: {path:?} holds more than {MAX_DROP_INS} files")]
    TooMany {
        /// The directory.
        path: PathBuf,
    },
    /// It is not UTF-8.
    #[error("palisade: policy file {path:?} is not UTF-8")]
    NotUtf8 {
        /// The file.
        path: PathBuf,
    },
}

/// A policy, and the digest of the file that it came from.
#[derive(Debug, Clone)]
pub struct LoadedPolicy {
    policy: Arc<Policy>,
    sha256: Arc<str>,
}

impl LoadedPolicy {
    /// The policy.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// SHA-256 in hex: of the file where there is one, else of one line `<sha256>  <name>` for each of the
    /// files, those of system call profiles and mitigations included, as sha256sum(1) prints it. `builtin` where there is no file.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }
}

/// Reads the policy, anew only when the file has changed.
#[derive(Debug)]
pub struct PolicySource {
    path: PathBuf,
    /// Whether the admin named the file, so that it must be there.
    named: bool,
    cached: Mutex<Option<(Vec<FileIdentity>, LoadedPolicy)>>,
}

impl PolicySource {
    /// The file that `PALISADE_CONFIG` names, else `/etc/palisade/policy.toml`.
    #[must_use]
    pub fn from_env() -> Self {
        match env::var_os(CONFIG_VARIABLE) {
            Some(path) => Self::new(path.into(), true),
            None => Self::new(DEFAULT_PATH.into(), false),
        }
    }

    /// The file at `path` with its drop-ins; it must be there.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self::new(path, true)
    }

    fn new(path: PathBuf, named: bool) -> Self {
        Self { path, named, cached: Mutex::new(None) }
    }

    /// The file's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory of the drop-ins: beside the file, named as it with `.d`.
    fn drop_in_dir(&self) -> PathBuf {
        self.path.with_extension("d")
    }

    /// The directory of the admin's own system call profiles.
    fn profile_dir(&self) -> PathBuf {
        self.path.with_file_name(PROFILES)
    }

    /// The directory of the admin's own mitigations.
    fn mitigation_dir(&self) -> PathBuf {
        self.path.with_file_name(MITIGATIONS)
    }

    /// The policy as the file and its drop-ins are now, with the system call profiles and mitigations beside them. The default file
    /// may be absent: then the built-in one is in force, with the drop-ins if there are any.
    ///
    /// # Errors
    ///
    /// [`PolicyFileError`]; there is no fallback for a file that is wrong.
    pub fn load(&self) -> Result<LoadedPolicy, PolicyFileError> {
        let all_of = |dir: &Path, extension| {
            let paths = files_of(dir, extension)?;
            let open = paths.iter().map(|path| open_file(path, true)).collect::<Result<Vec<_>, _>>()?;
            Ok::<_, PolicyFileError>(open.into_iter().flatten())
        };
        let mut policy: Vec<OpenFile> = open_file(&self.path, self.named)?.into_iter().collect();
        policy.extend(all_of(&self.drop_in_dir(), "toml")?);
        let profiles: Vec<OpenFile> = all_of(&self.profile_dir(), "json")?.collect();
        let mitigations: Vec<OpenFile> = all_of(&self.mitigation_dir(), "json")?.collect();
        let all = policy.iter().chain(&profiles).chain(&mitigations);
        let identity: Vec<FileIdentity> = all.map(|file| file.identity.clone()).collect();
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, policy)) = cached.as_ref()
            && *known == identity
        {
            return Ok(policy.clone());
        }
        let policy = self.parse(read_all(policy)?, &read_all(profiles)?, &read_all(mitigations)?)?;
        *cached = Some((identity, policy.clone()));
        Ok(policy)
    }

    fn parse(
        &self,
        files: Vec<ReadFile>,
        profiles: &[ReadFile],
        mitigations: &[ReadFile],
    ) -> Result<LoadedPolicy, PolicyFileError> {
        let library = self.library(profiles, mitigations)?;
        // Records call the entries of the policy file itself without a file name.
        let name = |file: &ReadFile| if file.path == self.path { String::new() } else { file.name() };
        let names: Vec<String> = files.iter().map(name).collect();
        let texts: Vec<_> = names.iter().zip(&files).map(|(name, file)| (name.as_str(), file.text.as_str())).collect();
        let policy = Policy::from_files_with(&texts, library).map_err(|error| PolicyFileError::Wrong {
            path: files.get(error.index).map_or_else(|| self.path.clone(), |file| file.path.clone()),
            source: error.source,
        })?;
        check_runtime(policy.runtime())?;
        let own = files.iter().map(|file| (file.name(), file.text.as_str()));
        let within = |dir: &str, file: &ReadFile| format!("{dir}/{}", file.name());
        let beside = profiles.iter().map(|file| (within(PROFILES, file), file.text.as_str()));
        let taken = mitigations.iter().map(|file| (within(MITIGATIONS, file), file.text.as_str()));
        let all: Vec<(String, &str)> = own.chain(beside).chain(taken).collect();
        let sha256 = if all.is_empty() { "builtin".to_owned() } else { digest(&all) };
        Ok(LoadedPolicy { policy: Arc::new(policy), sha256: sha256.into() })
    }

    /// What the policy can name of system call profiles and mitigations.
    fn library(&self, profiles: &[ReadFile], mitigations: &[ReadFile]) -> Result<Library, PolicyFileError> {
        let release = rustix::system::uname();
        let kernel = release.release().to_str().ok().and_then(KernelVersion::of_release);
        let wrong = |dir: PathBuf| move |source| PolicyFileError::Seccomp { dir, source };
        let (profiles, mitigations) = (stems(profiles), stems(mitigations));
        let library = Library::with_profiles(&pairs(&profiles), kernel).map_err(wrong(self.profile_dir()))?;
        library.and_mitigations(&pairs(&mitigations)).map_err(wrong(self.mitigation_dir()))
    }
}

fn read_all(files: Vec<OpenFile>) -> Result<Vec<ReadFile>, PolicyFileError> {
    files.into_iter().map(read_file).collect()
}

/// Each file's text, by its name without the extension.
fn stems(files: &[ReadFile]) -> Vec<(String, &str)> {
    files.iter().map(|file| (file.stem(), file.text.as_str())).collect()
}

fn pairs<'a>(named: &'a [(String, &'a str)]) -> Vec<(&'a str, &'a str)> {
    named.iter().map(|(name, text)| (name.as_str(), *text)).collect()
}

/// Of files, each as (name, text).
fn digest(files: &[(String, &str)]) -> String {
    let hex = |text: &str| Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    match files {
        [(_, only)] => hex(only),
        all => hex(&all.iter().map(|(name, text)| format!("{}  {name}\n", hex(text))).collect::<String>()),
    }
}

/// A runtime binary runs as root for every container, so it has to be as well guarded as the policy.
fn check_runtime(choice: &RuntimeChoice) -> Result<(), PolicyFileError> {
    let RuntimeChoice::Binary(path) = choice else { return Ok(()) };
    let stat =
        rustix::fs::stat(path).map_err(|errno| PolicyFileError::Read { path: path.clone(), source: errno.into() })?;
    let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    if path.is_absolute() && regular && is_roots_alone(&stat) {
        Ok(())
    } else {
        Err(PolicyFileError::NotTheAdmins { path: path.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let dir = env::temp_dir().join(format!("palisade-source-{name}-{}", std::process::id()));
            fs::create_dir_all(&dir).unwrap();
            fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
            Self(dir)
        }

        fn source(&self, text: &str) -> PolicySource {
            fs::write(self.0.join("policy.toml"), text).unwrap();
            PolicySource::new(self.0.join("policy.toml"), true)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn no_file_means_the_builtin_policy_and_a_named_one_must_be_there() {
        let scratch = Scratch::new("absent");
        let absent = scratch.0.join("none.toml");
        assert_eq!(PolicySource::new(absent.clone(), false).load().unwrap().sha256(), "builtin");
        assert!(matches!(PolicySource::new(absent, true).load(), Err(PolicyFileError::Read { .. })));
    }

    #[test]
    fn a_change_of_the_file_counts_at_once() {
        let scratch = Scratch::new("change");
        let source = scratch.source("version = 1\n");
        let first = source.load().unwrap();
        assert_eq!(first.sha256(), source.load().unwrap().sha256());
        let _rewritten = scratch.source("version = 1\nprofile = \"baseline\"\n");
        assert_ne!(first.sha256(), source.load().unwrap().sha256());
    }

    #[test]
    fn drop_ins_add_up_in_the_order_of_their_names_and_a_wrong_one_is_named() {
        let scratch = Scratch::new("dropins");
        let source = scratch.source("version = 1\n");
        let alone = source.load().unwrap();
        let dir = scratch.0.join("policy.d");
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(dir.join("10-team.toml"), "[profiles.team]\nextends = \"baseline@1\"\n").unwrap();
        fs::write(dir.join("20-use.toml"), "profile = \"team\"\n").unwrap();
        fs::write(dir.join("notes.txt"), "not a policy").unwrap();
        let both = source.load().unwrap();
        assert_eq!((alone.policy().profile(), both.policy().profile()), ("restricted", "team"));
        assert_ne!(alone.sha256(), both.sha256());
        fs::write(dir.join("20-use.toml"), "profile = \"teem\"\n").unwrap();
        let wrong = source.load().unwrap_err();
        assert!(matches!(&wrong, PolicyFileError::Wrong { path, .. } if path.ends_with("20-use.toml")), "{wrong:?}");
        fs::remove_file(dir.join("20-use.toml")).unwrap();
        fs::set_permissions(dir.join("10-team.toml"), fs::Permissions::from_mode(0o666)).unwrap();
        assert!(matches!(source.load(), Err(PolicyFileError::NotTheAdmins { .. })));
        fs::remove_file(dir.join("10-team.toml")).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o1777)).unwrap();
        assert!(matches!(source.load(), Err(PolicyFileError::NotTheAdmins { path }) if path == dir));
    }

    #[test]
    fn drop_ins_count_without_a_policy_file() {
        let scratch = Scratch::new("only-dropins");
        let dir = scratch.0.join("policy.d");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("a.toml"), "profile = \"baseline\"\n").unwrap();
        let source = PolicySource::new(scratch.0.join("policy.toml"), false);
        assert_eq!(source.load().unwrap().policy().profile(), "baseline");
        fs::write(dir.join("a.toml"), "profile = 1\n").unwrap();
        assert!(matches!(source.load(), Err(PolicyFileError::Wrong { path, .. }) if path.ends_with("a.toml")));
    }

    /// Writes a file in a directory beside the policy.
    fn beside(scratch: &Scratch, dir: &str, name: &str, text: &str) -> PathBuf {
        let dir = scratch.0.join(dir);
        fs::create_dir_all(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(dir.join(name), text).unwrap();
        dir.join(name)
    }

    const OWN: &str = r#"{ "include": ["base"], "defaultAction": "SCMP_ACT_ERRNO" }"#;
    const USES_OWN: &str = "[profiles.restricted.rules.\"linux.seccomp\"]\nprofile = \"mine\"\n";

    #[test]
    fn a_system_call_profile_beside_the_policy_can_be_named_and_counts_in_its_digest() {
        let scratch = Scratch::new("seccomp");
        let source = scratch.source(USES_OWN);
        assert!(matches!(source.load(), Err(PolicyFileError::Wrong { .. })), "it is not there yet");
        let file = beside(&scratch, "seccomp.d", "mine.json", OWN);
        beside(&scratch, "seccomp.d", "notes.txt", "no profile");
        let first = source.load().unwrap();
        assert_eq!(first.policy().library().profiles().last().unwrap(), "mine");
        fs::write(&file, OWN.replace("\"base\"", "\"base\", \"base-files\"")).unwrap();
        assert_ne!(first.sha256(), source.load().unwrap().sha256());
    }

    #[test]
    fn a_mitigation_is_switched_on_by_a_drop_in_and_may_be_the_admins_own() {
        let scratch = Scratch::new("mitigation");
        let source = scratch.source("mitigations = [\"io-uring\"]\n");
        beside(&scratch, "policy.d", "90-mine.toml", "mitigations = [\"mine\", \"io-uring\"]\n");
        assert!(matches!(source.load(), Err(PolicyFileError::Wrong { path, .. }) if path.ends_with("90-mine.toml")));
        let denies =
            r#"{ "id": "mine", "comment": "c", "kernels": "all", "denies": [{ "comment": "c", "names": ["mkdir"] }] }"#;
        beside(&scratch, "mitigations.d", "mine.json", denies);
        let loaded = source.load().unwrap();
        let ids: Vec<&str> = loaded.policy().mitigations().iter().map(|mitigation| mitigation.id()).collect();
        assert_eq!(ids, ["io-uring", "mine"]);
    }

    #[test]
    fn a_broken_profile_or_mitigation_is_no_policy_whether_it_is_used_or_not() {
        let scratch = Scratch::new("broken");
        let source = scratch.source("version = 1\n");
        source.load().unwrap();
        for (dir, name, text, word) in [
            ("seccomp.d", "mine.json", "{ \"defaultActoin\": 1 }", "defaultActoin"),
            ("seccomp.d", "strict.json", OWN, "built in"),
            ("mitigations.d", "mine.json", "{}", "missing field"),
        ] {
            let file = beside(&scratch, dir, name, text);
            let error = source.load().unwrap_err();
            let chain = crate::log::chain(&error);
            assert!(matches!(error, PolicyFileError::Seccomp { .. }), "{chain}");
            assert!(chain.contains(dir) && chain.contains(word), "{chain}");
            fs::remove_file(file).unwrap();
            source.load().unwrap();
        }
        let file = beside(&scratch, "seccomp.d", "mine.json", OWN);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(matches!(source.load(), Err(PolicyFileError::NotTheAdmins { path }) if path == file));
    }

    #[test]
    fn a_wrong_file_is_no_policy_even_if_an_earlier_one_was_right() {
        let scratch = Scratch::new("wrong");
        let source = scratch.source("version = 1\n");
        source.load().unwrap();
        let _rewritten = scratch.source("version = 1\nprofle = \"baseline\"\n");
        let wrong = source.load().unwrap_err();
        assert!(matches!(wrong, PolicyFileError::Wrong { .. }));
        assert!(crate::log::chain(&wrong).contains("profle"), "{}", crate::log::chain(&wrong));
    }

    #[test]
    fn a_file_that_others_can_write_or_a_link_is_not_the_admins() {
        let scratch = Scratch::new("open");
        let source = scratch.source("version = 1\n");
        fs::set_permissions(source.path(), fs::Permissions::from_mode(0o666)).unwrap();
        assert!(matches!(source.load(), Err(PolicyFileError::NotTheAdmins { .. })));
        fs::set_permissions(source.path(), fs::Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::chown(source.path(), Some(1000), None).unwrap();
        assert!(matches!(source.load(), Err(PolicyFileError::NotTheAdmins { .. })));
        std::os::unix::fs::chown(source.path(), Some(0), None).unwrap();
        source.load().unwrap();
        let link = scratch.0.join("link.toml");
        std::os::unix::fs::symlink(source.path(), &link).unwrap();
        assert!(matches!(PolicySource::new(link, true).load(), Err(PolicyFileError::NotTheAdmins { .. })));
        fs::set_permissions(&scratch.0, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(source.load(), Err(PolicyFileError::NotTheAdmins { .. })));
    }
}
