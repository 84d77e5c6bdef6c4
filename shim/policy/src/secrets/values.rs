//! What a value looks like: random, or like a word, a path, a number, a placeholder.

/// Shortest secret that is told from a word.
pub(super) const SHORTEST: usize = 8;
/// Longer values are data.
const LONGEST: usize = 8192;

/// Words of which people make values that stand for a password, or are known to everybody.
const KNOWN_WORDS: &[&str] = &[
    "admin",
    "administrator",
    "api",
    "app",
    "auth",
    "bar",
    "base",
    "baz",
    "change",
    "changed",
    "changeit",
    "changeme",
    "client",
    "credential",
    "credentials",
    "database",
    "db",
    "default",
    "demo",
    "dev",
    "development",
    "dummy",
    "empty",
    "enter",
    "example",
    "fake",
    "fixme",
    "foo",
    "foobar",
    "guest",
    "here",
    "hidden",
    "in",
    "insecure",
    "insert",
    "invalid",
    "it",
    "keep",
    "key",
    "letmein",
    "local",
    "localhost",
    "master",
    "me",
    "minioadmin",
    "mock",
    "my",
    "mypassword",
    "mysecret",
    "mysecretpassword",
    "mysql",
    "new",
    "none",
    "not",
    "null",
    "optional",
    "or",
    "overridden",
    "override",
    "pass",
    "passwd",
    "password",
    "passphrase",
    "placeholder",
    "please",
    "postgres",
    "private",
    "prod",
    "production",
    "public",
    "qwerty",
    "rabbitmq",
    "random",
    "redacted",
    "redis",
    "removed",
    "replace",
    "replaceme",
    "required",
    "root",
    "rootpassword",
    "s3cr3t",
    "sample",
    "sampleapp",
    "sa",
    "secret",
    "secretkey",
    "secrets",
    "service",
    "set",
    "some",
    "staging",
    "string",
    "super",
    "supersecret",
    "system",
    "test",
    "testing",
    "testpassword",
    "the",
    "this",
    "todo",
    "token",
    "tokens",
    "topsecret",
    "unset",
    "unused",
    "use",
    "user",
    "username",
    "value",
    "with",
    "your",
];

/// Words that are settings.
const SETTINGS: &[&str] = &[
    "always",
    "basic",
    "bearer",
    "disable",
    "disabled",
    "enable",
    "enabled",
    "false",
    "inherit",
    "native",
    "negotiate",
    "never",
    "prompt",
    "required",
    "strict",
    "true",
    "undefined",
    "yes",
];

/// Whether some byte is of a kind.
pub(super) fn has(text: &str, kind: fn(&u8) -> bool) -> bool {
    text.bytes().any(|byte| kind(&byte))
}

/// Shannon's entropy of the bytes, in bits for each.
pub(super) fn entropy(text: &str) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in text.bytes() {
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count += 1;
        }
    }
    let total = f64::from(u32::try_from(text.len()).unwrap_or(u32::MAX));
    let share = |count: u32| f64::from(count) / total;
    counts.iter().filter(|count| **count > 0).map(|count| -share(*count) * share(*count).log2()).sum()
}

/// Whether a value could be what a person or a generator has chosen as a password.
pub(super) fn is_password(value: &str) -> bool {
    let value = unquoted(value);
    (SHORTEST..=512).contains(&value.len()) && !is_something_else(value) && !is_simple(value)
}

/// Whether a value looks as if a generator had made it.
pub(super) fn is_random(value: &str) -> bool {
    let value = unquoted(value);
    let value = value.strip_prefix("base64:").unwrap_or(value);
    if !(SHORTEST..=LONGEST).contains(&value.len())
        || is_something_else(value)
        || !value.bytes().all(|byte| byte.is_ascii_graphic())
    {
        return false;
    }
    if is_of_words(value) {
        return false;
    }
    let letters = has(value, u8::is_ascii_alphabetic);
    if !has(value, u8::is_ascii_digit) {
        let both = has(value, u8::is_ascii_uppercase) && has(value, u8::is_ascii_lowercase);
        return both && value.len() >= 24 && entropy(value) >= 4.0;
    }
    // Numbers alone are amounts, ports and ids.
    letters && entropy(value) >= if value.len() < 16 { 2.5 } else { 3.0 }
}

/// A word without what quotes it.
pub(super) fn unquoted(word: &str) -> &str {
    word.trim_matches(|c: char| matches!(c, '"' | '\'' | '`'))
}

/// A reference, a path, an address: no secret itself.
fn is_something_else(value: &str) -> bool {
    let begins = |beginnings: &[&str]| beginnings.iter().any(|beginning| value.starts_with(beginning));
    begins(&[
        "/", "./", "../", "~/", "arn:", "sha256:", "sha512:", "file:", "env:", "vault:", "secret:", "ref+", "op://",
        "@", "%", "ssm:",
    ]) || value.contains("://")
        || value.contains("${")
        || value.contains("$(")
        || value.contains("{{")
        || value.starts_with('$') && value.bytes().skip(1).all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        || value.starts_with('<') && value.ends_with('>')
        || is_drive(value)
        || is_of_known_words(value)
        || is_repeated(value)
        || is_sequence(value)
}

/// `C:\...`
fn is_drive(value: &str) -> bool {
    matches!(value.as_bytes(), [letter, b':', b'\\' | b'/', ..] if letter.is_ascii_alphabetic())
}

/// Numbers, addresses, times and settings.
fn is_simple(value: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b',' | b':' | b'-' | b'+' | b'_');
    let number = value.bytes().all(plain) && value.len() < 16;
    number || SETTINGS.contains(&value.to_ascii_lowercase().as_str())
}

fn is_of_known_words(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    let mut words = lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let known = |word: &str| {
        let word = word.trim_end_matches(|c: char| c.is_ascii_digit());
        word.is_empty() || KNOWN_WORDS.contains(&word) || SETTINGS.contains(&word)
    };
    // `p@ssw0rd`, as everybody writes it.
    words.all(known)
        || matches!(lower.as_str(), "p@ssw0rd" | "p@ssword" | "passw0rd" | "p@55w0rd" | "secr3t" | "s3cret")
}

/// `xxxxxxxx`, `********`, `0000-0000`.
fn is_repeated(value: &str) -> bool {
    let mut seen: Vec<u8> = value.bytes().filter(|byte| !matches!(byte, b'-' | b'_' | b'.')).collect();
    seen.sort_unstable();
    seen.dedup();
    seen.len() <= 2
}

/// `12345678`, `abcdefgh`, `0123456789abcdef`.
fn is_sequence(value: &str) -> bool {
    let pairs = value.as_bytes().windows(2);
    let steps = pairs.filter(|pair| matches!(pair, [one, other] if other.wrapping_sub(*one) == 1)).count();
    steps * 10 >= value.len().saturating_sub(1) * 8
}

/// Whether a value is made of words, numbers and what joins them: names of objects, versions, images, classes.
fn is_of_words(value: &str) -> bool {
    let joins = |c: char| matches!(c, '-' | '_' | '.' | '/' | ':' | ',' | '@' | '|' | ' ');
    let parts: Vec<&str> = value.split(joins).filter(|part| !part.is_empty()).collect();
    if parts.iter().all(|part| is_word(part)) {
        return true;
    }
    // A suffix that a controller has chosen, `default-token-x7k2p`, makes no secret.
    let letters: usize = parts.iter().filter(|part| is_letters(part)).map(|part| part.len()).sum();
    parts.len() >= 2 && letters * 2 >= value.len()
}

fn is_letters(part: &str) -> bool {
    part.len() >= 3 && part.bytes().all(|byte| byte.is_ascii_alphabetic()) && is_pronounced(part)
}

/// Letters, or a short number, or letters with a short number at their end or beginning: `v2`, `sha256`, `1h`.
fn is_word(part: &str) -> bool {
    let letters = part.trim_matches(|c: char| c.is_ascii_digit());
    let digits = part.len() - letters.len();
    let plain = letters.bytes().all(|byte| byte.is_ascii_alphabetic());
    plain && (digits <= 4 || letters.is_empty() && digits <= 12) && (letters.len() <= 3 || is_pronounced(letters))
}

/// Whether upper and lower case and vowels stand as in words: random letters do not.
fn is_pronounced(letters: &str) -> bool {
    let bytes = letters.as_bytes();
    let turns = bytes
        .windows(2)
        .filter(|pair| matches!(pair, [one, other] if one.is_ascii_lowercase() && other.is_ascii_uppercase()))
        .count();
    let vowels = bytes.iter().filter(|byte| b"aeiouyAEIOUY".contains(byte)).count();
    let all_upper = bytes.iter().all(u8::is_ascii_uppercase);
    turns * 5 <= letters.len() && (all_upper || vowels * 6 >= letters.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generators_make_random_values() {
        for value in [
            "9f86d081884c7d65",
            "kX7vQ2mZpL9wRt4B",
            "550e8400-e29b-41d4-a716-446655440000",
            "base64:3q2+7wABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGho=",
        ] {
            assert!(is_random(value), "{value}");
        }
        for value in [
            "client_secret_basic",
            "default-token-x7k2p",
            "org.acme.auth.Jwt2",
            "registry/app:1.27.3-alpine",
            "1500",
            "v1.2.3",
            "us-east-1",
        ] {
            assert!(!is_random(value), "{value}");
        }
    }

    #[test]
    fn what_everybody_knows_is_no_secret() {
        for value in [
            "changeme",
            "postgres",
            "my-secret-password",
            "<your password>",
            "${DB_PASSWORD}",
            "********",
            "12345678",
            "/run/secrets/db",
            "disabled",
        ] {
            assert!(!is_password(value), "{value}");
        }
        for value in ["correcthorsebattery", "Tr0ub4dor&3", "hunter2hunter2"] {
            assert!(is_password(value), "{value}");
        }
    }

    #[test]
    fn entropy_is_in_bits_for_each_byte() {
        assert!((entropy("abcdabcd") - 2.0).abs() < 1e-9);
        assert!(entropy("aaaa").abs() < 1e-9);
    }
}
