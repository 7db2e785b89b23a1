//! TLS, mutual TLS, tokens and credential helpers against real TLS servers.

mod front;

use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use forerunner_gateway::{Gateway, Policy, Recorder};
use forerunner_reapi::{ClientIdentity, Config, Content, Credentials, Endpoint, Error, Security};
use forerunner_tests::{bin, temp};

use self::front::{Authority, Front, capabilities_for_holders_of};
use super::endpoint::{FUNCTION, embedded, remote, runtime};

fn secure(url: &str, security: Security) -> Config {
    let mut config = remote(url);
    let servers = config.remote.as_mut().expect("a server");
    for connection in [&mut servers.cas, &mut servers.action_cache, &mut servers.execution] {
        connection.security = security.clone();
    }
    config
}

/// A gateway in front of an embedded store, and TLS in front of that.
struct Server {
    folder: tempfile::TempDir,
    authority: Authority,
    front: Front,
    _gateway: Gateway,
}

fn serve(clients_need_certificates: bool) -> Server {
    let folder = temp();
    let socket = folder.path().join("socket");
    let policy = Policy { update_allowed: true };
    let gateway = Gateway::start(&socket, &embedded(folder.path()), policy, Recorder::new());
    let authority = Authority::new(folder.path());
    let front = Front::start(&authority, socket, clients_need_certificates);
    Server { authority, front, folder, _gateway: gateway.expect("a gateway") }
}

impl Server {
    fn trusted(&self) -> Security {
        let server_certificates = Some(self.authority.certificate());
        Security { server_certificates, ..Security::default() }
    }

    fn identity(&self) -> ClientIdentity {
        self.authority.client(self.folder.path())
    }

    /// A large blob there and back.
    fn works(&self, security: Security) -> Result<(), Error> {
        runtime().block_on(async {
            let endpoint = Endpoint::open(&secure(&self.front.url(), security))?;
            let content = Bytes::from(vec![7; 3_000_000]);
            let digest = FUNCTION.digest(&content);
            endpoint.upload(vec![(digest, Content::Bytes(content.clone()))]).await?;
            assert_eq!(endpoint.get(&digest).await?, content);
            Ok(())
        })
    }
}

#[test]
fn content_travels_over_tls() {
    let server = serve(false);
    server.works(server.trusted()).expect("a blob");
}

#[test]
fn a_server_with_another_certificate_is_refused() {
    let server = serve(false);
    let other = temp();
    let server_certificates = Some(Authority::new(other.path()).certificate());
    let stranger = Security { server_certificates, ..Security::default() };
    let error = server.works(stranger).expect_err("another authority").to_string();
    assert!(error.contains("certificate") && error.contains(&server.front.url()), "{error}");
}

#[test]
fn mutual_tls_wants_our_certificate() {
    let server = serve(true);
    let identity = Some(server.identity());
    server.works(Security { identity, ..server.trusted() }).expect("a blob");
    server.works(server.trusted()).expect_err("nobody in particular");
}

#[test]
fn files_that_are_no_certificates_are_named() {
    let folder = temp();
    let file = folder.path().join("certificate");
    let open = || {
        let server_certificates = Some(file.clone());
        let security = Security { server_certificates, ..Security::default() };
        runtime().block_on(async {
            Endpoint::open(&secure("https://localhost:1", security)).map(|_| ())
        })
    };
    let error = open().expect_err("no file").to_string();
    assert!(error.contains(&file.display().to_string()), "{error}");
    std::fs::write(&file, "-----BEGIN CERTIFICATE-----\n!\n").expect("a file");
    let error = open().expect_err("no certificate").to_string();
    assert!(error.contains("https://localhost:1"), "{error}");
}

#[test]
fn recc_and_the_runner_and_speculate_talk_to_a_secure_server() {
    let server = serve(true);
    let work = server.folder.path().join("work");
    std::fs::create_dir(&work).expect("a directory");
    std::fs::write(work.join("a.c"), "int a;\n").expect("a source");
    let identity = server.identity();
    let recc = || {
        let _ = std::fs::remove_file(work.join("a.o"));
        let output = Command::new(bin("recc"))
            .args(["gcc", "-c", "a.c", "-o", "a.o"])
            .current_dir(&work)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("RECC_SERVER", server.front.url())
            .env("RECC_SERVER_CERT", server.authority.certificate())
            .env("RECC_CLIENT_KEY", &identity.key)
            .env("RECC_CLIENT_CERT", &identity.certificates)
            .env("RECC_CACHE_ONLY", "1")
            .env("RECC_CACHE_UPLOAD_LOCAL_BUILD", "1")
            .env("RECC_LOG_LEVEL", "info")
            .output()
            .expect("recc");
        assert!(output.status.success() && work.join("a.o").exists(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let (first, second) = (recc(), recc());
    assert!(!first.contains("Action Cache hit"), "{first}");
    assert!(second.contains("Action Cache hit"), "{second}");

    let secured = |program: &str| {
        let mut command = Command::new(bin(program));
        command
            .arg(format!("--remote={}", server.front.url()))
            .arg(format!("--server-cert={}", server.authority.certificate().display()))
            .arg(format!("--client-key={}", identity.key.display()))
            .arg(format!("--client-cert={}", identity.certificates.display()));
        command
    };
    // An action whose command the server does not have: it was asked.
    let action = forerunner_proto::reapi::Action {
        command_digest: Some(FUNCTION.digest(b"none").to_proto()),
        ..Default::default()
    };
    let file = work.join("action");
    std::fs::write(&file, prost::Message::encode_to_vec(&action)).expect("an action");
    let output = secured("buildbox-run")
        .arg(format!("--action={}", file.display()))
        .arg(format!("--action-result={}", work.join("result").display()))
        .output()
        .expect("buildbox-run");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("is missing at the endpoint"), "{text}");

    let output = secured("speculate").args(["show", "--element=none"]).output().expect("speculate");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!text.contains("cannot be reached") && output.status.code() != Some(3), "{text}");
}

/// What a server that wants the token `good` says to these credentials.
fn asked_with(credentials: Option<Credentials>) -> Result<(), Error> {
    let folder = temp();
    let authority = Authority::new(folder.path());
    let url = capabilities_for_holders_of("Bearer good", &authority);
    let server_certificates = Some(authority.certificate());
    let security = Security { server_certificates, credentials, ..Security::default() };
    runtime().block_on(async {
        let endpoint = Endpoint::open(&secure(&url, security))?;
        endpoint.capabilities().await.map(|_| ())
    })
}

fn script(folder: &Path, text: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let path = folder.join("helper");
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("a script");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    path
}

#[test]
fn tokens_are_sent() {
    let folder = temp();
    let file = folder.path().join("token");
    std::fs::write(&file, "good\n").expect("a token");
    let token = || Some(Credentials::Token { file: file.clone(), reload: None });
    asked_with(token()).expect("an answer");
    std::fs::write(&file, "bad\n").expect("a token");
    for refused in [token(), None] {
        let error = asked_with(refused).expect_err("not let in");
        assert_eq!(error.code(), tonic::Code::Unauthenticated, "{error}");
    }
}

#[test]
fn helpers_are_asked() {
    let folder = temp();
    let good = r#"test "$1" = get && grep -q '"uri":"https://localhost:' || exit 1
        echo '{"headers": {"Authorization": ["Bearer good"]}}'"#;
    let helper = Credentials::Helper(script(folder.path(), good));
    asked_with(Some(helper)).expect("an answer");
    for bad in ["exit 3", "echo nonsense", "echo '{\"headers\": {}}'"] {
        let helper = script(folder.path(), bad);
        let error = asked_with(Some(Credentials::Helper(helper))).expect_err(bad);
        assert_eq!(error.code(), tonic::Code::Unauthenticated, "{error}");
    }
    let nobody = Credentials::Helper(folder.path().join("nobody"));
    let error = asked_with(Some(nobody)).expect_err("no helper").to_string();
    assert!(error.contains("nobody"), "{error}");
}

/// Credentials on the command line: who has none is not let in, and who has learns what the server can do.
#[test]
fn speculate_is_let_in_with_its_credentials() {
    let folder = temp();
    let authority = Authority::new(folder.path());
    let url = capabilities_for_holders_of("Bearer good", &authority);
    let graph = folder.path().join("graph.json");
    std::fs::write(&graph, r#"{"elements": []}"#).expect("a graph");
    let asked = |options: &[String]| {
        let mut command = Command::new(bin("speculate"));
        command.args(["prime", "--quiet", &format!("--remote={url}"), "--graph"]).arg(&graph);
        command.arg(format!("--server-cert={}", authority.certificate().display()));
        let output = command.args(options).env("HOME", folder.path()).output().expect("an end");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    };
    let file = folder.path().join("token");
    std::fs::write(&file, "good\n").expect("a token");
    let token = format!("--access-token={}", file.display());
    let headers = r#"echo '{"headers": {"Authorization": ["Bearer good"]}}'"#;
    let helper = format!("--credential-helper={}", script(folder.path(), headers).display());
    let reload = |interval: &str| format!("--token-reload-interval={interval}");
    for options in
        [&[token.clone()][..], &[token.clone(), reload("2H")], std::slice::from_ref(&helper)]
    {
        let (code, said) = asked(options);
        assert!(code == Some(2) && said.contains("executes nothing"), "{options:?}: {said}");
    }
    let (code, said) = asked(&[]);
    assert!(code == Some(3) && said.contains("who are you?"), "{said}");
    std::fs::write(&file, "bad\n").expect("a token");
    let (code, said) = asked(std::slice::from_ref(&token));
    assert!(code == Some(3) && said.contains("who are you?"), "{said}");
    // Nonsense, and both at once.
    for options in [&[token.clone(), reload("soon")][..], &[token, helper]] {
        let (code, said) = asked(options);
        assert!(code == Some(2) && said.contains("--help"), "{options:?}: {said}");
    }
}
