//! Image references in their one canonical form.
//!
//! Source of the grammar: distribution `reference/regexp.go` and `reference/normalize.go`, which containerd goes by. What that grammar
//! lets pass and a person would misread is refused: upper case in a registry's name, and names in punycode.

use std::fmt;

use thiserror::Error;

/// The registry of a name without one.
const DEFAULT_DOMAIN: &str = "docker.io";
/// Its older name.
const LEGACY_DOMAIN: &str = "index.docker.io";
/// Where that registry has images whose name is one word.
const OFFICIAL: &str = "library/";
/// Longest name without tag and digest, in bytes.
const MAX_NAME: usize = 255;
/// Longest tag.
const MAX_TAG: usize = 128;
/// Digits of a SHA-256 in hex.
const HEX: usize = 64;

/// A name as it was understood; its display is the canonical form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageReference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<String>,
}

/// Why a text names no image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ReferenceError {
    /// There is nothing.
    #[error("is empty")]
    Empty,
    /// It is longer than any name.
    #[error("is longer than {MAX_NAME} bytes")]
    TooLong,
    /// Letters beyond ASCII look like others.
    #[error("holds a character that is not ASCII")]
    NotAscii,
    /// The registry's name is none.
    #[error("has a registry whose name is none in lower case")]
    Domain,
    /// So written, other letters than those of ASCII look like them.
    #[error("has a registry in punycode, which stands for letters that look like others")]
    Punycode,
    /// The port is none.
    #[error("has a registry whose port is none")]
    Port,
    /// The repository's name is none.
    #[error("has no repository in lower case")]
    Path,
    /// A name of 64 hex digits alone is an image's id.
    #[error("is an id and no name")]
    Id,
    /// The tag is none.
    #[error("has a tag that is none")]
    Tag,
    /// The digest is none.
    #[error("has a digest that is no SHA-256")]
    Digest,
}

impl ImageReference {
    /// Reads a reference, with the defaults that containerd and Docker have for what is left out.
    ///
    /// # Errors
    ///
    /// [`ReferenceError`]; the text is not trimmed.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        if !text.is_ascii() {
            return Err(ReferenceError::NotAscii);
        }
        if is_hex(text) || is_digest(text) {
            return Err(ReferenceError::Id);
        }
        let (rest, digest) = match text.split_once('@') {
            Some((_, digest)) if !is_digest(digest) => return Err(ReferenceError::Digest),
            Some((rest, digest)) => (rest, Some(digest.to_owned())),
            None => (text, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            // A colon before the last slash is a port's.
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(ReferenceError::Tag);
        }
        let (domain, path) = domain_and_path(name)?;
        if domain.len() + 1 + path.len() > MAX_NAME {
            return Err(ReferenceError::TooLong);
        }
        Ok(Self { domain, path, tag: tag.map(str::to_owned), digest })
    }

    /// The registry, with its port if one is named.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository within the registry.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Registry and repository.
    #[must_use]
    pub fn repository(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// The tag, if one is named.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, `sha256:` and 64 digits, if one is named.
    #[must_use]
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.domain, self.path)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        self.digest.as_ref().map_or(Ok(()), |digest| write!(f, "@{digest}"))
    }
}

/// The first part of a name is a registry if it could be no repository of the default one.
fn domain_and_path(name: &str) -> Result<(String, String), ReferenceError> {
    let (domain, path) = match name.split_once('/') {
        Some((first, rest)) if is_registry(first) => (checked_domain(first)?, rest),
        _ => (DEFAULT_DOMAIN, name),
    };
    let domain = if domain == LEGACY_DOMAIN { DEFAULT_DOMAIN } else { domain };
    let official = domain == DEFAULT_DOMAIN && !path.contains('/');
    let path = if official { format!("{OFFICIAL}{path}") } else { path.to_owned() };
    if path.split('/').all(is_component) { Ok((domain.to_owned(), path)) } else { Err(ReferenceError::Path) }
}

/// Source: distribution `splitDockerDomain`.
fn is_registry(first: &str) -> bool {
    first.contains(['.', ':', '[']) || first == "localhost" || first.bytes().any(|byte| byte.is_ascii_uppercase())
}

fn checked_domain(domain: &str) -> Result<&str, ReferenceError> {
    let (host, port) = match domain.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest.split_once(']').ok_or(ReferenceError::Domain)?;
            if address.is_empty() || !address.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b':')) {
                return Err(ReferenceError::Domain);
            }
            (
                None,
                after
                    .strip_prefix(':')
                    .map_or(if after.is_empty() { Ok(None) } else { Err(ReferenceError::Port) }, |port| {
                        Ok(Some(port))
                    })?,
            )
        }
        None => match domain.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(domain), None),
        },
    };
    if port.is_some_and(|port| !is_port(port)) {
        return Err(ReferenceError::Port);
    }
    for label in host.into_iter().flat_map(|host| host.split('.')) {
        if label.starts_with("xn--") {
            return Err(ReferenceError::Punycode);
        }
        if !is_label(label) {
            return Err(ReferenceError::Domain);
        }
    }
    Ok(domain)
}

/// Without a leading zero: `080` would be another name of 80.
fn is_port(port: &str) -> bool {
    !port.starts_with('0') && port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
}

fn is_label(label: &str) -> bool {
    let inner = label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    inner && !label.is_empty() && !label.starts_with('-') && !label.ends_with('-')
}

/// Words of letters and digits with `.`, `_`, `__` or dashes between them.
fn is_component(part: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let (Some(first), Some(last)) = (part.bytes().next(), part.bytes().next_back()) else { return false };
    let separators = part.split(|letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit());
    let legal = |between: &str| matches!(between, "" | "." | "_" | "__") || between.bytes().all(|byte| byte == b'-');
    is_word(first) && is_word(last) && separators.into_iter().all(legal)
}

fn is_tag(tag: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let first = tag.bytes().next().is_some_and(is_word);
    first && tag.len() <= MAX_TAG && tag.bytes().all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'))
}

/// Whether a text is a SHA-256 digest, `sha256:` and 64 digits of lower case.
#[must_use]
pub fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(is_hex)
}

fn is_hex(text: &str) -> bool {
    text.len() == HEX && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn what_is_left_out_is_filled_in_as_containerd_does() {
        for (text, canonical) in [
            ("busybox", "docker.io/library/busybox"),
            ("busybox:1.36", "docker.io/library/busybox:1.36"),
            ("team/app", "docker.io/team/app"),
            ("docker.io/busybox", "docker.io/library/busybox"),
            ("index.docker.io/library/busybox", "docker.io/library/busybox"),
            ("localhost/app", "localhost/app"),
            ("localhost:5000/app:v1", "localhost:5000/app:v1"),
            ("registry.example:5000/a/b__c/d-e.f:V_1.0-x", "registry.example:5000/a/b__c/d-e.f:V_1.0-x"),
            ("evil.example/docker.io/library/busybox", "evil.example/docker.io/library/busybox"),
            ("docker.io.evil.example/library/busybox", "docker.io.evil.example/library/busybox"),
            ("[fd00::1]:5000/app", "[fd00::1]:5000/app"),
            ("[fd00::1]/app", "[fd00::1]/app"),
            ("10.0.0.1/app", "10.0.0.1/app"),
        ] {
            assert_eq!(ImageReference::parse(text).map(|name| name.to_string()).as_deref(), Ok(canonical), "{text}");
        }
        let both = ImageReference::parse(&format!("registry.example:5000/app:1@{DIGEST}")).unwrap();
        assert_eq!((both.tag(), both.digest()), (Some("1"), Some(DIGEST)));
        assert_eq!(both.repository(), "registry.example:5000/app");
    }

    proptest::proptest! {
        #[test]
        fn what_is_read_has_one_form_and_only_plain_letters(text in "(?:[a-zA-Z0-9._-]{1,9}[:/@]){0,4}[a-zA-Z0-9._:/@-]{0,12}|\\PC{0,30}") {
            if let Ok(name) = ImageReference::parse(&text) {
                let canonical = name.to_string();
                let again = ImageReference::parse(&canonical);
                proptest::prop_assert_eq!(again.as_ref(), Ok(&name), "{}", canonical);
                let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-:/[]".contains(&byte);
                proptest::prop_assert!(name.repository().bytes().all(plain));
                proptest::prop_assert!(!name.path().split('/').any(|part| part.is_empty() || part == "." || part == ".."));
                let registry = name.domain();
                proptest::prop_assert!(canonical.strip_prefix(registry).is_some_and(|rest| rest.starts_with('/')));
                // Nothing but the defaults is added.
                proptest::prop_assert!(canonical.ends_with(&text) || text.starts_with("index.docker.io/") || text.starts_with("docker.io/"));
            }
        }
    }

    #[test]
    fn what_would_be_misread_is_refused() {
        use ReferenceError as E;
        for (text, why) in [
            ("", E::Empty),
            ("Docker.io/library/busybox", E::Domain),
            ("REGISTRY/app", E::Domain),
            ("docker.io/Library/busybox", E::Path),
            ("dоcker.io/library/busybox", E::NotAscii),
            ("xn--dcker-jye.io/library/busybox", E::Punycode),
            ("registry.xn--e1afmkfd.example/app", E::Punycode),
            ("registry.example:0/app", E::Port),
            ("registry.example:080/app", E::Port),
            ("registry.example:99999/app", E::Port),
            ("registry.example:/app", E::Port),
            ("registry.example:5000:5000/app", E::Port),
            ("user:secret@registry.example/app", E::Digest),
            ("-registry.example/app", E::Domain),
            ("registry..example/app", E::Domain),
            ("registry.example./app", E::Domain),
            ("[fd00::1/app", E::Domain),
            ("[fd00::1]x/app", E::Port),
            ("registry.example//app", E::Path),
            ("registry.example/app/", E::Path),
            ("registry.example/../app", E::Path),
            ("registry.example/a..b", E::Path),
            ("registry.example/a___b", E::Path),
            ("registry.example/_a", E::Path),
            ("/app", E::Path),
            ("app:", E::Tag),
            ("app:.1", E::Tag),
            ("app:1 ", E::Tag),
            (" app", E::Path),
            ("app@", E::Digest),
            ("app@sha256:abc", E::Digest),
            ("app@sha512:00", E::Digest),
            (DIGEST, E::Id),
            (&DIGEST[7..], E::Id),
        ] {
            assert_eq!(ImageReference::parse(text), Err(why), "{text}");
        }
        assert_eq!(ImageReference::parse(&format!("app@{DIGEST}@{DIGEST}")), Err(E::Digest));
        assert_eq!(ImageReference::parse(&format!("app@{}", DIGEST.to_uppercase())), Err(E::Digest));
        assert_eq!(ImageReference::parse(&format!("a.example/{}", "a".repeat(250))), Err(E::TooLong));
        assert_eq!(ImageReference::parse(&format!("app:{}", "a".repeat(129))), Err(E::Tag));
    }
}
