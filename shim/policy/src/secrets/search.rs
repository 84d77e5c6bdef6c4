//! Secrets in an environment and in arguments. Redaction errs to hiding, this errs to leaving alone: a container is refused or changed for what
//! is found here. Every text is read a fixed number of times.

use super::names::{Promise, promise};
use super::values::{SHORTEST, is_password, is_random, unquoted};
use super::{is_secret_name, tokens};

/// The longest authority of an address (RFC 3986) that is looked into.
const AUTHORITY: usize = 1024;

/// What is secret in a variable's value, if anything.
#[must_use]
pub fn secret_in_variable(name: &str, value: &str) -> Option<&'static str> {
    by_name(name, value).or_else(|| in_text(value))
}

/// Which of a program's arguments are or hold secrets: index and what it is.
#[must_use]
pub fn secrets_in_arguments<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Vec<(usize, &'static str)> {
    let mut option = None;
    let mut found = Vec::new();
    for (at, argument) in arguments.into_iter().enumerate() {
        let of_option = option.and_then(|name| by_name(name, argument));
        if let Some(what) = of_option.or_else(|| in_text(argument)) {
            found.push((at, what));
        }
        let is_option = argument.starts_with('-') && !argument.contains(['=', ' ', ':']);
        option = is_option.then_some(argument);
    }
    found
}

pub(super) fn in_text(text: &str) -> Option<&'static str> {
    // Most values are too short to hold anything.
    if text.len() < SHORTEST {
        return None;
    }
    tokens::find(text).or_else(|| in_addresses(text)).or_else(|| in_assignments(text))
}

fn by_name(name: &str, value: &str) -> Option<&'static str> {
    // Before anybody looks at the name: most values are no candidates.
    if value.len() < SHORTEST {
        return None;
    }
    match promise(name, is_secret_name(name)) {
        Promise::Password if is_password(value) => Some("a password, by its name"),
        Promise::Secret if is_random(value) => Some("a secret, by its name and form"),
        Promise::Password | Promise::Secret | Promise::Nothing => None,
    }
}

/// `scheme://user:password@host`.
fn in_addresses(text: &str) -> Option<&'static str> {
    let mut places = text.match_indices("://").filter_map(|(at, sign)| text.get(at + sign.len()..));
    places.any(has_password).then_some("an address with a password")
}

fn has_password(rest: &str) -> bool {
    let ends =
        |c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '"' | '\'' | '<' | '>' | '\\' | '^' | '`' | '|');
    let end = rest.char_indices().take(AUTHORITY).find(|(at, c)| ends(*c) || at + c.len_utf8() > AUTHORITY);
    let end = end.map_or_else(|| rest.len().min(AUTHORITY), |(end, _)| end);
    let Some(authority) = rest.get(..end) else { return false };
    let Some((user_info, host)) = authority.rsplit_once('@') else { return false };
    let Some((user, password)) = user_info.split_once(':') else {
        // A token in the place of a user. What Sentry calls a DSN has a public key there.
        return user_info.len() >= 16 && !host.contains("sentry") && is_random(user_info);
    };
    // `postgres:postgres@` is everybody's.
    password.len() >= 6
        && password != user
        && (is_password(password) || password.len() < 8 && is_short_password(password))
}

/// Six or seven characters: of letters and digits, or signs.
fn is_short_password(text: &str) -> bool {
    let padded = format!("{text}{text}");
    text.bytes().any(|byte| !byte.is_ascii_lowercase())
        && is_password(&padded)
        && !text.bytes().all(|byte| byte.is_ascii_digit())
        && is_password(&format!("{text}xq"))
}

/// `name=value` and `"name": "value"` within a longer text: options of a program, connection strings, JSON.
fn in_assignments(text: &str) -> Option<&'static str> {
    let mut pending: Option<&str> = None;
    for word in text.split(separates).filter(|word| !word.is_empty()) {
        // `password: x` may be a sentence.
        let is_named = pending.take().is_some_and(|name| promise(name, is_secret_name(name)) != Promise::Nothing);
        if is_named && is_random(word) {
            return Some("a secret, by its name and form");
        }
        let Some((name, value)) = word.split_once(['=', ':']) else { continue };
        let (name, value) = (own_name(name), unquoted(value.trim_start_matches('=')));
        if value.is_empty() {
            pending = Some(name);
        } else if let Some(what) = of_connection(name, value).or_else(|| by_name(name, value)).or_else(|| nested(value))
        {
            return Some(what);
        }
    }
    None
}

/// `-Dpassword=x`, `--set=db.password=x`: without what is before the name.
fn own_name(name: &str) -> &str {
    let name = unquoted(name);
    let name = name.rsplit('/').next().unwrap_or(name);
    name.strip_prefix("-D").unwrap_or(name)
}

/// `--set=db.password=x`.
fn nested(value: &str) -> Option<&'static str> {
    let (name, value) = value.split_once('=')?;
    by_name(own_name(name), value)
}

/// Azure's connection strings and signed addresses.
fn of_connection(name: &str, value: &str) -> Option<&'static str> {
    let is_key = value.len() >= 40 && is_random(value);
    match name {
        "AccountKey" | "SharedAccessKey" if is_key => Some("an Azure key"),
        "sig" | "SharedAccessSignature" if is_key => Some("a signed address"),
        _ => None,
    }
}

fn separates(c: char) -> bool {
    c.is_whitespace() || matches!(c, ',' | ';' | '&' | '|' | '?' | '(' | ')' | '{' | '}' | '[' | ']')
}
