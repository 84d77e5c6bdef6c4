//! What the name of a variable or an option says of its value.

/// Last words of names that are about a secret and hold none.
const ABOUT: &[&str] = &[
    "algorithm",
    "alg",
    "arn",
    "attempts",
    "audience",
    "backend",
    "bits",
    "bytes",
    "cipher",
    "claim",
    "claims",
    "class",
    "command",
    "config",
    "configmap",
    "cookie_name",
    "count",
    "days",
    "dir",
    "directory",
    "domain",
    "enabled",
    "encoder",
    "encoding",
    "endpoint",
    "engine",
    "env",
    "exp",
    "expiration",
    "expires",
    "expiry",
    "field",
    "file",
    "filename",
    "files",
    "filter",
    "format",
    "group",
    "hash",
    "hasher",
    "hashers",
    "header",
    "headers",
    "helper",
    "host",
    "hosts",
    "hours",
    "id",
    "ids",
    "interval",
    "issuer",
    "issuers",
    "kind",
    "label",
    "length",
    "level",
    "lifespan",
    "lifetime",
    "limit",
    "location",
    "manager",
    "max",
    "method",
    "methods",
    "min",
    "mode",
    "model",
    "module",
    "mount",
    "name",
    "names",
    "namespace",
    "path",
    "paths",
    "plugin",
    "policy",
    "port",
    "prefix",
    "provider",
    "providers",
    "quota",
    "realm",
    "ref",
    "refresh",
    "region",
    "required",
    "role",
    "scheme",
    "scope",
    "scopes",
    "seconds",
    "server",
    "size",
    "source",
    "store",
    "strategy",
    "suffix",
    "timeout",
    "ttl",
    "type",
    "types",
    "uri",
    "url",
    "urls",
    "user",
    "username",
    "users",
    "validator",
    "validators",
    "vendor",
    "version",
    "volume",
];

/// Words that make a name one of something public.
const PUBLIC: &[&str] =
    &["public", "publishable", "tokenizer", "tokenizers", "passwordless", "anon", "checksum", "fingerprint", "example"];

/// Further parts of names, as redaction's, whose values are secrets where they look random.
const KEYS: &[&str] = &[
    "masterkey",
    "fernetkey",
    "encryptionkey",
    "encryptkey",
    "signingkey",
    "signkey",
    "appkey",
    "cryptokey",
    "hmackey",
    "aeskey",
    "jwtkey",
    "sharedkey",
    "accountkey",
    "storagekey",
    "licensekey",
    "sessionkey",
    "servicekey",
    "deploykey",
    "primarykey",
    "secondarykey",
    "hashkey",
    "keybase",
    "webhookkey",
    "adminkey",
    "cipherkey",
    "datakey",
    "salt",
];

/// Last words that are too short to look for anywhere.
const KEY_ENDS: &[&str] = &["pat", "sas", "creds", "cred"];

/// What a name promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Promise {
    /// A password, which people choose as well.
    Password,
    /// Something secret, which generators make.
    Secret,
    /// Nothing, or something that is not secret.
    Nothing,
}

/// What a name promises. `is_secret` is what redaction thinks of it.
pub(super) fn promise(name: &str, is_secret: bool) -> Promise {
    let name = name.trim_start_matches('-').to_ascii_lowercase();
    let words: Vec<&str> = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let plain: String = words.concat();
    let last = words.last().copied().unwrap_or_default();
    let key = KEYS.iter().any(|key| plain.contains(key)) || KEY_ENDS.contains(&last);
    if plain.is_empty() || !(is_secret || key) || words.iter().any(|word| PUBLIC.contains(word)) {
        return Promise::Nothing;
    }
    // `VAULT_SECRET_ID` is one, `AWS_ACCESS_KEY_ID` is none.
    let is_approle = plain.ends_with("secretid");
    if ABOUT.contains(&last) && !is_approle {
        return Promise::Nothing;
    }
    let ends = ["password", "passwd", "passphrase", "pwd"].iter().any(|end| plain.ends_with(end)) || last == "pass";
    if ends && !matches!(plain.as_str(), "pwd" | "oldpwd") { Promise::Password } else { Promise::Secret }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_about_secrets_are_none() {
        for name in ["DB_PASSWORD_FILE", "AWS_ACCESS_KEY_ID", "SECRET_NAME", "TOKEN_TTL", "JWT_PUBLIC_SECRET", "HOME"] {
            assert_eq!(promise(name, name != "HOME"), Promise::Nothing, "{name}");
        }
        for name in ["DB_PASSWORD", "PGPASSWORD", "--db-pass", "javax.net.ssl.keyStorePassword"] {
            assert_eq!(promise(name, true), Promise::Password, "{name}");
        }
        for name in ["API_TOKEN", "VAULT_SECRET_ID", "CLIENT_SECRET"] {
            assert_eq!(promise(name, true), Promise::Secret, "{name}");
        }
        assert_eq!(promise("AIRFLOW__CORE__FERNET_KEY", false), Promise::Secret);
    }
}
