//! ADBC connection profiles: where a server is and who asks there, in a file that every ADBC client reads.
//!
//! ```toml
//! profile_version = 1
//! driver = "flightsql"
//!
//! [Options]
//! uri = "grpc+tls://mesh.example:50051"
//! username = "analyst-eu"
//! password = "{{ env_var(MESH_PASSWORD) }}"
//! ```
//!
//! Files are found where ADBC's driver manager finds them, and options are named as the Flight SQL driver names them. An
//! option that is not known here is refused: one that keeps a connection safe must not be lost in silence. Unlike there, a
//! variable that is not set is an error and no empty text.

use std::path::{Path, PathBuf};

use polder_catalog::document::nearest;
use polder_catalog::secret::Secret;

use super::toml::{Value, read};
use crate::cli::Failure;
use crate::flight::client::Certificates;

/// Where profiles are looked for first.
const SEARCHED: &str = "ADBC_PROFILE_PATH";

const PREFIX: &str = "adbc.flight.sql.";

/// Options that are applied here, in their short form.
const APPLIED: [&str; 9] = [
    "uri",
    "username",
    "password",
    "authorization_header",
    "rpc.call_header.x-polder-purpose",
    "client_option.tls_root_certs",
    "client_option.mtls_cert_chain",
    "client_option.mtls_private_key",
    "client_option.tls_override_hostname",
];

/// Options that tune a driver; without them everything is as safe and as right.
const TUNING: [&str; 8] = [
    "client_option.with_block",
    "client_option.with_max_msg_size",
    "rpc.with_cookie_middleware",
    "rpc.timeout_seconds.connect",
    "rpc.timeout_seconds.query",
    "rpc.timeout_seconds.fetch",
    "rpc.timeout_seconds.update",
    "adbc.rpc.result_queue_size",
];

/// What a profile says.
#[derive(Debug, Default)]
pub struct Profile {
    pub url: Option<String>,
    pub user: Option<String>,
    pub password: Option<Secret>,
    pub token: Option<Secret>,
    pub purpose: Option<String>,
    pub certificates: Certificates,
    /// Options that have no effect here.
    pub unused: Vec<String>,
}

impl Profile {
    /// The profile of that name, or in that file.
    ///
    /// # Errors
    /// When it is not there, is no profile, or asks for what is not done here.
    pub fn find(name: &str) -> Result<Self, Failure> {
        let file = locate(name, &searched(|variable| std::env::var_os(variable)))?;
        let text = std::fs::read_to_string(&file).map_err(|error| {
            Failure::Environment(format!("the profile `{}` cannot be read: {error}", file.display()))
        })?;
        let variable = |name: &str| std::env::var(name).ok();
        parse(&text, &variable)
            .map_err(|what| Failure::Environment(format!("the profile `{}` cannot be used: {what}", file.display())))
    }
}

/// The directories in which profiles are looked for, in this order.
fn searched(variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> Vec<PathBuf> {
    let given = variable(SEARCHED).map(|paths| std::env::split_paths(&paths).collect()).unwrap_or_default();
    let home = || variable("HOME").map(PathBuf::from);
    let own = match cfg!(target_os = "macos") {
        true => home().map(|home| home.join("Library/Application Support/ADBC/Profiles")),
        false => variable("XDG_CONFIG_HOME")
            .map(PathBuf::from)
            .or_else(|| home().map(|home| home.join(".config")))
            .map(|config| config.join("adbc/profiles")),
    };
    let mut dirs: Vec<PathBuf> = given;
    dirs.extend(own);
    dirs.retain(|dir| !dir.as_os_str().is_empty());
    dirs
}

fn locate(name: &str, dirs: &[PathBuf]) -> Result<PathBuf, Failure> {
    let path = Path::new(name);
    let is_file_name = path.extension().is_some_and(|extension| extension == "toml");
    if is_file_name || path.is_absolute() {
        let file = path.with_extension("toml");
        return match file.is_file() {
            true => Ok(file),
            false => Err(Failure::Environment(format!("there is no profile `{}`", file.display()))),
        };
    }
    // As the driver manager does: the last extension of a name is replaced.
    let files = dirs.iter().map(|dir| dir.join(path).with_extension("toml"));
    files.into_iter().find(|file| file.is_file()).ok_or_else(|| {
        let dirs: Vec<String> = dirs.iter().map(|dir| format!("`{}`", dir.display())).collect();
        let known = match dirs.as_slice() {
            [] => format!("neither {SEARCHED} nor HOME is set"),
            dirs => format!("there is none of that name in {}", dirs.join(" or ")),
        };
        Failure::Environment(format!("the profile `{name}` was not found: {known}"))
    })
}

type Variable<'v> = &'v dyn Fn(&str) -> Option<String>;

fn parse(text: &str, variable: Variable<'_>) -> Result<Profile, String> {
    let entries = read(text).map_err(|fault| format!("line {}: {}", fault.line, fault.what))?;
    let mut profile = Profile::default();
    let (mut version, mut has_options) = (None, false);
    let (mut certificate, mut key) = (None, None);
    for (path, value) in entries {
        match (path.iter().map(String::as_str).collect::<Vec<_>>().as_slice(), value) {
            (["profile_version"], Value::Number(number)) => version = Some(number),
            (["profile_version"], _) => return Err("`profile_version` is no number".to_owned()),
            (["driver"], Value::Text(driver)) if is_flight_sql(&driver) => {}
            (["driver"], Value::Text(driver)) => {
                return Err(format!("it is for the driver `{driver}`, and a server here speaks `flightsql`"));
            }
            (["Options", option @ ..], value) if !option.is_empty() => {
                has_options = true;
                let option = option.join(".");
                let value = match value {
                    Value::Text(text) => substituted(&option, &text, variable)?,
                    Value::Number(number) => number,
                    Value::Boolean(is) => is.to_string(),
                };
                profile.set(&option, value, &mut certificate, &mut key)?;
            }
            (path, _) => return Err(format!("`{}` is not known", path.join("."))),
        }
    }
    match version.as_deref() {
        Some("1") => {}
        Some(other) => return Err(format!("its `profile_version` is {other}, and 1 is read here")),
        None => return Err("it has no `profile_version`".to_owned()),
    }
    if !has_options {
        return Err("it has no options under `[Options]`".to_owned());
    }
    profile.certificates.identity = match (certificate, key) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some((certificate, key)),
        _ => return Err("a client's certificate and its key go together".to_owned()),
    };
    Ok(profile)
}

impl Profile {
    fn set(
        &mut self,
        option: &str,
        value: String,
        certificate: &mut Option<Vec<u8>>,
        key: &mut Option<Secret>,
    ) -> Result<(), String> {
        let short = option.strip_prefix(PREFIX).unwrap_or(option);
        match short {
            "uri" => self.url = Some(value),
            "username" => self.user = Some(value),
            "password" => self.password = Some(Secret::new(value)),
            "authorization_header" => match value.split_once(' ') {
                Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
                    self.token = Some(Secret::new(token.trim()));
                }
                _ => return Err(format!("option `{option}` is no bearer token")),
            },
            "rpc.call_header.x-polder-purpose" => self.purpose = Some(value),
            "client_option.tls_root_certs" => self.certificates.authorities = Some(value.into_bytes()),
            "client_option.mtls_cert_chain" => *certificate = Some(value.into_bytes()),
            "client_option.mtls_private_key" => *key = Some(Secret::new(value)),
            "client_option.tls_override_hostname" => self.certificates.server_name = Some(value),
            "client_option.tls_skip_verify" if value == "false" => {}
            "client_option.tls_skip_verify" => {
                return Err(format!("option `{option}` would trust any server; name its authority instead"));
            }
            tuning if TUNING.contains(&tuning) => self.unused.push(option.to_owned()),
            unknown => {
                let near = nearest(unknown, APPLIED).map(|known| match known {
                    "uri" | "username" | "password" => format!("; did you mean `{known}`?"),
                    known => format!("; did you mean `{PREFIX}{known}`?"),
                });
                return Err(format!("option `{option}` is not supported here{}", near.unwrap_or_default()));
            }
        }
        Ok(())
    }
}

fn is_flight_sql(driver: &str) -> bool {
    let name = Path::new(driver).file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    name.contains("flightsql") || name.contains("flight_sql")
}

/// The value with each `{{ env_var(NAME) }}` replaced.
fn substituted(option: &str, value: &str, variable: Variable<'_>) -> Result<String, String> {
    let mut text = String::new();
    let mut rest = value;
    while let Some((before, behind)) = rest.split_once("{{") {
        // Of more than two braces the innermost two count.
        let inner = behind.trim_start_matches('{');
        let Some((call, after)) = inner.split_once("}}") else { break };
        text.push_str(before);
        text.extend(std::iter::repeat_n('{', behind.len() - inner.len()));
        let name = call.trim().strip_prefix("env_var(").and_then(|call| call.strip_suffix(')')).map(str::trim);
        match name {
            Some(name) if !name.is_empty() => {
                let value = variable(name);
                text.push_str(&value.ok_or_else(|| {
                    format!("option `{option}` needs the environment variable `{name}`, which is not set")
                })?);
            }
            _ => return Err(format!("option `{option}` has a substitution that is no `env_var(NAME)`")),
        }
        rest = after;
    }
    text.push_str(rest);
    Ok(text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Profile, String> {
        parse(text, &|name| (name == "PW").then(|| "secret".to_owned()))
    }

    fn with(options: &str) -> Result<Profile, String> {
        parsed(&format!("profile_version = 1\ndriver = \"flightsql\"\n[Options]\nuri = \"grpc://a:1\"\n{options}"))
    }

    #[test]
    fn a_profile_names_the_server_and_who_asks() {
        let profile = with("username = \"ada\"\npassword = \"{{ env_var(PW) }}\"").unwrap();
        assert_eq!((profile.url.as_deref(), profile.user.as_deref()), (Some("grpc://a:1"), Some("ada")));
        assert_eq!(profile.password.unwrap().expose(), "secret");
    }

    #[test]
    fn keys_may_be_quoted_dotted_or_in_tables() {
        for options in [
            "\"adbc.flight.sql.authorization_header\" = \"Bearer t\"",
            "adbc.flight.sql.authorization_header = \"Bearer t\"",
            "[Options.adbc.flight.sql]\nauthorization_header = \"Bearer t\"",
        ] {
            assert_eq!(with(options).unwrap().token.unwrap().expose(), "t", "{options}");
        }
    }

    #[test]
    fn substitution_knows_variables_alone() {
        let check = |value, expect: Result<&str, &str>| {
            let found = substituted("o", value, &|name| (name == "A").then(|| "1".to_owned()));
            match expect {
                Ok(text) => assert_eq!(found.as_deref(), Ok(text)),
                Err(part) => assert!(found.unwrap_err().contains(part), "{value}"),
            }
        };
        check("x{{ env_var(A) }}y{{env_var(A)}}", Ok("x1y1"));
        check("{{{ env_var(A) }}}", Ok("{1}"));
        check("{ env_var(A) }", Ok("{ env_var(A) }"));
        check("{{ open", Ok("{{ open"));
        check("{{ env_var(B) }}", Err("`B`, which is not set"));
        check("{{ env_var() }}", Err("no `env_var(NAME)`"));
        check("{{ file(A) }}", Err("no `env_var(NAME)`"));
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        for (text, part) in [
            ("driver = \"flightsql\"\n[Options]\nuri = \"grpc://a:1\"", "no `profile_version`"),
            ("profile_version = 2\n[Options]\nuri = \"grpc://a:1\"", "`profile_version` is 2"),
            ("profile_version = \"1\"\n", "is no number"),
            ("profile_version = 1\n", "no options"),
            ("profile_version = 1\ndriver = \"snowflake\"\n", "for the driver `snowflake`"),
            ("profile_version = 1\n[options]\nuri = \"grpc://a:1\"", "`options.uri` is not known"),
            ("profile_version = 1\n[Options]\nuri = [1]", "line 3"),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.contains(part), "{text:?}: {error}");
        }
        for (options, part) in [
            ("adbc.flight.sql.client_option.tls_skip_verify = true", "would trust any server"),
            ("usrname = \"ada\"", "did you mean `username`?"),
            ("adbc.flight.sql.oauth.flow = \"client_credentials\"", "`adbc.flight.sql.oauth.flow` is not supported"),
            ("adbc.flight.sql.authorization_header = \"Basic eDp5\"", "no bearer token"),
            ("adbc.flight.sql.client_option.mtls_cert_chain = \"x\"", "go together"),
        ] {
            let error = with(options).unwrap_err();
            assert!(error.contains(part), "{options}: {error}");
            assert!(!error.contains("eDp5"), "no value is told");
        }
        assert_eq!(with("adbc.flight.sql.client_option.with_block = true").unwrap().unused.len(), 1);
    }

    #[test]
    fn profiles_are_found_where_adbc_finds_them() {
        let dir = tempfile::tempdir().unwrap();
        let variable = |name: &str| match name {
            "ADBC_PROFILE_PATH" => Some("/first:/second".into()),
            "HOME" => Some("/home/ada".into()),
            _ => None,
        };
        let dirs = searched(variable);
        assert_eq!(dirs.first().unwrap(), Path::new("/first"));
        assert!(dirs.last().unwrap().starts_with("/home/ada"), "{dirs:?}");
        let file = dir.path().join("mesh.toml");
        std::fs::write(&file, "").unwrap();
        let found = |name: &str| locate(name, &["/nowhere".into(), dir.path().to_owned()]);
        assert_eq!(found("mesh").ok().unwrap(), file);
        assert_eq!(found(file.to_str().unwrap()).ok().unwrap(), file);
        assert_eq!(found(dir.path().join("mesh").to_str().unwrap()).ok().unwrap(), file);
        let Err(Failure::Environment(missing)) = found("other") else { panic!() };
        assert!(missing.contains("`other` was not found") && missing.contains("/nowhere"), "{missing}");
    }
}
