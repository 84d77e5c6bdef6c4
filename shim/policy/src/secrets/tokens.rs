//! The forms of tokens, as their issuers document them: one table for what is found and for what is not written down.
//!
//! A form is a beginning, the characters that may follow, and how many of them. Each place of a text is looked at a bounded number of times.

use std::ops::RangeInclusive;
use std::sync::LazyLock;

use super::base64;
use super::values::{entropy, has};

/// One form.
struct Format {
    what: &'static str,
    prefixes: &'static [&'static str],
    body: fn(u8) -> bool,
    /// How many characters follow the prefix.
    lengths: RangeInclusive<usize>,
    check: fn(&str) -> bool,
}

/// The shortest token, with its beginning.
const SHORTEST: usize = 20;
/// Longer runs are no token but data.
const LONGEST: usize = 4096;
/// The shortest signature of a JSON Web Token.
const SIGNATURE: usize = 16;
/// Dots at the end of a sentence that are looked at with a token, and one more than belongs to it.
const DOTS: usize = 4;

fn alnum(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}
fn word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}
fn dotted(byte: u8) -> bool {
    word(byte) || byte == b'.'
}
fn base64_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'_' | b'-')
}
fn base32(byte: u8) -> bool {
    byte.is_ascii_uppercase() || (b'2'..=b'7').contains(&byte)
}
fn hex(byte: u8) -> bool {
    byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)
}
fn bech32(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}
fn any(_: &str) -> bool {
    true
}
/// Letters and digits, or letters of both cases as no word has them.
fn mixed(body: &str) -> bool {
    let cases = has(body, u8::is_ascii_uppercase) && has(body, u8::is_ascii_lowercase);
    let digits = has(body, u8::is_ascii_digit) && has(body, u8::is_ascii_alphabetic);
    digits && entropy(body) >= 3.0 || cases && entropy(body) >= 3.8
}
/// `sk-` begins names as well: a part of it has to be random.
fn random_part(body: &str) -> bool {
    body.split(['-', '_']).any(|part| part.len() >= 20 && mixed(part))
}
fn sendgrid(body: &str) -> bool {
    body.split_once('.').is_some_and(|(id, key)| id.len() == 22 && key.len() == 43 && !key.contains('.'))
}
fn github_pat(body: &str) -> bool {
    body.split_once('_').is_some_and(|(id, key)| id.len() == 22 && key.len() == 59)
}
fn grafana(body: &str) -> bool {
    body.split_once('_').is_some_and(|(key, check)| key.len() == 32 && check.len() == 8)
}

macro_rules! formats {
    ($($what:literal, [$($prefix:literal),+], $body:expr, $lengths:expr, $check:expr;)+) => {
        &[$(Format { what: $what, prefixes: &[$($prefix),+], body: $body, lengths: $lengths, check: $check }),+]
    };
}

/// By issuer. The last one is for its beginning alone: [`jwt`] knows the rest.
static FORMATS: &[Format] = formats! {
    "an AWS access key", ["AKIA", "ASIA", "ABIA", "ACCA"], base32, 16..=16, any;
    "an Amazon Bedrock key", ["ABSKQmVkcm9ja0FQSUtleS"], base64_char, 80..=400, any;
    "a GitHub token", ["ghp_", "gho_", "ghu_", "ghr_"], alnum, 36..=255, mixed;
    "a GitHub token", ["ghs_"], dotted, 36..=1024, mixed;
    "a GitHub token", ["github_pat_"], word, 82..=82, github_pat;
    "a GitLab token", ["glpat-", "gldt-", "glrt-", "glptt-", "glft-", "glimt-", "glsoat-", "glffct-", "glcbt-", "glagent-", "gloas-"], dotted, 20..=300, any;
    "a GitLab runner token", ["GR1348941"], word, 20..=50, mixed;
    "a Google API key", ["AIza"], word, 35..=35, mixed;
    "a Google OAuth token", ["ya29."], word, 20..=2048, mixed;
    "a Google client secret", ["GOCSPX-"], word, 28..=28, any;
    "a Slack token", ["xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", "xoxe-", "xoxe.", "xoxc-", "xoxd-", "xapp-"], dotted, 20..=512, mixed;
    "a Stripe key", ["sk_live_", "sk_test_", "rk_live_", "rk_test_"], alnum, 16..=247, mixed;
    "a webhook secret", ["whsec_"], base64_char, 24..=128, mixed;
    "an npm token", ["npm_"], alnum, 36..=36, mixed;
    "a PyPI token", ["pypi-Ag"], word, 50..=1024, mixed;
    "a RubyGems key", ["rubygems_"], hex, 48..=48, mixed;
    "a crates.io token", ["cio"], alnum, 32..=32, |body| mixed(body) && has(body, u8::is_ascii_uppercase);
    "a SendGrid key", ["SG."], dotted, 66..=66, sendgrid;
    "a Twilio key", ["SK"], hex, 32..=32, mixed;
    "a Mailgun key", ["key-"], hex, 32..=32, mixed;
    "a Brevo key", ["xkeysib-"], word, 81..=81, any;
    "a Hugging Face token", ["hf_", "api_org_"], alnum, 34..=34, |body| entropy(body) >= 3.5;
    "an Anthropic key", ["sk-ant-"], word, 80..=200, random_part;
    "an OpenAI key", ["sk-proj-", "sk-svcacct-", "sk-admin-"], word, 40..=300, random_part;
    "an API key", ["sk-"], word, 32..=300, random_part;
    "a Groq key", ["gsk_"], alnum, 52..=52, mixed;
    "an xAI key", ["xai-"], alnum, 80..=80, mixed;
    "a Replicate token", ["r8_"], alnum, 37..=37, mixed;
    "a Perplexity key", ["pplx-"], alnum, 48..=48, mixed;
    "a Docker Hub token", ["dckr_pat_", "dckr_oat_"], word, 27..=40, any;
    "a Vault token", ["hvs.", "hvb.", "hvr."], word, 24..=512, mixed;
    "a Consul or Terraform token", ["atlasv1."], word, 60..=80, any;
    "an age key", ["AGE-SECRET-KEY-1", "AGE-PLUGIN-"], bech32, 58..=58, any;
    "a DigitalOcean token", ["dop_v1_", "doo_v1_", "dor_v1_"], hex, 64..=64, mixed;
    "a Databricks token", ["dapi"], hex, 32..=32, mixed;
    "a Grafana token", ["glsa_"], word, 41..=41, grafana;
    "a Grafana Cloud token", ["glc_"], base64_char, 32..=400, mixed;
    "a Sentry token", ["sntrys_"], base64_char, 64..=400, mixed;
    "a Sentry token", ["sntryu_"], hex, 64..=64, mixed;
    "a New Relic key", ["NRAK-", "NRII-"], word, 27..=32, mixed;
    "a Shopify token", ["shpat_", "shpss_", "shpca_", "shppa_"], hex, 32..=32, mixed;
    "a Square token", ["sq0atp-", "sq0csp-"], word, 22..=60, mixed;
    "an Atlassian token", ["ATATT3", "ATCTT3", "ATBB"], base64_char, 24..=300, mixed;
    "a Linear key", ["lin_api_"], alnum, 40..=40, mixed;
    "a PlanetScale token", ["pscale_tkn_", "pscale_pw_", "pscale_oauth_"], dotted, 32..=64, mixed;
    "a Doppler token", ["dp.pt.", "dp.st.", "dp.ct.", "dp.sa."], dotted, 40..=64, mixed;
    "a Pulumi token", ["pul-"], hex, 40..=40, mixed;
    "a Heroku key", ["HRKU-"], word, 36..=64, mixed;
    "a Netlify token", ["nfp_"], alnum, 36..=40, mixed;
    "a Tailscale key", ["tskey-"], word, 20..=80, mixed;
    "a Postman key", ["PMAK-"], word, 59..=59, mixed;
    "a Figma token", ["figd_"], word, 40..=60, mixed;
    "a Notion token", ["ntn_"], alnum, 40..=60, mixed;
    "a CircleCI token", ["CCIPAT_"], word, 40..=80, mixed;
    "a Buildkite token", ["bkua_"], hex, 40..=40, mixed;
    "an Artifactory key", ["AKCp"], alnum, 60..=80, mixed;
    "a 1Password token", ["ops_eyJ"], base64_char, 100..=4000, any;
    "a Prefect key", ["pnu_", "pnb_"], alnum, 36..=36, mixed;
    "a Dynatrace token", ["dt0c01."], dotted, 89..=89, any;
    "a Fly token", ["fm2_"], base64_char, 80..=4000, any;
    "a JSON Web Token", ["eyJ"], word, 0..=0, |_| false;
};

/// Beginnings after which everything is hidden, whatever its length: what is written down errs to that side.
const HINTS: &[&str] = &[
    "AKIA",
    "ASIA",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "xoxa-",
    "xoxs-",
    "sk-",
    "sk_live_",
    "rk_live_",
    "AIza",
    "ya29.",
    "npm_",
    "pypi-",
    "hvs.",
    "dop_v1_",
];

/// Whether a word is, or begins as, a token.
pub(super) fn is_like_token(word: &str) -> bool {
    HINTS.iter().any(|hint| word.starts_with(hint)) || find(word).is_some()
}

/// The first token in a text: what it is.
pub(super) fn find(text: &str) -> Option<&'static str> {
    pem(text)
        .or_else(|| by_prefix(text))
        .or_else(|| azure_client_secret(text))
        .or_else(|| telegram(text))
        .or_else(|| webhook(text))
}

fn by_prefix(text: &str) -> Option<&'static str> {
    let bytes = text.as_bytes();
    let forms = &*BY_FIRST;
    let last = bytes.len().checked_sub(SHORTEST)?;
    (0..=last).find_map(|at| {
        let candidates = forms.get(usize::from(*bytes.get(at)?)).filter(|forms| !forms.is_empty())?;
        let rest = bytes.get(at..).filter(|_| is_boundary(bytes, at))?;
        let matching = || candidates.iter().find(|format| format.matches(rest)).map(|format| format.what);
        jwt(rest).or_else(matching)
    })
}

/// Whether a word can begin here.
fn is_boundary(bytes: &[u8], at: usize) -> bool {
    at.checked_sub(1).and_then(|before| bytes.get(before)).is_none_or(|before| !word(*before))
}

/// The forms by their first byte: most places of a text are passed over by this.
static BY_FIRST: LazyLock<Vec<Vec<&'static Format>>> = LazyLock::new(|| {
    let begins =
        |format: &Format, byte: u8| format.prefixes.iter().any(|prefix| prefix.as_bytes().first() == Some(&byte));
    let of = |byte: u8| FORMATS.iter().filter(|format| begins(format, byte)).collect();
    (0..=u8::MAX).map(of).collect()
});

impl Format {
    fn matches(&self, rest: &[u8]) -> bool {
        self.prefixes.iter().any(|prefix| {
            let Some(rest) = rest.strip_prefix(prefix.as_bytes()) else { return false };
            // No further than tells that it is too long: a text can begin a token at every third byte.
            let body = run(rest, self.body, self.lengths.end() + DOTS);
            // A sentence or a host name goes on with a dot.
            let body = body.trim_end_matches('.');
            // What goes on after it is another, longer word.
            let ends = rest.get(body.len()).is_none_or(|next| !alnum(*next) && *next != b'_');
            ends && self.lengths.contains(&body.len()) && (self.check)(body)
        })
    }
}

/// The characters of a kind at the beginning, `most` of them at most.
fn run(bytes: &[u8], kind: fn(u8) -> bool, most: usize) -> &str {
    let length = bytes.iter().take(most).take_while(|byte| kind(**byte)).count();
    bytes.get(..length).and_then(|run| std::str::from_utf8(run).ok()).unwrap_or_default()
}

/// RFC 7519: an object in base64 with a member `alg`, another object, a signature.
fn jwt(bytes: &[u8]) -> Option<&'static str> {
    if !bytes.starts_with(b"eyJ") {
        return None;
    }
    let header = run(bytes, word, LONGEST + 1);
    let rest = bytes.get(header.len()..)?.strip_prefix(b".eyJ")?;
    let claims = run(rest, word, LONGEST + 1);
    let signature = run(rest.get(claims.len()..)?.strip_prefix(b".")?, word, LONGEST + 1);
    let decoded = base64::decode(header);
    let has_alg = decoded.windows(5).any(|window| window == b"\"alg\"");
    (has_alg && signature.len() >= SIGNATURE).then_some("a JSON Web Token")
}

/// Whether a file's content is a token that Kubernetes has issued to a service account: a JSON Web Token with its claims
/// (Kubernetes `pkg/serviceaccount`), however many audiences its author has asked for.
#[must_use]
pub fn is_service_account_token(content: &str) -> bool {
    let content = content.trim();
    let parts: Vec<&str> = content.split('.').collect();
    let [header, claims, signature] = parts.as_slice() else { return false };
    let is_web_token = header.starts_with("eyJ") && claims.starts_with("eyJ") && signature.len() >= SIGNATURE;
    if !is_web_token || !parts.iter().all(|part| part.bytes().all(word)) {
        return false;
    }
    let has = |part: &str, text: &[u8]| base64::decode(part).windows(text.len()).any(|window| window == text);
    has(header, b"\"alg\"") && (has(claims, b"kubernetes.io") || has(claims, b"system:serviceaccount:"))
}

/// RFC 7468, OpenSSH, OpenPGP: also as base64 of the whole file.
fn pem(text: &str) -> Option<&'static str> {
    let bytes = text.as_bytes();
    let from = |at: usize, length: usize| bytes.get(at..bytes.len().min(at + length)).unwrap_or_default();
    let is_key = |beginning: &[u8]| beginning.windows(11).any(|window| window == b"PRIVATE KEY");
    let plain = text.match_indices("-----BEGIN ").any(|(at, _)| {
        let label = from(at, 64).split(|byte| matches!(byte, b'\n' | b'\\')).next();
        label.is_some_and(is_key)
    });
    let encoded = || {
        // The beginning of the file, in base64.
        let mut places = text.match_indices("LS0tLS1CRUdJTi").map(|(at, _)| from(at, 64));
        places.any(|beginning| std::str::from_utf8(beginning).is_ok_and(|text| is_key(&base64::decode(text))))
    };
    (plain || encoded()).then_some("a private key")
}

/// Entra ID: three characters, a digit, `Q~` and 31 to 34 more.
fn azure_client_secret(text: &str) -> Option<&'static str> {
    let body = |byte: u8| word(byte) || byte == b'.' || byte == b'~';
    let bytes = text.as_bytes();
    let found = text.match_indices("Q~").any(|(at, _)| {
        let Some(begin) = at.checked_sub(4) else { return false };
        let digit = at.checked_sub(1).and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
        let before = bytes.get(begin..at).is_some_and(|head| head.iter().all(|byte| body(*byte)));
        let alone = begin.checked_sub(1).and_then(|at| bytes.get(at)).is_none_or(|byte| !body(*byte));
        let after = bytes.get(at + 2..).unwrap_or_default().iter().take(40).take_while(|byte| body(**byte)).count();
        digit && before && alone && (31..=34).contains(&after)
    });
    found.then_some("an Entra ID client secret")
}

/// The bot's number, a colon, and 35 characters that begin with `AA`.
fn telegram(text: &str) -> Option<&'static str> {
    let bytes = text.as_bytes();
    let found = text.match_indices(":AA").any(|(at, _)| {
        let digits = bytes.get(..at).unwrap_or_default().iter().rev().take(12).take_while(|byte| byte.is_ascii_digit());
        let key = bytes.get(at + 1..).unwrap_or_default().iter().take(64).take_while(|byte| word(**byte)).count();
        (8..=10).contains(&digits.count()) && key == 35
    });
    found.then_some("a Telegram bot token")
}

/// Addresses whose path is the secret.
fn webhook(text: &str) -> Option<&'static str> {
    const HOOKS: &[(&str, usize)] = &[
        ("hooks.slack.com/services/T", 40),
        ("discord.com/api/webhooks/", 70),
        ("discordapp.com/api/webhooks/", 70),
        (".webhook.office.com/webhookb2/", 100),
    ];
    let path = |byte: u8| word(byte) || matches!(byte, b'/' | b'@');
    let mut found = HOOKS.iter().flat_map(|(place, least)| text.match_indices(place).map(move |hit| (hit, *least)));
    found
        .any(|((at, place), least)| {
            let rest = text.as_bytes().get(at + place.len()..).unwrap_or_default();
            rest.iter().take(512).take_while(|byte| path(**byte)).count() >= least
        })
        .then_some("a webhook address")
}
