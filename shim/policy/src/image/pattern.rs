//! Repositories as the policy lists them.

use std::fmt;

use super::reference::ImageReference;

/// One repository, or with `/*` at its end all below a registry or a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RepositoryPattern {
    /// Canonical, registry first; without the `/*`.
    name: String,
    tree: bool,
}

impl RepositoryPattern {
    /// `None` for what is no repository in its canonical form, registry first, and for a `*` anywhere but at the end: `docker.io/lib*`
    /// would be `docker.io/libel` as well.
    pub(crate) fn of(text: &str) -> Option<Self> {
        let (name, tree) = text.strip_suffix("/*").map_or((text, false), |name| (name, true));
        // A registry alone has no path to be read by.
        let whole = if tree { format!("{name}/x/x") } else { name.to_owned() };
        let canonical = ImageReference::parse(&whole).ok()?;
        let as_written = canonical.to_string() == whole && canonical.tag().is_none() && canonical.digest().is_none();
        as_written.then(|| Self { name: name.to_owned(), tree })
    }

    pub(crate) fn covers(&self, image: &ImageReference) -> bool {
        self.is_or_covers(&image.repository())
    }

    /// Whether all that `other` covers is covered.
    pub(crate) fn covers_all_of(&self, other: &Self) -> bool {
        if other.tree {
            self.tree && (self.name == other.name || self.is_or_covers(&other.name))
        } else {
            self.is_or_covers(&other.name)
        }
    }

    fn is_or_covers(&self, repository: &str) -> bool {
        if self.tree {
            repository.strip_prefix(self.name.as_str()).is_some_and(|rest| rest.starts_with('/'))
        } else {
            repository == self.name
        }
    }
}

impl fmt::Display for RepositoryPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.name, if self.tree { "/*" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_repository_or_a_tree_of_them() {
        let covers = |pattern: &str, image: &str| {
            RepositoryPattern::of(pattern).unwrap().covers(&ImageReference::parse(image).unwrap())
        };
        assert!(covers("docker.io/library/*", "busybox:1"));
        assert!(covers("docker.io/library/busybox", "busybox"));
        assert!(covers("registry.example:5000/*", "registry.example:5000/a/b"));
        assert!(!covers("registry.example/*", "registry.example:5000/a"));
        assert!(!covers("docker.io/library/*", "evil.example/docker.io/library/busybox"));
        assert!(!covers("docker.io/library/*", "docker.io/librarypwned/x"));
        assert!(!covers("docker.io/library/busybox", "docker.io/library/busybox2"));
        assert!(!covers("docker.io/*", "docker.io.evil.example/x"));
        for wrong in [
            "busybox",
            "*",
            "docker.io/lib*",
            "docker.io/library/busybox:1",
            "Docker.io/*",
            "",
            "/*",
            "a/*/b",
            "index.docker.io/*",
        ] {
            assert_eq!(RepositoryPattern::of(wrong), None, "{wrong}");
        }
    }

    proptest::proptest! {
        /// A registry that is not the one that is listed is never covered, whatever its name has in it.
        #[test]
        fn no_other_registry_is_covered(domain in "[a-z0-9.-]{0,12}(registry\\.example)?[a-z0-9.:-]{0,6}", path in "[a-z0-9/.-]{1,20}") {
            let pattern = RepositoryPattern::of("registry.example/team/*").unwrap();
            if let Ok(image) = ImageReference::parse(&format!("{domain}/{path}")) {
                let inside = image.domain() == "registry.example" && image.path().starts_with("team/");
                proptest::prop_assert_eq!(pattern.covers(&image), inside, "{}", image);
            }
        }
    }

    #[test]
    fn a_tree_covers_smaller_ones() {
        let covers = |one: &str, other: &str| {
            RepositoryPattern::of(one).unwrap().covers_all_of(&RepositoryPattern::of(other).unwrap())
        };
        assert!(covers("r.example/*", "r.example/a/*") && covers("r.example/a/*", "r.example/a/b"));
        assert!(covers("r.example/a/*", "r.example/a/*") && covers("r.example/a", "r.example/a"));
        assert!(!covers("r.example/a/*", "r.example/*") && !covers("r.example/a", "r.example/a/*"));
        assert!(!covers("r.example/a/*", "r.example/ab/*"));
    }
}
