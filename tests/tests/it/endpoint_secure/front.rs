//! TLS servers: one in front of any socket, and one that wants a token.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use forerunner_proto::reapi;
use forerunner_proto::reapi::capabilities_server::{Capabilities, CapabilitiesServer};
use forerunner_reapi::ClientIdentity;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::net::{TcpListener, UnixStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

/// Who vouches for servers and clients of a test.
pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    certificate: PathBuf,
}

impl Authority {
    pub(super) fn new(folder: &Path) -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).expect("parameters");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(parameters, key).expect("an authority");
        let certificate = folder.join("authority.pem");
        std::fs::write(&certificate, issuer.pem()).expect("a certificate");
        Self { issuer, certificate }
    }

    /// The file with its certificate.
    pub(super) fn certificate(&self) -> PathBuf {
        self.certificate.clone()
    }

    /// Certificate and key of somebody, as PEM.
    fn vouch(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let parameters = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
        let certificate = parameters.signed_by(&key, &self.issuer).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }

    /// The files of a client.
    pub(super) fn client(&self, folder: &Path) -> ClientIdentity {
        let (certificate, key) = self.vouch("client");
        let identity = ClientIdentity {
            key: folder.join("client.key"),
            certificates: folder.join("client.pem"),
        };
        std::fs::write(&identity.key, key).expect("a key");
        std::fs::write(&identity.certificates, certificate).expect("a certificate");
        identity
    }
}

/// A listener on a thread of its own; it ends with the test's process.
fn listen<F>(serve: impl FnOnce(TcpListener) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()>,
{
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a listener");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        super::runtime().block_on(async {
            serve(TcpListener::from_std(listener).expect("a listener")).await;
        });
    });
    address
}

/// Takes TLS off and passes everything on to a socket.
pub(super) struct Front {
    address: SocketAddr,
}

impl Front {
    pub(super) fn start(authority: &Authority, socket: PathBuf, clients_too: bool) -> Self {
        let (certificate, key) = authority.vouch("localhost");
        let provider = tokio_rustls::rustls::crypto::ring::default_provider();
        let builder = ServerConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .expect("versions");
        let builder = if clients_too {
            let mut roots = RootCertStore::empty();
            roots.add(authority.issuer.der().clone()).expect("an authority");
            let provider = tokio_rustls::rustls::crypto::ring::default_provider();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(roots.into(), provider.into());
            builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
        } else {
            builder.with_no_client_auth()
        };
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).expect("PEM")];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
        let mut config = builder.with_single_cert(chain, key).expect("a certificate");
        config.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = TlsAcceptor::from(std::sync::Arc::new(config));
        let address = listen(async move |listener| {
            // Both ends of a connection live on the listener's thread.
            let set = tokio::task::LocalSet::new();
            set.run_until(async {
                while let Ok((stream, _)) = listener.accept().await {
                    let (acceptor, socket) = (acceptor.clone(), socket.clone());
                    tokio::task::spawn_local(async move {
                        let Ok(mut outside) = acceptor.accept(stream).await else { return };
                        let Ok(mut inside) = UnixStream::connect(socket).await else { return };
                        let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
                    });
                }
            })
            .await;
        });
        Self { address }
    }

    pub(super) fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }
}

struct Empty;

#[tonic::async_trait]
impl Capabilities for Empty {
    async fn get_capabilities(
        &self,
        _request: Request<reapi::GetCapabilitiesRequest>,
    ) -> Result<Response<reapi::ServerCapabilities>, Status> {
        Ok(Response::new(reapi::ServerCapabilities::default()))
    }
}

/// A server that tells its capabilities to those who send this `authorization`.
pub(super) fn capabilities_for_holders_of(wanted: &'static str, authority: &Authority) -> String {
    let (certificate, key) = authority.vouch("localhost");
    let tls = ServerTlsConfig::new().identity(Identity::from_pem(certificate, key));
    let check = move |request: Request<()>| match request.metadata().get("authorization") {
        Some(value) if value == wanted => Ok(request),
        _ => Err(Status::unauthenticated("who are you?")),
    };
    let address = listen(async move |listener| {
        Server::builder()
            .tls_config(tls)
            .expect("a certificate")
            .add_service(CapabilitiesServer::with_interceptor(Empty, check))
            .serve_with_incoming(tokio_stream::wrappers::TcpListenerStream::new(listener))
            .await
            .expect("a server");
    });
    format!("https://localhost:{}", address.port())
}
