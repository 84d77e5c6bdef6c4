//! What is found, and what is left alone: a corpus of environments as common images and charts have them, and one of secrets of every form.
//!
//! No secret in it is anybody's: they are made when the test runs, and so no scanner of repositories finds them here either.

use std::fmt::Write as _;

use super::{redact_arguments, redact_text, secret_in_variable, secrets_in_arguments};

const BENIGN: &str = include_str!("corpus/benign.env");
/// What the page says of the numbers below.
const PAGE: &str = include_str!("../../../../docs/secrets.md");

/// One environment of the corpus: its name, its variables and command lines.
struct Environment {
    name: &'static str,
    variables: Vec<(String, String)>,
    commands: Vec<Vec<String>>,
}

fn benign() -> Vec<Environment> {
    let mut all: Vec<Environment> = Vec::new();
    for line in BENIGN.lines().filter(|line| !line.is_empty()) {
        if let Some(name) = line.strip_prefix("## ") {
            // The kubelet gives each container the services of its namespace.
            let variables = services(all.len());
            all.push(Environment { name, variables, commands: Vec::new() });
        } else if let Some(command) = line.strip_prefix("$ ") {
            let spaced = command.replace("\\ ", "\u{1}");
            let words = spaced.split(' ').map(|word| word.replace('\u{1}', " ")).collect();
            all.last_mut().unwrap().commands.push(words);
        } else {
            let (name, value) = line.split_once('=').unwrap();
            all.last_mut().unwrap().variables.push((name.to_owned(), value.to_owned()));
        }
    }
    all
}

/// Variables of Kubernetes services (kubelet `envvars.FromServices`), among them ones whose names sound secret.
fn services(seed: usize) -> Vec<(String, String)> {
    const NAMES: &[&str] = &[
        "KUBERNETES",
        "POSTGRES",
        "TOKEN_SERVICE",
        "SECRETS_STORE",
        "AUTH",
        "PASSWORD_RESET",
        "CREDENTIALS_API",
        "SHOP",
        "VAULT",
        "KEYCLOAK",
    ];
    let mut variables = Vec::new();
    for n in 0..4 {
        let name = NAMES[(seed * 3 + n * 7) % NAMES.len()];
        let (ip, port) =
            (format!("10.{}.{}.{}", 96 + n, seed % 256, (seed * 7 + n) % 256), 8000 + (seed * 13 + n) % 999);
        for (suffix, value) in [
            ("SERVICE_HOST", ip.clone()),
            ("SERVICE_PORT", port.to_string()),
            ("SERVICE_PORT_HTTPS", port.to_string()),
            ("PORT", format!("tcp://{ip}:{port}")),
        ] {
            variables.push((format!("{name}_{suffix}"), value));
        }
        for (suffix, value) in [
            ("", format!("tcp://{ip}:{port}")),
            ("_PROTO", "tcp".into()),
            ("_PORT", port.to_string()),
            ("_ADDR", ip.clone()),
        ] {
            variables.push((format!("{name}_PORT_{port}_TCP{suffix}"), value));
        }
    }
    variables
}

/// Characters that look random and are the same in every run.
struct Dice(u64);

const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const LOWER: &str = "abcdefghijklmnopqrstuvwxyz";
const DIGITS: &str = "0123456789";
const HEX: &str = "0123456789abcdef";

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    fn of(&mut self, alphabet: &str, length: usize) -> String {
        let letters: Vec<char> = alphabet.chars().collect();
        (0..length).map(|_| letters[self.roll(letters.len())]).collect()
    }

    fn alnum(&mut self, length: usize) -> String {
        self.of(&format!("{UPPER}{LOWER}{DIGITS}"), length)
    }

    fn word(&mut self, length: usize) -> String {
        self.of(&format!("{UPPER}{LOWER}{DIGITS}_-"), length)
    }

    fn base64(&mut self, length: usize) -> String {
        self.of(&format!("{UPPER}{LOWER}{DIGITS}+/"), length)
    }

    fn hex(&mut self, length: usize) -> String {
        self.of(HEX, length)
    }
}

/// A token of each form, in its documented length.
fn tokens(dice: &mut Dice) -> Vec<(&'static str, String)> {
    let base32 = format!("{UPPER}234567");
    let bech32 = "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L";
    let mut all = Vec::new();
    for prefix in ["AKIA", "ASIA", "ABIA", "ACCA"] {
        all.push(("AWS", format!("{prefix}{}", dice.of(&base32, 16))));
    }
    for prefix in ["ghp_", "gho_", "ghu_", "ghs_", "ghr_"] {
        all.push(("GitHub", format!("{prefix}{}", dice.alnum(36))));
    }
    all.push(("GitHub fine-grained", format!("github_pat_{}_{}", dice.alnum(22), dice.alnum(59))));
    for prefix in ["glpat-", "gldt-", "glrt-", "glsoat-"] {
        all.push(("GitLab", format!("{prefix}{}", dice.word(20))));
    }
    all.push(("Google API key", format!("AIza{}", dice.word(35))));
    all.push(("Google OAuth", format!("ya29.{}", dice.word(120))));
    all.push(("Google client secret", format!("GOCSPX-{}", dice.word(28))));
    let entra = format!("{}8Q~{}", dice.alnum(3), dice.word(34));
    all.push(("Entra ID", entra));
    for prefix in ["xoxb-", "xoxp-", "xapp-"] {
        all.push(("Slack", format!("{prefix}{}-{}-{}", dice.of(DIGITS, 12), dice.of(DIGITS, 13), dice.alnum(24))));
    }
    all.push((
        "Slack webhook",
        format!("https://hooks.slack.com/services/T{}/B{}/{}", dice.of(UPPER, 8), dice.of(UPPER, 10), dice.alnum(24)),
    ));
    all.push((
        "Discord webhook",
        format!("https://discord.com/api/webhooks/{}/{}", dice.of(DIGITS, 18), dice.word(68)),
    ));
    for prefix in ["sk_live_", "rk_live_", "sk_test_"] {
        all.push(("Stripe", format!("{prefix}{}", dice.alnum(24))));
    }
    all.push(("webhook secret", format!("whsec_{}", dice.alnum(32))));
    all.push(("npm", format!("npm_{}", dice.alnum(36))));
    all.push(("PyPI", format!("pypi-AgEIcHlwaS5vcmc{}", dice.word(130))));
    all.push(("RubyGems", format!("rubygems_{}", dice.hex(48))));
    all.push(("SendGrid", format!("SG.{}.{}", dice.word(22), dice.word(43))));
    all.push(("Twilio", format!("SK{}", dice.hex(32))));
    all.push(("Mailgun", format!("key-{}", dice.hex(32))));
    all.push(("Telegram", format!("{}:AA{}", dice.of("123456789", 10), dice.word(33))));
    all.push(("Hugging Face", format!("hf_{}", dice.of(&format!("{UPPER}{LOWER}"), 34))));
    all.push(("OpenAI", format!("sk-proj-{}T3BlbkFJ{}", dice.alnum(74), dice.alnum(74))));
    all.push(("OpenAI, old", format!("sk-{}T3BlbkFJ{}", dice.alnum(20), dice.alnum(20))));
    all.push(("Anthropic", format!("sk-ant-api03-{}-{}AA", dice.alnum(60), dice.alnum(31))));
    all.push(("OpenRouter", format!("sk-or-v1-{}", dice.hex(64))));
    all.push(("DeepSeek", format!("sk-{}", dice.hex(32))));
    all.push(("Groq", format!("gsk_{}", dice.alnum(52))));
    all.push(("Replicate", format!("r8_{}", dice.alnum(37))));
    all.push(("Docker Hub", format!("dckr_pat_{}", dice.word(27))));
    all.push(("Vault", format!("hvs.{}", dice.word(90))));
    all.push(("Vault batch", format!("hvb.{}", dice.word(138))));
    all.push(("Terraform", format!("{}.atlasv1.{}", dice.alnum(14), dice.word(67))));
    all.push(("age", format!("AGE-SECRET-KEY-1{}", dice.of(bech32, 58))));
    all.push(("DigitalOcean", format!("dop_v1_{}", dice.hex(64))));
    all.push(("Databricks", format!("dapi{}", dice.hex(32))));
    all.push(("Grafana", format!("glsa_{}_{}", dice.alnum(32), dice.hex(8))));
    all.push(("Grafana Cloud", format!("glc_{}", dice.base64(120))));
    all.push(("New Relic", format!("NRAK-{}", dice.of(&format!("{UPPER}{DIGITS}"), 27))));
    all.push(("Shopify", format!("shpat_{}", dice.hex(32))));
    all.push(("Atlassian", format!("ATATT3xFfGF0{}", dice.word(172))));
    all.push(("Linear", format!("lin_api_{}", dice.alnum(40))));
    all.push(("PlanetScale", format!("pscale_tkn_{}", dice.word(43))));
    all.push(("Doppler", format!("dp.pt.{}", dice.alnum(43))));
    all.push(("Pulumi", format!("pul-{}", dice.hex(40))));
    all.push(("Tailscale", format!("tskey-auth-{}-{}", dice.alnum(12), dice.alnum(32))));
    all.push(("Postman", format!("PMAK-{}-{}", dice.hex(24), dice.hex(34))));
    all.push(("Artifactory", format!("AKCp{}", dice.alnum(69))));
    all.push(("JSON Web Token", jwt(dice)));
    all.push((
        "Azure storage",
        format!(
            "DefaultEndpointsProtocol=https;AccountName=st;AccountKey={}==;EndpointSuffix=core.windows.net",
            dice.base64(86)
        ),
    ));
    all.push(("Azure SAS", format!("https://st.blob.core.windows.net/c?sv=2022-11-02&sp=r&sig={}%3D", dice.alnum(43))));
    for kind in ["RSA ", "EC ", "OPENSSH ", "", "ENCRYPTED "] {
        all.push(("private key", pem(dice, kind)));
    }
    all.push(("private key in base64", encoded(&pem(dice, "RSA "))));
    all.push((
        "service account of GCP",
        format!("{{\"type\": \"service_account\", \"private_key\": \"{}\"}}", pem(dice, "").replace('\n', "\\n")),
    ));
    all
}

fn jwt(dice: &mut Dice) -> String {
    let header = encoded(r#"{"alg":"RS256","typ":"JWT"}"#).replace('=', "");
    let claims = encoded(r#"{"sub":"1234","iss":"https://login.example.com"}"#).replace('=', "");
    format!("{header}.{claims}.{}", dice.word(342))
}

fn pem(dice: &mut Dice, kind: &str) -> String {
    let mark = |word: &str| format!("-----{word} {kind}PRIVATE KEY-----");
    format!("{}\n{}\n{}\n{}", mark("BEGIN"), dice.base64(64), dice.base64(64), mark("END"))
}

fn encoded(text: &str) -> String {
    let alphabet: Vec<char> = format!("{UPPER}{LOWER}{DIGITS}+/").chars().collect();
    let mut out = String::new();
    for group in text.as_bytes().chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, byte| (bits << 8) | u32::from(*byte)) << (8 * (3 - group.len()));
        for n in 0..4 {
            out.push(if n <= group.len() {
                alphabet[usize::try_from((bits >> (18 - 6 * n)) & 63).unwrap()]
            } else {
                '='
            });
        }
    }
    out
}

/// Secrets whose form says nothing, under names that people give them.
fn named(dice: &mut Dice) -> Vec<(&'static str, String)> {
    let mut all = Vec::new();
    for name in [
        "POSTGRES_PASSWORD",
        "DB_PASSWORD",
        "MYSQL_ROOT_PASSWORD",
        "REDIS_PASSWORD",
        "MINIO_ROOT_PASSWORD",
        "GF_SECURITY_ADMIN_PASSWORD",
        "KEYCLOAK_ADMIN_PASSWORD",
        "PGPASSWORD",
        "SMTP_PASS",
        "KEYSTORE_PASSPHRASE",
        "spring.datasource.password",
        "adminPassword",
    ] {
        let length = 10 + dice.roll(14);
        all.push((name, dice.alnum(length)));
    }
    for name in [
        "SECRET_KEY_BASE",
        "APP_SECRET",
        "API_TOKEN",
        "CLIENT_SECRET",
        "AWS_SECRET_ACCESS_KEY",
        "AUTH_TOKEN",
        "DD_API_KEY",
        "NEW_RELIC_LICENSE_KEY",
        "JWT_SECRET",
        "RAILS_MASTER_KEY",
        "ENCRYPTION_KEY",
        "WEBHOOK_SECRET",
        "OAUTH2_PROXY_COOKIE_SECRET",
        "CONSUL_HTTP_TOKEN",
        "ADMIN_CREDENTIALS",
    ] {
        all.push((name, dice.hex(32)));
        all.push((name, dice.base64(40)));
    }
    let uuid =
        |dice: &mut Dice| format!("{}-{}-4{}-a{}-{}", dice.hex(8), dice.hex(4), dice.hex(3), dice.hex(3), dice.hex(12));
    all.push(("VAULT_SECRET_ID", uuid(dice)));
    all.push(("CONSUL_HTTP_TOKEN", uuid(dice)));
    all.push(("AIRFLOW__CORE__FERNET_KEY", format!("{}=", dice.word(43))));
    all.push(("APP_KEY", format!("base64:{}=", dice.base64(43))));
    all.push(("WORDPRESS_AUTH_SALT", dice.alnum(64)));
    all
}

/// Passwords that people think of, in parts.
fn human(_: &mut Dice) -> Vec<(&'static str, String)> {
    let parts = [
        ("DB_PASSWORD", ["Sommer", "2026!"]),
        ("DB_PASSWORD", ["hunter2", "hunter2"]),
        ("MYSQL_PASSWORD", ["correct-horse", "-battery"]),
        ("MYSQL_PASSWORD", ["Berlin", "1989"]),
        ("ADMIN_PASSWORD", ["Tr0ub4dor", "&3"]),
        ("ADMIN_PASSWORD", ["iloveyou", "forever"]),
        ("SMTP_PASS", ["mailer", "Pr0d!"]),
        ("LDAP_BIND_PASSWORD", ["Welcome", "2Acme"]),
        ("REDIS_PASSWORD", ["red1s", "4ever"]),
        ("POSTGRES_PASSWORD", ["elephant", "sql99"]),
        ("APP_SECRET", ["ourbig", "secret"]),
        ("API_TOKEN", ["letme", "in-now"]),
        ("POSTGRES_PASSWORD", ["kurz", "1!"]),
        ("JWT_SECRET", ["this-is-our", "-jwt-secret"]),
        ("TOKEN", ["s3cret-t0ken", "-9000"]),
    ];
    parts.into_iter().map(|(name, parts)| (name, parts.concat())).collect()
}

/// Connection strings as values of variables with names that say nothing.
fn addresses(dice: &mut Dice) -> Vec<(&'static str, String)> {
    let mut all = Vec::new();
    for scheme in [
        "postgres",
        "postgresql",
        "mysql",
        "mongodb",
        "mongodb+srv",
        "redis",
        "amqp",
        "amqps",
        "https",
        "ldaps",
        "smtp",
        "clickhouse",
    ] {
        let length = 8 + dice.roll(20);
        all.push(("DATABASE_URL", format!("{scheme}://app:{}@db.example.com:5432/app?x=1", dice.alnum(length))));
    }
    all.push(("REDIS_URL", format!("redis://:{}@redis:6379/0", dice.alnum(24))));
    all.push(("GIT_URL", format!("https://{}@git.example.com/x.git", dice.hex(40))));
    all.push(("BROKERS", format!("amqp://a:{}@one,amqp://a:b@two", dice.alnum(16))));
    all.push((
        "ConnectionStrings__Default",
        format!("Server=sql;Database=Shop;User Id=shop;Password={};Encrypt=True", dice.alnum(18)),
    ));
    all.push(("SPRING_DATASOURCE_URL", format!("jdbc:mysql://db/shop?user=shop&password={}", dice.alnum(14))));
    all.push((
        "SERVICEBUS",
        format!(
            "Endpoint=sb://x.servicebus.windows.net/;SharedAccessKeyName=Root;SharedAccessKey={}=",
            dice.base64(43)
        ),
    ));
    all.push(("JAVA_OPTS", format!("-Xmx1g -Djavax.net.ssl.keyStorePassword={} -Dx=y", dice.alnum(16))));
    all.push((
        "KAFKA_JAAS",
        format!(
            "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"u\" password=\"{}\";",
            dice.alnum(20)
        ),
    ));
    all.push(("CONFIG_JSON", format!("{{\"user\":\"u\",\"password\":\"{}\"}}", dice.alnum(16))));
    all.push(("CONFIG_YAML", format!("user: u\nclient_secret: {}\n", dice.hex(32))));
    all
}

/// Command lines with a secret; the last word but what the place says.
fn command_lines(dice: &mut Dice) -> Vec<Vec<String>> {
    let line = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let (one, two, three, four) = (dice.alnum(16), dice.hex(32), dice.alnum(20), dice.base64(40));
    vec![
        line(&["mysqld", "--user=me", &format!("--password={one}")]),
        line(&["redis-server", "--requirepass", &one])
            .into_iter()
            .map(|word| if word == "--requirepass" { "--password".into() } else { word })
            .collect(),
        line(&["app", "--api-token", &two]),
        line(&["app", &format!("--client-secret={four}")]),
        line(&["sh", "-c", &format!("export DB_PASSWORD={three}; exec app")]),
        line(&["sh", "-c", &format!("psql postgres://app:{three}@db/app -c 'select 1'")]),
        line(&["java", &format!("-Dspring.datasource.password={one}"), "-jar", "a.jar"]),
        line(&["helm", "upgrade", "--set", &format!("db.password={one}")]),
        line(&["curl", "-H", &format!("Authorization: token ghp_{}", dice.alnum(36))]),
        line(&["curl", &format!("https://api.telegram.org/bot{}:AA{}/getMe", dice.of("123456789", 10), dice.word(33))]),
    ]
}

#[derive(Default)]
struct Count {
    found: usize,
    of: usize,
    missed: Vec<String>,
}

impl Count {
    fn add(&mut self, found: bool, what: impl FnOnce() -> String) {
        self.of += 1;
        if found {
            self.found += 1;
        } else {
            self.missed.push(what());
        }
    }
}

fn count(all: Vec<(&'static str, String)>) -> Count {
    let mut count = Count::default();
    for (name, value) in all {
        count.add(secret_in_variable(name, &value).is_some(), || format!("{name}={value}"));
    }
    count
}

fn alarms(environments: &[Environment]) -> Vec<String> {
    let mut alarms = Vec::new();
    for environment in environments {
        for (name, value) in &environment.variables {
            if let Some(what) = secret_in_variable(name, value) {
                alarms.push(format!("{}: {name}={value} ({what})", environment.name));
            }
        }
        for command in &environment.commands {
            for (at, what) in secrets_in_arguments(command.iter().map(String::as_str)) {
                alarms.push(format!("{}: {:?} ({what})", environment.name, command[at]));
            }
        }
    }
    alarms
}

/// The table of docs/secrets.md, as it is measured.
#[test]
fn precision_and_recall_are_what_the_page_says() {
    let environments = benign();
    let variables: usize = environments.iter().map(|one| one.variables.len()).sum();
    let commands: usize = environments.iter().map(|one| one.commands.len()).sum();
    assert!(
        environments.len() >= 60 && variables >= 3000,
        "{} environments, {variables} variables",
        environments.len()
    );
    let alarms = alarms(&environments);
    let mut dice = Dice(7);
    // Every form several times over: a value that looks like a word by chance is to show.
    let mut tokens_counted = Count::default();
    let (mut named_counted, mut addresses_counted) = (Count::default(), Count::default());
    for _ in 0..20 {
        let add = |all: &mut Count, more: Count| {
            all.found += more.found;
            all.of += more.of;
            all.missed.extend(more.missed);
        };
        // Under a name that says nothing, so that the form alone counts.
        let all = tokens(&mut dice).into_iter().map(|(_, value)| ("VALUE", value)).collect();
        add(&mut tokens_counted, count(all));
        add(&mut named_counted, count(named(&mut dice)));
        add(&mut addresses_counted, count(addresses(&mut dice)));
    }
    let human = count(human(&mut dice));
    let mut arguments = Count::default();
    for command in (0..20).flat_map(|_| command_lines(&mut dice)).collect::<Vec<_>>() {
        let found = !secrets_in_arguments(command.iter().map(String::as_str)).is_empty();
        arguments.add(found, || command.join(" "));
    }
    let rows = [
        ("tokens by their form, under a name that says nothing", &tokens_counted),
        ("generated secrets by name", &named_counted),
        ("addresses, connection strings, settings within a value", &addresses_counted),
        ("passwords that people think of", &human),
        ("command lines", &arguments),
    ];
    let mut table = String::new();
    for (what, count) in rows {
        writeln!(table, "| {what} | {} | {} | {} % |", count.of, count.found, percent(count.found, count.of)).unwrap();
    }
    let (found, of): (usize, usize) =
        rows.iter().fold((0, 0), |(found, of), (_, count)| (found + count.found, of + count.of));
    writeln!(table, "| all: recall | {of} | {found} | {} % |", percent(found, of)).unwrap();
    writeln!(
        table,
        "\n{} environments with {variables} variables and {commands} command lines without a secret: {} false alarms; precision over both {} %.",
        environments.len(),
        alarms.len(),
        percent(found, found + alarms.len())
    )
    .unwrap();
    let missed: Vec<&String> = rows.iter().flat_map(|(_, count)| &count.missed).collect();
    assert!(alarms.len() <= 3, "false alarms: {alarms:#?}");
    for (what, count) in rows.iter().filter(|(what, _)| !what.contains("people")) {
        assert!(count.found * 1000 >= count.of * 985, "{what}: {:#?}", count.missed);
    }
    assert!(human.found * 100 >= human.of * 60, "{:#?}", human.missed);
    assert!(
        PAGE.contains(&table),
        "docs/secrets.md is to say:\n{table}\nmissed: {missed:#?}\nfalse alarms: {alarms:#?}"
    );
}

/// With one decimal place.
fn percent(part: usize, whole: usize) -> String {
    let tenths = (part * 1000 + whole / 2) / whole;
    format!("{}.{}", tenths / 10, tenths % 10)
}

#[test]
fn each_form_is_found_wherever_it_stands_and_not_once_it_is_cut() {
    let mut dice = Dice(11);
    for (what, token) in tokens(&mut dice) {
        for text in
            [token.clone(), format!("\"{token}\""), format!("x {token} y"), format!("[{token}]"), format!("A={token}")]
        {
            assert!(secret_in_variable("VALUE", &text).is_some(), "{what}: {text}");
        }
        let head = &token[..token.len().min(11)];
        assert_eq!(secret_in_variable("VALUE", head), None, "{what}: {head}");
    }
}

#[test]
fn names_of_objects_and_certificates_are_no_secrets() {
    let certificate = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    let public = "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----";
    for (name, value) in [
        ("TLS_CRT", certificate.to_owned()),
        ("TLS_CRT_B64", encoded(&certificate.repeat(4))),
        ("JWT_PUBLIC_KEY", public.to_owned()),
        ("SECRET_NAME", "db-credentials-7f9c2".to_owned()),
        ("A", "sk-learn-pipelines-for-kubernetes-clusters".to_owned()),
        ("A", "SKAFFOLD_DEFAULT_REPO".to_owned()),
        ("A", "eyJ.eyJ.".repeat(9)),
        ("A", "postgres://app@db:5432/app".to_owned()),
        ("A", "see https://docs.example.com:8443/a@b".to_owned()),
        ("PASSWORD_FILE", Dice(3).alnum(20)),
    ] {
        assert_eq!(secret_in_variable(name, &value), None, "{name}={value}");
    }
}

/// One source of truth: what is found is not written down.
#[test]
fn whatever_is_found_is_redacted() {
    let mut dice = Dice(23);
    for (what, token) in tokens(&mut dice).into_iter().chain(addresses(&mut dice)) {
        for text in [token.clone(), format!("x {token}, y"), format!("--x={token}")] {
            let shown = redact_text(&text);
            assert_eq!(secret_in_variable("VALUE", &shown), None, "{what}: {shown}");
            let last = token
                .get(token.len().saturating_sub(16)..)
                .filter(|last| last.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            assert!(last.is_none_or(|last| !shown.contains(last)), "{what}: {shown}");
        }
    }
    for command in (0..20).flat_map(|_| command_lines(&mut dice)).collect::<Vec<_>>() {
        let shown = redact_arguments(command.iter().map(String::as_str));
        let left = secrets_in_arguments(shown.iter().map(String::as_str));
        assert_eq!(left, [], "{command:?}: {shown:?}");
    }
}

/// A value of a megabyte, of whatever costs most, takes no more than its length asks.
#[test]
fn the_time_is_linear() {
    for piece in [
        "eyJ.",
        "eyJhbGciOiJSUzI1NiJ9.eyJ",
        "sk-",
        "://a:b@",
        "LS0tLS1CRUdJTi",
        "-----BEGIN ",
        "Q~",
        ":AA",
        "password=",
        "glpat-aaaa.",
        "SG.",
        "xoxb-.",
        "x=SG.",
        "AKIA",
    ] {
        let cost = |times: usize| {
            let value = piece.repeat(times);
            let begun = std::time::Instant::now();
            std::hint::black_box(secret_in_variable("A", &value));
            begun.elapsed()
        };
        let least = |times: usize| (0..4).map(|_| cost(times)).min().unwrap();
        let (short, long) = (least(500), least(16_000));
        // 32 times the length. Quadratic would be 1024 times the time.
        assert!(long < short * 200 + std::time::Duration::from_millis(100), "{piece}: {short:?}, then {long:?}");
    }
}
