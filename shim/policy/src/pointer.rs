//! JSON pointers (RFC 6901): how every error and finding names its place.

/// One reference token, escaped as RFC 6901 §3 asks.
pub(crate) fn escape(token: &str) -> String {
    token.replace('~', "~0").replace('/', "~1")
}

/// `base` followed by one more token.
pub(crate) fn join(base: &str, token: &str) -> String {
    format!("{base}/{}", escape(token))
}

/// `base` followed by an array index.
pub(crate) fn index(base: &str, at: usize) -> String {
    format!("{base}/{at}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_with_a_slash_or_a_tilde_is_escaped() {
        assert_eq!(join("/annotations", "a/b~c"), "/annotations/a~1b~0c");
        assert_eq!(index("/mounts", 7), "/mounts/7");
    }
}
