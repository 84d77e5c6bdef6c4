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
use super::cluster::{self, CLUSTER};

/// Where the policy is, unless containerd's environment names another file.
const DEFAULT_PATH: &str = "/etc/palisade/policy.toml";
/// The policy file of a set of the cluster's, and the directory of its drop-ins.
pub const POLICY: &str = "policy.toml";
/// See [`POLICY`].
pub const DROP_INS: &str = "policy.d";
/// Directory beside the policy file with the admin's own system call profiles.
pub const PROFILES: &str = "seccomp.d";
/// Directory beside the policy file with the admin's own mitigations.
pub const MITIGATIONS: &str = "mitigations.d";
/// Variable of containerd's environment, which only the node's admin can set.
pub const CONFIG_VARIABLE: &str = "PALISADE_CONFIG";

/// How often a set that was replaced while it was read is read anew. Sets come a minute apart.
const ATTEMPTS: usize = 8;

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
    /// What the cluster hands to this node changed whenever it was read.
    #[error(
        "palisade: the files in {dir:?} were replaced {ATTEMPTS} times while they were read, so nothing is created"
    )]
    Replaced {
        /// The directory of the sets.
        dir: PathBuf,
    },
}

impl PolicyFileError {
    /// Something is not there.
    fn is_absence(&self) -> bool {
        matches!(self, Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
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
    /// Which of the cluster's sets counts.
    set: Set,
    /// Where the node's tree is mounted, so where a runtime that the policy names is.
    root: PathBuf,
    cached: Mutex<Option<(Vec<FileIdentity>, LoadedPolicy)>>,
}

/// One of the sets that the cluster hands to its nodes.
#[derive(Debug)]
enum Set {
    /// The one in force.
    InForce,
    /// This one, in force or not.
    Given(PathBuf),
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

    /// What a node would go by whose tree is mounted at `root` and whose policy file is `path`, if the set in `set` were in force.
    #[must_use]
    pub fn of_node_with(path: PathBuf, root: PathBuf, set: PathBuf) -> Self {
        Self { set: Set::Given(set), root, ..Self::new(path, false) }
    }

    /// What a node goes by whose tree is mounted at `root` and whose policy file is `path`.
    #[must_use]
    pub fn of_node(path: PathBuf, root: PathBuf) -> Self {
        Self { root, ..Self::new(path, false) }
    }

    fn new(path: PathBuf, named: bool) -> Self {
        Self { path, named, set: Set::InForce, root: PathBuf::from("/"), cached: Mutex::new(None) }
    }

    /// The file's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory of the sets that the cluster hands to this node.
    fn cluster_dir(&self) -> PathBuf {
        self.path.with_file_name(CLUSTER)
    }

    /// The directory of the drop-ins: beside the file, named as it with `.d`.
    fn drop_in_dir(&self) -> PathBuf {
        self.path.with_extension("d")
    }

    /// The policy as the file and its drop-ins are now, with the system call profiles and mitigations beside them and what the cluster
    /// hands to this node. The default file may be absent: then the built-in one is in force, with the drop-ins if there are any.
    ///
    /// # Errors
    ///
    /// [`PolicyFileError`]; there is no fallback for a file that is wrong.
    pub fn load(&self) -> Result<LoadedPolicy, PolicyFileError> {
        if let Set::Given(set) = &self.set {
            return self.load_with(Some(set));
        }
        let dir = self.cluster_dir();
        let mut missing = None;
        for _ in 0..ATTEMPTS {
            let set = match cluster::in_force(&dir) {
                Ok(Some(set)) => set,
                Ok(None) => return self.load_with(None),
                Err(error) if error.is_absence() => {
                    missing = Some(error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let loaded = self.load_with(Some(&set));
            // One that was replaced may have been removed meanwhile, and a file that is gone is taken for none.
            if cluster::is_in_force(&dir, &set) {
                return loaded;
            }
        }
        Err(missing.unwrap_or(PolicyFileError::Replaced { dir }))
    }

    fn load_with(&self, set: Option<&Path>) -> Result<LoadedPolicy, PolicyFileError> {
        let [policy, profiles, mitigations] = self.open(set)?;
        let all = policy.iter().chain(&profiles).chain(&mitigations);
        let identity: Vec<FileIdentity> = all.map(|file| file.identity.clone()).collect();
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, policy)) = cached.as_ref()
            && *known == identity
        {
            return Ok(policy.clone());
        }
        let texts = Texts {
            set,
            policy: read_all(policy)?,
            profiles: read_all(profiles)?,
            mitigations: read_all(mitigations)?,
        };
        let policy = self.parse(&texts)?;
        *cached = Some((identity, policy.clone()));
        Ok(policy)
    }

    /// The files of the policy, of system call profiles and of mitigations: the node's own, then those of the set.
    fn open(&self, set: Option<&Path>) -> Result<[Vec<OpenFile>; 3], PolicyFileError> {
        let mut policy: Vec<OpenFile> = open_file(&self.path, self.named)?.into_iter().collect();
        policy.extend(all_of(&self.drop_in_dir(), "toml")?);
        let mut profiles = all_of(&self.path.with_file_name(PROFILES), "json")?;
        let mut mitigations = all_of(&self.path.with_file_name(MITIGATIONS), "json")?;
        if let Some(set) = set {
            policy.extend(open_file(&set.join(POLICY), false)?);
            policy.extend(all_of(&set.join(DROP_INS), "toml")?);
            profiles.extend(all_of(&set.join(PROFILES), "json")?);
            mitigations.extend(all_of(&set.join(MITIGATIONS), "json")?);
        }
        Ok([policy, profiles, mitigations])
    }

    fn parse(&self, texts: &Texts<'_>) -> Result<LoadedPolicy, PolicyFileError> {
        let library = self.library(texts)?;
        // Records call the entries of the policy file itself without a file name.
        let name = |file: &ReadFile| if file.path == self.path { String::new() } else { texts.name(file, None) };
        let names: Vec<String> = texts.policy.iter().map(name).collect();
        let named: Vec<_> =
            names.iter().zip(&texts.policy).map(|(name, file)| (name.as_str(), file.text.as_str())).collect();
        let policy = Policy::from_files_with(&named, library).map_err(|error| PolicyFileError::Wrong {
            path: texts.policy.get(error.index).map_or_else(|| self.path.clone(), |file| file.path.clone()),
            source: error.source,
        })?;
        check_runtime(policy.runtime(), &self.root)?;
        let all = texts.all();
        let sha256 = if all.is_empty() { "builtin".to_owned() } else { digest(&all) };
        Ok(LoadedPolicy { policy: Arc::new(policy), sha256: sha256.into() })
    }

    /// What the policy can name of system call profiles and mitigations.
    fn library(&self, texts: &Texts<'_>) -> Result<Library, PolicyFileError> {
        let release = rustix::system::uname();
        let kernel = release.release().to_str().ok().and_then(KernelVersion::of_release);
        let wrong = |dir: &str| {
            let dir = self.path.with_file_name(dir);
            move |source| PolicyFileError::Seccomp { dir, source }
        };
        let (profiles, mitigations) = (stems(&texts.profiles), stems(&texts.mitigations));
        let library = Library::with_profiles(&pairs(&profiles), kernel).map_err(wrong(PROFILES))?;
        library.and_mitigations(&pairs(&mitigations)).map_err(wrong(MITIGATIONS))
    }
}

/// What was read.
struct Texts<'a> {
    /// The set that some of the files are of.
    set: Option<&'a Path>,
    policy: Vec<ReadFile>,
    profiles: Vec<ReadFile>,
    mitigations: Vec<ReadFile>,
}

impl Texts<'_> {
    /// What a file is called in digests and records: by its name, in the directory that it is in; one of the cluster's by its place in the set.
    fn name(&self, file: &ReadFile, directory: Option<&str>) -> String {
        match (self.set.and_then(|set| file.path.strip_prefix(set).ok()), directory) {
            (Some(within), _) => format!("{CLUSTER}/{}", within.display()),
            (None, Some(directory)) => format!("{directory}/{}", file.name()),
            (None, None) => file.name(),
        }
    }

    /// Every file's name and text.
    fn all(&self) -> Vec<(String, &str)> {
        let of = |files, directory| {
            let named = move |file: &'_ ReadFile| self.name(file, directory);
            let files: &Vec<ReadFile> = files;
            files.iter().map(move |file| (named(file), file.text.as_str())).collect::<Vec<_>>()
        };
        [of(&self.policy, None), of(&self.profiles, Some(PROFILES)), of(&self.mitigations, Some(MITIGATIONS))].concat()
    }
}

fn all_of(dir: &Path, extension: &str) -> Result<Vec<OpenFile>, PolicyFileError> {
    let paths = files_of(dir, extension)?;
    let open = paths.iter().map(|path| open_file(path, true)).collect::<Result<Vec<_>, _>>()?;
    Ok(open.into_iter().flatten().collect())
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
fn check_runtime(choice: &RuntimeChoice, root: &Path) -> Result<(), PolicyFileError> {
    let RuntimeChoice::Binary(path) = choice else { return Ok(()) };
    let there = root.join(path.strip_prefix("/").unwrap_or(path));
    let stat =
        rustix::fs::stat(&there).map_err(|errno| PolicyFileError::Read { path: path.clone(), source: errno.into() })?;
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

    /// Lays a set of the cluster's and brings it into force.
    fn hand_over(scratch: &Scratch, name: &str, files: &[(&str, &str)]) {
        let cluster = scratch.0.join(CLUSTER);
        for (place, text) in files {
            let file = cluster.join(name).join(place);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        for dir in [cluster.clone(), cluster.join(name), cluster.join(name).join(DROP_INS)] {
            drop(fs::set_permissions(dir, fs::Permissions::from_mode(0o755)));
        }
        std::os::unix::fs::symlink(name, cluster.join("next")).unwrap();
        fs::rename(cluster.join("next"), cluster.join(cluster::CURRENT)).unwrap();
    }

    const TEAM: &str = "[profiles.team]\nextends = \"baseline@1\"\n";

    #[test]
    fn what_the_cluster_hands_over_adds_to_the_nodes_own_files() {
        let scratch = Scratch::new("cluster");
        let source = scratch.source("version = 1\n");
        beside(
            &scratch,
            DROP_INS,
            "10-node.toml",
            "[[exempt]]\nrule = \"hooks\"\nnamespace = \"a\"\nreason = \"r\"\nexpires = \"2999-01-01\"\n",
        );
        let alone = source.load().unwrap();
        let files = [(POLICY, "profile = \"team\"\n"), ("policy.d/20-team.toml", TEAM), ("seccomp.d/mine.json", OWN)];
        hand_over(&scratch, "set-1-a", &files);
        let both = source.load().unwrap();
        assert_eq!((both.policy().profile(), both.policy().exemptions().len()), ("team", 1));
        assert_eq!(both.policy().library().profiles().last().unwrap(), "mine");
        assert_ne!(alone.sha256(), both.sha256());
        // As sha256sum prints it, by the names that records have.
        let own = [
            ("policy.toml", "version = 1\n".to_owned()),
            ("10-node.toml", fs::read_to_string(scratch.0.join("policy.d/10-node.toml")).unwrap()),
        ];
        let handed = files.map(|(place, text)| (place, text.to_owned()));
        let lines = own.into_iter().map(|(name, text)| (name.to_owned(), text));
        let lines = lines.chain(handed.into_iter().map(|(place, text)| (format!("cluster/{place}"), text)));
        let lines: Vec<_> = lines.collect();
        assert_eq!(
            both.sha256(),
            digest(&lines.iter().map(|(name, text)| (name.clone(), text.as_str())).collect::<Vec<_>>())
        );
        // Another set in its place counts at once, and a key that both have is a fault of the one that has it later.
        hand_over(&scratch, "set-2-b", &[(POLICY, "profile = \"baseline\"\n")]);
        assert_eq!(source.load().unwrap().policy().profile(), "baseline");
        let _both = scratch.source("version = 1\nprofile = \"restricted\"\n");
        assert!(
            matches!(source.load(), Err(PolicyFileError::Wrong { path, .. }) if path.ends_with("set-2-b/policy.toml"))
        );
    }

    #[test]
    fn a_set_that_is_not_there_or_not_the_admins_is_no_empty_one() {
        let scratch = Scratch::new("cluster-not");
        let source = scratch.source("version = 1\n");
        let cluster = scratch.0.join(CLUSTER);
        hand_over(&scratch, "set-1-a", &[(POLICY, "profile = \"baseline\"\n")]);
        source.load().unwrap();
        let link = cluster.join(cluster::CURRENT);
        let point_at = |name: &str| {
            fs::remove_file(&link).unwrap();
            std::os::unix::fs::symlink(name, &link).unwrap();
        };
        point_at("set-2-b");
        assert!(matches!(source.load(), Err(PolicyFileError::Read { path, .. }) if path.ends_with("set-2-b")));
        let elsewhere = scratch.0.join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        for name in ["../elsewhere", elsewhere.to_str().unwrap(), ".", ".."] {
            point_at(name);
            assert!(matches!(source.load(), Err(PolicyFileError::NotTheAdmins { path }) if path == link), "{name}");
        }
        // A link in the place of the set leads nowhere either.
        std::os::unix::fs::symlink(&elsewhere, cluster.join("set-3-c")).unwrap();
        point_at("set-3-c");
        assert!(matches!(source.load(), Err(PolicyFileError::NotTheAdmins { path }) if path.ends_with("set-3-c")));
        point_at("set-1-a");
        source.load().unwrap();
        for open in [cluster.clone(), cluster.join("set-1-a"), cluster.join("set-1-a/policy.toml")] {
            let mode = fs::metadata(&open).unwrap().permissions();
            fs::set_permissions(&open, fs::Permissions::from_mode(0o1777)).unwrap();
            assert!(matches!(source.load(), Err(PolicyFileError::NotTheAdmins { path }) if path == open), "{open:?}");
            fs::set_permissions(&open, mode).unwrap();
        }
        fs::remove_file(&link).unwrap();
        fs::write(&link, "set-1-a").unwrap();
        assert!(matches!(source.load(), Err(PolicyFileError::NotTheAdmins { path }) if path == link));
        fs::remove_file(&link).unwrap();
        assert_eq!(source.load().unwrap().policy().profile(), "restricted", "nothing is in force yet");
    }

    #[test]
    fn a_runtime_is_looked_for_where_the_nodes_tree_is_mounted() {
        let scratch = Scratch::new("cluster-root");
        let source = scratch.source("[runtime]\nbinary = \"/usr/sbin/runtime-of-the-node\"\n");
        assert!(matches!(source.load(), Err(PolicyFileError::Read { .. })));
        let there = scratch.0.join("usr/sbin/runtime-of-the-node");
        fs::create_dir_all(there.parent().unwrap()).unwrap();
        fs::write(&there, "").unwrap();
        PolicySource::of_node(source.path().to_owned(), scratch.0.clone()).load().unwrap();
    }

    /// Sets come and go much faster than `palisade policy sync` has them: each is removed as soon as it is replaced.
    #[test]
    fn a_set_that_is_removed_while_it_is_read_is_never_taken_for_a_smaller_one() {
        let scratch = Scratch::new("cluster-race");
        let source = scratch.source("version = 1\n");
        let over = std::sync::atomic::AtomicBool::new(false);
        let files =
            [(POLICY, "profile = \"baseline\"\n"), ("policy.d/20-team.toml", TEAM), ("seccomp.d/mine.json", OWN)];
        hand_over(&scratch, "set-0-a", &files);
        let whole = source.load().unwrap().sha256().to_owned();
        let mut read = 0;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 1..=600 {
                    hand_over(&scratch, &format!("set-{number}-a"), &files);
                    fs::remove_dir_all(scratch.0.join(CLUSTER).join(format!("set-{}-a", number - 1))).unwrap();
                }
                over.store(true, std::sync::atomic::Ordering::Relaxed);
            });
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                // Read each time anew, and told as an error at worst.
                match PolicySource::at(source.path().to_owned()).load() {
                    Ok(loaded) => assert_eq!(loaded.sha256(), whole),
                    Err(error) => assert!(is_of_a_race(&error), "{error:?}"),
                }
                read += 1;
            }
        });
        assert!(read > 20, "{read}");
    }

    /// A set was replaced again and again, or between the look at the link and the one at its set.
    fn is_of_a_race(error: &PolicyFileError) -> bool {
        error.is_absence() || matches!(error, PolicyFileError::Replaced { .. })
    }
}
