//! How a server is made sure of, and how it is made sure of us.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde::Deserialize;
use tonic::metadata::{Ascii, AsciiMetadataKey, MetadataValue};
use tonic::service::Interceptor;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status};

use crate::Error;

/// TLS and credentials of one connection. By default a server is checked against the system's
/// certificates, and nothing is said about us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Security {
    /// PEM file with the certificates that the server's must come from; the system's if `None`
    /// (`SSL_CERT_FILE` and `SSL_CERT_DIR` name others).
    pub server_certificates: Option<PathBuf>,
    /// Who we are, for servers that want to know it by TLS.
    pub identity: Option<ClientIdentity>,
    /// Who we are, said with every call.
    pub credentials: Option<Credentials>,
}

/// PEM files for mutual TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientIdentity {
    /// Our private key.
    pub key: PathBuf,
    /// Our certificate, and those between it and one the server knows.
    pub certificates: PathBuf,
}

/// What makes the headers that say who we are. They are sent over `https` only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// `authorization: Bearer` and the content of a file.
    Token {
        /// The file.
        file: PathBuf,
        /// After how long it is read again; never if `None`.
        reload: Option<Duration>,
    },
    /// A program that is called with the argument `get`, reads `{"uri": "https://HOST:PORT"}` and
    /// writes `{"headers": {NAME: [VALUE, …]}, "expires": "RFC 3339 time"}`: the credential
    /// helpers of Bazel and BuildBox.
    Helper(PathBuf),
}

impl Credentials {
    /// Parses how often a token is read again, as the reference tools take it: minutes, or a number
    /// with a suffix M (minutes) or H (hours).
    ///
    /// # Errors
    /// If it is no such length of time; the error says what is expected.
    pub fn parse_reload(text: &str) -> Result<Duration, String> {
        let (number, seconds) = match text.strip_suffix(['H', 'h']) {
            Some(hours) => (hours, 3600),
            None => (text.strip_suffix(['M', 'm']).unwrap_or(text), 60),
        };
        let number: u64 = number.parse().map_err(|_| "expected minutes, such as `10M` or `1H`")?;
        number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(|| "too long".to_owned())
    }
}

impl Security {
    /// The options by which `buildbox-run` and `speculate` are told the same.
    #[must_use]
    pub fn arguments(&self) -> Vec<OsString> {
        let identity = self.identity.as_ref();
        let (token, helper) = match &self.credentials {
            Some(Credentials::Token { file, .. }) => (Some(file), None),
            Some(Credentials::Helper(program)) => (None, Some(program)),
            None => (None, None),
        };
        let options = [
            ("--server-cert=", self.server_certificates.as_ref()),
            ("--client-key=", identity.map(|identity| &identity.key)),
            ("--client-cert=", identity.map(|identity| &identity.certificates)),
            ("--access-token=", token),
            ("--credential-helper=", helper),
        ];
        let mut list = Vec::new();
        for (name, file) in options {
            let Some(file) = file else { continue };
            let mut option = OsString::from(name);
            option.push(file);
            list.push(option);
        }
        if let Some(Credentials::Token { reload: Some(reload), .. }) = &self.credentials {
            // In whole minutes: rather too often than with a token that is no longer good.
            let minutes = reload.as_secs() / 60;
            list.push(format!("--token-reload-interval={minutes}").into());
        }
        list
    }

    /// Reads the certificates and keys, and makes `endpoint` use them.
    pub(crate) fn secure(&self, url: &str, endpoint: Endpoint) -> Result<Endpoint, Error> {
        let read = |path: &Path| std::fs::read(path).map_err(|error| Error::file(path, error));
        let mut tls = ClientTlsConfig::new();
        tls = match &self.server_certificates {
            Some(path) => tls.ca_certificate(Certificate::from_pem(read(path)?)),
            None => tls.with_native_roots(),
        };
        if let Some(identity) = &self.identity {
            let (certificates, key) = (read(&identity.certificates)?, read(&identity.key)?);
            tls = tls.identity(Identity::from_pem(certificates, key));
        }
        endpoint.tls_config(tls).map_err(|error| {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            let reason = source.unwrap_or_else(|| error.to_string());
            Error::Security { url: url.to_owned(), reason }
        })
    }
}

/// Puts the headers of the credentials into each request.
#[derive(Clone)]
pub(crate) struct Authorize(Option<Arc<Source>>);

struct Source {
    credentials: Credentials,
    url: String,
    known: Mutex<Option<Known>>,
}

/// Headers that were made earlier.
struct Known {
    headers: Vec<(AsciiMetadataKey, MetadataValue<Ascii>)>,
    /// When to make them again; never if `None`.
    until: Option<Instant>,
}

impl fmt::Debug for Authorize {
    // The headers are secrets.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Authorize").field(&self.0.as_ref().map(|s| &s.credentials)).finish()
    }
}

impl Authorize {
    /// Nothing is said about us.
    pub(crate) fn nobody() -> Self {
        Self(None)
    }

    pub(crate) fn new(security: &Security, url: &str) -> Self {
        Self(security.credentials.clone().map(|credentials| {
            Arc::new(Source { credentials, url: url.to_owned(), known: Mutex::default() })
        }))
    }
}

impl Interceptor for Authorize {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let Some(source) = &self.0 else { return Ok(request) };
        let mut known = source.known.lock().unwrap_or_else(PoisonError::into_inner);
        let stale = |known: &Known| known.until.is_some_and(|until| until <= Instant::now());
        if known.as_ref().is_none_or(stale) {
            match source.make() {
                Ok(made) => *known = Some(made),
                // A token that cannot be read just now may still be good.
                Err(reason) if known.is_some() => tracing::warn!("{reason}"),
                Err(reason) => return Err(Status::unauthenticated(reason)),
            }
        }
        for (name, value) in known.iter().flat_map(|known| &known.headers) {
            request.metadata_mut().append(name.clone(), value.clone());
        }
        Ok(request)
    }
}

impl Source {
    fn make(&self) -> Result<Known, String> {
        match &self.credentials {
            Credentials::Token { file, reload } => {
                let token = std::fs::read_to_string(file)
                    .map_err(|error| format!("the access token `{}`: {error}", file.display()))?;
                let name = AsciiMetadataKey::from_static("authorization");
                let value = secret(&format!("Bearer {}", token.trim_end()))
                    .ok_or_else(|| format!("`{}` does not hold a token", file.display()))?;
                let until = reload.map(|after| Instant::now() + after);
                Ok(Known { headers: vec![(name, value)], until })
            }
            Credentials::Helper(program) => ask(program, &self.url)
                .map_err(|why| format!("the credential helper `{}`: {why}", program.display())),
        }
    }
}

fn secret(text: &str) -> Option<MetadataValue<Ascii>> {
    let mut value = MetadataValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// What a credential helper answers. Unknown keys are for others.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    headers: std::collections::BTreeMap<String, OneOrMany>,
    expires: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

fn ask(program: &Path, url: &str) -> Result<Known, String> {
    let mut child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    if let Some(mut input) = child.stdin.take() {
        let question = serde_json::json!({ "uri": url }).to_string();
        // A helper that knows the answer without reading is fine.
        let _ = std::io::Write::write_all(&mut input, question.as_bytes());
    }
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("it failed: {}", output.status));
    }
    understand(&output.stdout)
}

fn understand(answer: &[u8]) -> Result<Known, String> {
    let answer: Answer = serde_json::from_slice(answer)
        .map_err(|error| format!("its answer is not understood: {error}"))?;
    let mut headers = Vec::new();
    for (name, values) in answer.headers {
        let key = AsciiMetadataKey::from_bytes(name.to_ascii_lowercase().as_bytes())
            .map_err(|_| format!("`{name}` is no name of a header"))?;
        let values = match values {
            OneOrMany::One(value) => vec![value],
            OneOrMany::Many(values) => values,
        };
        for value in values {
            let value = secret(&value).ok_or_else(|| format!("the value of `{name}` is none"))?;
            headers.push((key.clone(), value));
        }
    }
    let until = match answer.expires {
        None => None,
        Some(text) => {
            let time: prost_types::Timestamp =
                text.parse().map_err(|_| format!("`{text}` is not a time"))?;
            let time = SystemTime::try_from(time).map_err(|_| format!("`{text}` is not a time"))?;
            // A call that is on its way when the time comes should still be let in.
            const MARGIN: Duration = Duration::from_secs(10);
            let left = time.duration_since(SystemTime::now()).unwrap_or_default();
            Some(Instant::now() + left.saturating_sub(MARGIN))
        }
    };
    Ok(Known { headers, until })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(known: &Known) -> Vec<&str> {
        known.headers.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn answers_of_helpers() {
        let known = understand(br#"{"headers": {"Authorization": ["Bearer x"], "a": "b"}}"#);
        let known = known.expect("an answer");
        assert_eq!(names(&known), ["authorization", "a"]);
        assert!(known.until.is_none());
        let known = understand(br#"{"headers": {}, "expires": "2000-01-01T00:00:00Z"}"#);
        assert!(known.expect("an answer").until.is_some_and(|until| until <= Instant::now()));
        for bad in
            ["", "[]", r#"{"headers": {"a b": "c"}}"#, r#"{"headers": {}, "expires": "soon"}"#]
        {
            assert!(understand(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_token_is_read_again_and_an_old_one_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("token");
        let reload = Some(Duration::ZERO);
        let credentials = Some(Credentials::Token { file: file.clone(), reload });
        let security = Security { credentials, ..Security::default() };
        let mut authorize = Authorize::new(&security, "https://h");
        let mut header = || {
            let request = authorize.call(Request::new(()))?;
            let value = request.metadata().get("authorization").expect("a header").clone();
            Ok::<_, Status>(value.to_str().expect("text").to_owned())
        };
        let error = header().expect_err("no file").message().to_owned();
        assert!(error.contains(&file.display().to_string()), "{error}");
        for token in ["one", "two\n"] {
            std::fs::write(&file, token).expect("a file");
            assert_eq!(header().expect("a token"), format!("Bearer {}", token.trim()));
        }
        std::fs::remove_file(&file).expect("gone");
        assert_eq!(header().expect("the old one"), "Bearer two");
    }

    #[test]
    fn other_programs_are_told_the_same() {
        let told = |reload| {
            let credentials = Some(Credentials::Token { file: "t".into(), reload });
            Security { credentials, ..Security::default() }.arguments()
        };
        assert_eq!(told(None), ["--access-token=t"]);
        for (reload, option) in [("90M", "90"), ("2H", "120"), ("5", "5"), ("0m", "0")] {
            let reload = Credentials::parse_reload(reload).expect("a time");
            let option = format!("--token-reload-interval={option}");
            assert_eq!(told(Some(reload)), ["--access-token=t", &option]);
        }
        for bad in ["", "M", "x", "-1", "5S", "5MM", "9999999999999999999H"] {
            assert!(Credentials::parse_reload(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let credentials = Some(Credentials::Helper("/bin/helper".into()));
        let security = Security { credentials, ..Security::default() };
        let text = format!("{:?}", Authorize::new(&security, "https://h"));
        assert!(text.contains("helper") && !text.contains("Known"), "{text}");
    }
}
