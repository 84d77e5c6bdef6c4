//! What looks like a secret is not written down.
//!
//! Names and forms are all that there is to go by: an environment's values are taken out whatever they are, of arguments and other texts
//! what is called a secret, or has the form of a known token. A secret that looks like any other word is not recognised.

mod base64;
mod names;
mod search;
#[cfg(test)]
mod tests;
mod tokens;
mod values;

use serde_json::Value;

use crate::moved::SECRETS_DIRECTORY;

pub use search::{secret_in_variable, secrets_in_arguments};
pub use tokens::is_service_account_token;

/// What stands in place of a secret.
pub const REDACTED: &str = "<redacted>";

/// Parts of names, in lower case and without `-`, `_` and `.`, whose values are secrets.
const NAMES: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "privatekey",
    "credential",
    "authorization",
    "cookie",
    "connectionstring",
];
/// Last words of names that are too short to look for anywhere.
const ENDS: &[&str] = &["pass", "pwd", "auth", "psk"];

/// Shortest token with such a beginning.
const TOKEN: usize = 16;
/// Shortest word that is taken for a key because it is of upper case, lower case and digits.
const RANDOM: usize = 32;

/// How many assignments are looked into, one in the value of the other; what is deeper is not shown.
const NESTED: usize = 16;

/// What the word after another one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Next {
    #[default]
    Anything,
    /// A secret.
    Secret,
    /// A user with a password, as curl's `-u me:password`.
    Login,
    /// The rest of that: a password may hold what separates words.
    Rest,
}

/// A text without the words that look like secrets.
#[must_use]
pub fn redact_text(text: &str) -> String {
    // A key over many lines.
    if text.contains("-----BEGIN") {
        return REDACTED.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let (mut is, mut named) = (Next::Anything, false);
    for piece in text.split_inclusive(separates) {
        let word = piece.trim_end_matches(separates);
        let rest = piece.get(word.len()..).unwrap_or_default();
        if word.is_empty() {
            out.push_str(rest);
            continue;
        }
        let (shown, next) = match is {
            Next::Secret if !is_scheme(word) => (Some(REDACTED.to_owned()), Next::Anything),
            Next::Login => (without_login(word), Next::Rest),
            Next::Rest => (Some(REDACTED.to_owned()), Next::Rest),
            Next::Secret | Next::Anything => redact_word(word),
        };
        let next = if next == Next::Rest && rest.contains(char::is_whitespace) { Next::Anything } else { next };
        let stays_secret = is == Next::Secret && is_scheme(word);
        is = if stays_secret || (named && matches!(word, "=" | ":")) { Next::Secret } else { next };
        // `password = x` and `"password" : "x"` are three words.
        named = is_secret_name(word);
        out.push_str(shown.as_deref().unwrap_or(word));
        out.push_str(rest);
    }
    // What is found as a secret is not written down, whatever hid it from the above.
    if search::in_text(&out).is_some() { REDACTED.to_owned() } else { out }
}

/// The same of a reader's error, which quotes texts that were not expected where they stand: whatever they are.
pub(crate) fn redact_error(text: &str) -> String {
    const QUOTED: &str = "string \"";
    let Some((before, rest)) = text.split_once(QUOTED) else { return redact_text(text) };
    // The reader quotes as Rust does; its own words come after the last quotation mark.
    let after = rest.rsplit_once('"').map_or("", |(_, after)| after);
    format!("{}string {REDACTED}{}", redact_text(before), redact_text(after))
}

/// Arguments of a program, without those that look like secrets or follow an option for one.
#[must_use]
pub fn redact_arguments<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut is = Next::Anything;
    let shown = arguments.into_iter().map(|argument| match std::mem::replace(&mut is, after_option(argument)) {
        Next::Secret => REDACTED.to_owned(),
        Next::Login => without_login(argument).unwrap_or_else(|| redact_text(argument)),
        Next::Anything | Next::Rest => redact_text(argument),
    });
    shown.collect()
}

/// A whole specification, without secrets: the values of its environments go whatever they are.
#[must_use]
pub fn redact_document(document: Value) -> Value {
    redact_value("", document)
}

/// A value of a specification at a place, without secrets.
pub(crate) fn redact_value(pointer: &str, value: Value) -> Value {
    let mut names = pointer.rsplit('/');
    let last = names.next().unwrap_or_default();
    // `/process/env/3` is an entry, `/annotations/my.token` a value by its name.
    let name = if last.bytes().all(|byte| byte.is_ascii_digit()) { names.next().unwrap_or_default() } else { last };
    // `/annotations/example.org~1pass`, RFC 6901 §4.
    of_name(&name.replace("~1", "/").replace("~0", "~"), value)
}

fn of_name(name: &str, value: Value) -> Value {
    match value {
        Value::String(text) if name == "env" => Value::String(redact_entry(&text)),
        Value::String(_) if is_secret_name(name) => Value::String(REDACTED.to_owned()),
        Value::String(text) => Value::String(redact_text(&text)),
        Value::Array(items) if name == "args" => {
            let texts = redact_arguments(items.iter().map(|item| item.as_str().unwrap_or_default()));
            Value::Array(texts.into_iter().map(Value::String).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(|item| of_name(name, item)).collect()),
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(key, value)| {
                let value = of_name(&key, value);
                (key, value)
            });
            Value::Object(fields.collect())
        }
        other => other,
    }
}

/// An entry of an environment: its name is shown.
fn redact_entry(entry: &str) -> String {
    match entry.split_once('=') {
        // Where a secret is to be found says nothing of it.
        Some((_, value)) if value.starts_with(SECRETS_DIRECTORY) => entry.to_owned(),
        Some((name, _)) => format!("{name}={REDACTED}"),
        None => redact_text(entry),
    }
}

fn separates(c: char) -> bool {
    c.is_whitespace() || matches!(c, ',' | ';' | '&' | '|' | '?')
}

/// `Authorization: Bearer <token>` has a word between.
fn is_scheme(word: &str) -> bool {
    ["bearer", "basic", "token", "digest"].contains(&word.to_ascii_lowercase().as_str())
}

/// What is shown in place of a word, if it is not the word itself, and what the next one is.
fn redact_word(word: &str) -> (Option<String>, Next) {
    redact_nested(word, NESTED)
}

fn redact_nested(word: &str, deeper: usize) -> (Option<String>, Next) {
    if let Some(shown) = without_password(word) {
        return (Some(shown), Next::Anything);
    }
    if let Some((name, value)) = word.split_once(['=', ':']) {
        let sign = word.get(name.len()..=name.len()).unwrap_or_default();
        // `/secret/db/password=x` assigns, where `/run/secrets: …` speaks of a path.
        let named = if sign == "=" { name.rsplit('/').next().unwrap_or(name) } else { name };
        if is_secret_name(named) {
            return if unquoted(value).is_empty() {
                (None, Next::Secret)
            } else {
                (Some(format!("{name}{sign}{REDACTED}")), Next::Anything)
            };
        }
        if let Some(shown) = login_in_option(name, sign, value) {
            return (Some(shown), Next::Anything);
        }
        let Some(deeper) = deeper.checked_sub(1) else { return (Some(REDACTED.to_owned()), Next::Anything) };
        // `--set=db.password=x` names it only in its value.
        if let (Some(shown), next) = redact_nested(value, deeper) {
            return (Some(format!("{name}{sign}{shown}")), next);
        }
    }
    if is_token(unquoted(word)) { (Some(REDACTED.to_owned()), Next::Anything) } else { (None, after_option(word)) }
}

/// Options of curl, and of programs that go by it, whose value is `user:password`.
fn is_option_for_login(word: &str) -> bool {
    matches!(unquoted(word), "-u" | "-U" | "--user" | "--proxy-user")
}

/// `--user=me:password` and `-ume:password`.
fn login_in_option(name: &str, sign: &str, value: &str) -> Option<String> {
    if sign == "=" {
        return is_option_for_login(name)
            .then(|| without_login(value))
            .flatten()
            .map(|shown| format!("{name}={shown}"));
    }
    let user = unquoted(name).strip_prefix("-u").or_else(|| unquoted(name).strip_prefix("-U"))?;
    let shown = without_login(&format!("{user}{sign}{value}"))?;
    Some(format!("{}{shown}", name.strip_suffix(user)?))
}

/// `user:password`, but not two numbers: `--user 1000:1000` names a user and a group.
fn without_login(word: &str) -> Option<String> {
    let (user, password) = word.split_once(':')?;
    let is_number = |text: &str| unquoted(text).bytes().all(|byte| byte.is_ascii_digit());
    let is_ids = is_number(user) && is_number(password);
    (!is_ids && !password.is_empty()).then(|| format!("{user}:{REDACTED}"))
}

/// `scheme://user:password@host`, or `scheme://token@host`.
fn without_password(word: &str) -> Option<String> {
    let (scheme, rest) = word.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (user, _) = authority.rsplit_once('@')?;
    Some(format!("{scheme}://{REDACTED}{}", rest.get(user.len()..)?))
}

fn unquoted(word: &str) -> &str {
    word.trim_matches(|c: char| matches!(c, '"' | '\'' | '`' | '[' | ']' | '{' | '}' | '(' | ')'))
}

/// What the argument after this one is: `--password` and `-u` have their values there.
fn after_option(word: &str) -> Next {
    let option = unquoted(word);
    if is_option_for_login(option) {
        Next::Login
    } else if option.starts_with('-') && !option.contains('=') && is_secret_name(option) {
        Next::Secret
    } else {
        Next::Anything
    }
}

fn is_secret_name(name: &str) -> bool {
    let name = unquoted(name);
    // A sentence is no name.
    if name.is_empty() || name.len() > 128 || name.contains(char::is_whitespace) {
        return false;
    }
    // Nor is a path; an annotation's name has a domain before it.
    if name.starts_with('/') {
        return false;
    }
    let name = name.rsplit('/').next().unwrap_or(name);
    let last = name.rsplit(['-', '_', '.']).next().unwrap_or(name).to_ascii_lowercase();
    let plain: String = name.chars().filter(|c| !matches!(c, '-' | '_' | '.')).collect::<String>().to_ascii_lowercase();
    NAMES.iter().any(|part| plain.contains(part)) || ENDS.contains(&last.as_str())
}

fn is_token(word: &str) -> bool {
    let is_plain = |word: &str| word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.+/=~".contains(&byte));
    if word.len() < TOKEN || !is_plain(word) {
        return false;
    }
    // A JSON Web Token: RFC 7519 with an object at its beginning.
    let is_jwt = word.starts_with("eyJ") && word.bytes().filter(|byte| *byte == b'.').count() == 2;
    is_jwt || tokens::is_like_token(word) || is_random(word)
}

/// Base64 of something that nobody can remember. Digests and ids are in lower case, and paths have their slashes.
fn is_random(word: &str) -> bool {
    let has = |kind: fn(&u8) -> bool| word.bytes().any(|byte| kind(&byte));
    word.len() >= RANDOM
        && !word.starts_with('/')
        && !word.contains('.')
        && word.bytes().filter(|byte| *byte == b'/').count() <= word.len() / 16
        && has(u8::is_ascii_uppercase)
        && has(u8::is_ascii_lowercase)
        && has(u8::is_ascii_digit)
}

#[cfg(test)]
mod redaction {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_called_a_secret_is_none_of_anybodys_business() {
        for (text, shown) in [
            ("--password=hunter2 --user=me", "--password=<redacted> --user=me"),
            ("--db-password hunter2 now", "--db-password <redacted> now"),
            ("DB_PASS=hunter2", "DB_PASS=<redacted>"),
            ("user=me,password=hunter2,vers=3", "user=me,password=<redacted>,vers=3"),
            (r#"option "password=hunter2" is not known"#, r#"option "password=<redacted> is not known"#),
            (r#"{"apiKey":"hunter2","a":1}"#, r#"{"apiKey":<redacted>,"a":1}"#),
            ("postgres://me:hunter2@db:5432/x", "postgres://<redacted>@db:5432/x"),
            ("-H Authorization: Bearer hunter2 x", "-H Authorization: Bearer <redacted> x"),
            ("key ghp_0123456789abcdefghij", "key <redacted>"),
            ("eyJhbGciOi.eyJzdWIiOi.c2lnbmF0dXJl", "<redacted>"),
            ("binary:///usr/bin/log?level=1&token=hunter2", "binary:///usr/bin/log?level=1&token=<redacted>"),
            ("key -----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY-----", "<redacted>"),
            ("x=Zm9vYmFyMDEyMzQ1Njc4OUFCQ0RFRkdISUo=", "x=<redacted>"),
            ("x:ghp_0123456789abcdefghij", "x:<redacted>"),
            ("git clone https://ghp_0123456789abcdefghij@github.com/x", "git clone https://<redacted>@github.com/x"),
            ("--url=https://me:hunter2@h/x", "--url=https://<redacted>@h/x"),
            ("--from-literal=password=hunter2", "--from-literal=password=<redacted>"),
            ("--set=db.password=hunter2,db.user=me", "--set=db.password=<redacted>,db.user=me"),
            ("--env=DB_PASSWORD=hunter2 -e A=B=C", "--env=DB_PASSWORD=<redacted> -e A=B=C"),
            ("password = hunter2", "password = <redacted>"),
            (r#"{"password" : "hunter2"}"#, r#"{"password" : <redacted>"#),
            ("curl -u me:hunter2 http://h", "curl -u me:<redacted> http://h"),
            ("curl -ume:hunter2 --user 'me:hunter2'", "curl -ume:<redacted> --user 'me:<redacted>"),
            ("--user=me:hunter2 --proxy-user me:hunter2", "--user=me:<redacted> --proxy-user me:<redacted>"),
            ("curl -u me:hun,ter,2 -U me:1234", "curl -u me:<redacted>,<redacted>,<redacted> -U me:<redacted>"),
            ("vault kv put /secret/db/password=hunter2", "vault kv put /secret/db/password=<redacted>"),
        ] {
            assert_eq!(redact_text(text), shown);
        }
    }

    /// Anybody who may run a command in a container chooses its words.
    #[test]
    fn a_word_of_a_million_assignments_is_cut_off() {
        for piece in ["a=", "a:", "-ua:", "x=SG."] {
            let shown = redact_text(&piece.repeat(500_000));
            assert!(shown.ends_with(REDACTED) && shown.len() < 1000, "{piece} {}", shown.len());
        }
        let deep = format!("{}password=hunter2", "a=".repeat(NESTED - 1));
        assert!(redact_text(&deep).ends_with("password=<redacted>"));
    }

    #[test]
    fn other_words_stay_as_they_are() {
        for text in [
            "/var/lib/kubelet/pods/0a1b2c3d-0000-4000-8000-000000000000/volumes",
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "docker.io/library/busybox:1.36 runs as 65532, not 0",
            "mode=755,size=65536k",
            "docker run -u 1000:1000 --user=0:0 --user me -u",
            "the process would be in group root",
            "LD_PRELOAD",
            "\"/run/secrets\": is in /run",
            "a bypass: none",
            "a: b; c|d&e",
            "",
            " , ",
        ] {
            assert_eq!(redact_text(text), text);
        }
    }

    #[test]
    fn an_error_does_not_quote_what_was_read() {
        let error = serde_json::from_str::<Vec<String>>(r#""hunter2 \"and\" more""#).unwrap_err().to_string();
        assert!(error.contains("hunter2"), "{error}");
        let shown = redact_error(&error);
        assert_eq!(shown, "invalid type: string <redacted>, expected a sequence at line 1 column 22");
        assert_eq!(redact_error("/a appears twice"), "/a appears twice");
    }

    proptest! {
        #[test]
        fn whatever_stands_around_it_a_secret_is_taken_out_and_that_is_all(before in "\\PC{0,40}", secret in "[a-z0-9]{12,20}q", after in "\\PC{0,40}") {
            for text in [
                format!("{before} password={secret} {after}"),
                format!("{before} --api-key {secret} {after}"),
                format!("{before} {{\"token\":\"{secret}\"}} {after}"),
                format!("{before} https://me:{secret}@host/ {after}"),
            ] {
                let shown = redact_text(&text);
                prop_assert!(!shown.contains(&secret) || before.contains(&secret) || after.contains(&secret), "{shown}");
                prop_assert_eq!(redact_text(&shown), shown.clone());
            }
        }
    }

    #[test]
    fn arguments_after_an_option_and_every_value_of_an_environment_go() {
        let arguments = redact_arguments(["mysql", "--password", "my hunter2", "-e", "select 1"]);
        assert_eq!(arguments, ["mysql", "--password", REDACTED, "-e", "select 1"]);
        let arguments = redact_arguments(["curl", "-u", "me:hunter2 x,y", "-U", "1:1", "--user", "me"]);
        assert_eq!(arguments, ["curl", "-u", "me:<redacted>", "-U", "1:1", "--user", "me"]);
        let hook =
            json!({"path": "/h", "args": ["h", "--token", "hunter2"], "env": ["A=hunter2"], "secret": "hunter2"});
        let shown = redact_value("/hooks/prestart/0", hook);
        assert_eq!(
            shown,
            json!({"path": "/h", "args": ["h", "--token", REDACTED], "env": ["A=<redacted>"], "secret": REDACTED})
        );
        assert_eq!(redact_value("/process/env/3", json!("A=hunter2")), "A=<redacted>");
        assert_eq!(redact_value("/annotations/my.token", json!("hunter2")), REDACTED);
        assert_eq!(redact_value("/annotations/example.org~1pass", json!("hunter2")), REDACTED);
        assert_eq!(redact_value("/linux/resources/pids/limit", json!(3)), 3);
    }
}
