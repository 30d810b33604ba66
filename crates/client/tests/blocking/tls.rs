//! TLS: certificates that the client accepts, and those that it refuses.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use celery_client::ClientError;
use celery_client::endpoint::{Endpoint, EndpointBuilder};
use celery_client::error::TlsProblem;
use celery_client::redis::RedisEndpoint;
use celery_client::redis::blocking::{Client, ClientOptions, PoolOptions, Post, Publish};
use celery_testkit::{Fault, Proxy, Redis, RedisOptions, free_port};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

use super::{at_leisure, cli, post, queued, within};

/// A certificate authority whose files lie in a temporary folder.
struct Authority {
    folder: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params
            .distinguished_name
            .push(DnType::CommonName, "An authority");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { folder, issuer }
    }

    fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Writes a certificate for a name. Returns the files of the certificate and of its key.
    fn issue(&self, name: &str) -> (PathBuf, PathBuf) {
        self.issue_with(name, |_| {})
    }

    fn issue_with(
        &self,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> (PathBuf, PathBuf) {
        self.certify(name, &KeyPair::generate().unwrap(), change)
    }

    fn certify(
        &self,
        name: &str,
        key: &KeyPair,
        change: impl FnOnce(&mut CertificateParams),
    ) -> (PathBuf, PathBuf) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        change(&mut params);
        let certificate = params.signed_by(key, &self.issuer).unwrap();
        write(self.folder.path(), name, &certificate.pem(), key)
    }
}

fn write(folder: &Path, name: &str, certificate: &str, key: &KeyPair) -> (PathBuf, PathBuf) {
    let files = (
        folder.join(format!("{name}.pem")),
        folder.join(format!("{name}.key")),
    );
    fs::write(&files.0, certificate).unwrap();
    fs::write(&files.1, key.serialize_pem()).unwrap();
    files
}

/// Writes a self-signed certificate. Returns the files of the certificate and of its key.
fn self_signed(folder: &Path, is_ca: IsCa) -> (PathBuf, PathBuf) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.is_ca = is_ca;
    write(
        folder,
        "self",
        &params.self_signed(&key).unwrap().pem(),
        &key,
    )
}

/// Starts a Redis that speaks TLS with this certificate. Returns it and its TLS port.
fn serve(certificate: &(PathBuf, PathBuf), clients: Option<&Path>) -> (Redis, u16) {
    let port = free_port().unwrap();
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let options = RedisOptions::new()
        .set("tls-port", &port.to_string())
        .set("tls-cert-file", &path(&certificate.0))
        .set("tls-key-file", &path(&certificate.1))
        .set("tls-ca-cert-file", &path(clients.unwrap_or(&certificate.0)))
        .set(
            "tls-auth-clients",
            if clients.is_some() { "yes" } else { "no" },
        );
    (options.start().unwrap(), port)
}

fn to(host: &str, port: u16) -> EndpointBuilder {
    Endpoint::builder().host(host).port(port).tls()
}

fn option(builder: EndpointBuilder, name: &str, value: impl AsRef<Path>) -> EndpointBuilder {
    builder
        .tls_option(name, value.as_ref().to_str().unwrap())
        .unwrap()
}

fn built(builder: EndpointBuilder) -> Arc<RedisEndpoint> {
    match builder.build().unwrap() {
        Endpoint::Redis(endpoint) => endpoint,
        Endpoint::Amqp(rabbitmq) => panic!("{rabbitmq} is not a Redis"),
    }
}

fn ping(builder: EndpointBuilder) -> Result<(), ClientError> {
    let mut client = Client::new(built(builder), ClientOptions::default());
    within(Duration::from_secs(5), |wait| client.ping(wait))
}

fn refused(builder: EndpointBuilder, word: &str) {
    let error = ping(builder).unwrap_err();
    assert!(
        matches!(&error, ClientError::Tls { problem, .. } if problem.to_string().contains(word)),
        "{error}"
    );
}

#[test]
fn a_server_of_the_right_authority_is_trusted() {
    let authority = Authority::new();
    let (redis, port) = serve(&authority.issue("localhost"), None);
    let url = format!(
        "rediss://localhost:{port}/0?ssl_cert_reqs=required&ssl_ca_certs={}",
        authority.ca().display()
    );
    let mut client = super::client_of(&url);
    at_leisure(|wait| client.publish(&post("a"), Publish::Confirmed, wait)).unwrap();
    // The post is larger than a TLS record and than the buffers below it.
    let large = Post {
        envelope: vec![b'x'; 8 << 20],
        queue: "large".into(),
        ..post("b")
    };
    at_leisure(|wait| client.publish(&large, Publish::Confirmed, wait)).unwrap();
    assert_eq!(at_leisure(|wait| client.get_result("none", wait)), Ok(None));
    assert_eq!(queued(&redis, "q"), ["a"]);
    // The folder of the authority also holds files without certificates.
    ping(option(
        to("localhost", port),
        "capath",
        authority.folder.path(),
    ))
    .unwrap();
}

#[test]
fn posts_over_tls_arrive_once_while_answers_are_looked_for() {
    let authority = Authority::new();
    let (redis, port) = serve(&authority.issue("localhost"), None);
    let endpoint = built(option(to("localhost", port), "cafile", authority.ca()));
    for spin in [true, false] {
        let mut options = ClientOptions::default();
        options.spin = spin;
        let mut client = Client::new(endpoint.clone(), options);
        for nth in 0..100 {
            let post = post(&format!("t{nth}"));
            at_leisure(|wait| client.publish(&post, Publish::Confirmed, wait)).unwrap();
        }
        let expected: Vec<String> = (0..100).map(|nth| format!("t{nth}")).collect();
        assert_eq!(queued(&redis, "q"), expected);
        cli(&redis, &["DEL", "q"]);
    }
}

#[test]
fn a_tls_connection_is_used_again() {
    let authority = Authority::new();
    let (redis, port) = serve(&authority.issue("localhost"), None);
    let endpoint = built(option(to("localhost", port), "cafile", authority.ca()));
    let mut pool = celery_client::redis::blocking::Pool::new(PoolOptions::default());
    let mut ids = std::collections::HashSet::new();
    for _ in 0..3 {
        let mut client = pool.take(&endpoint);
        at_leisure(|wait| client.ping(wait)).unwrap();
        pool.put(client);
        let list = cli(&redis, &["CLIENT", "LIST"]);
        ids.extend(
            list.lines()
                .filter(|line| line.contains("cmd=ping"))
                .map(|line| line.split(' ').next().unwrap().to_owned()),
        );
    }
    assert_eq!(ids.len(), 1);
}

#[test]
fn a_tls_connection_that_was_closed_while_idle_is_not_used() {
    let authority = Authority::new();
    let (redis, port) = serve(&authority.issue("localhost"), None);
    let endpoint = built(option(to("localhost", port), "cafile", authority.ca()));
    let mut asks = Client::new(endpoint.clone(), ClientOptions::default());
    let mut listens = Client::new(endpoint, ClientOptions::default());
    let result = r#"{"status": "SUCCESS", "result": 5}"#;
    cli(&redis, &["SET", "celery-task-meta-x", result]);
    for _ in 0..3 {
        let interval = Duration::from_secs(1);
        at_leisure(|wait| asks.wait_result(&mut listens, "x", interval, wait)).unwrap();
        cli(&redis, &["CLIENT", "KILL", "TYPE", "pubsub"]);
        cli(&redis, &["CLIENT", "KILL", "TYPE", "normal"]);
        for client in [&mut asks, &mut listens] {
            at_leisure(|wait| client.publish(&post("a"), Publish::Confirmed, wait)).unwrap();
        }
    }
}

#[test]
fn certificates_are_renewed_while_clients_run() {
    let (old, new) = (Authority::new(), Authority::new());
    let (redis, port) = serve(&old.issue("localhost"), None);
    // The configured file; its content changes during the test.
    let trusted = old.folder.path().join("trusted.pem");
    fs::copy(old.ca(), &trusted).unwrap();
    let endpoint = built(option(to("localhost", port), "cafile", &trusted));
    let mut client = Client::new(endpoint, ClientOptions::default());
    at_leisure(|wait| client.publish(&post("a"), Publish::Confirmed, wait)).unwrap();

    let (certificate, key) = new.issue("localhost");
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    cli(
        &redis,
        &[
            "CONFIG",
            "SET",
            "tls-cert-file",
            certificate,
            "tls-key-file",
            key,
        ],
    );
    // An open connection stays usable. A new one meets the new certificate, whose authority the
    // client does not trust yet.
    at_leisure(|wait| client.publish(&post("b"), Publish::Confirmed, wait)).unwrap();
    cli(&redis, &["CLIENT", "KILL", "TYPE", "normal"]);
    let error = within(Duration::from_secs(5), |wait| {
        client.publish(&post("c"), Publish::Confirmed, wait)
    })
    .unwrap_err();
    assert!(
        !error.outcome_unknown && error.to_string().contains("certificate"),
        "{error}"
    );
    fs::copy(new.ca(), &trusted).unwrap();
    at_leisure(|wait| client.publish(&post("d"), Publish::Confirmed, wait)).unwrap();
    assert_eq!(queued(&redis, "q"), ["a", "b", "d"]);
}

#[test]
fn an_unknown_authority_is_refused() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (_redis, port) = serve(&authority.issue("localhost"), None);
    refused(to("localhost", port), "UnknownIssuer");
    refused(
        option(to("localhost", port), "cafile", other.ca()),
        "not signed by a trusted authority",
    );
    // The option allows self-signed certificates only; this certificate is signed by an authority.
    refused(
        option(
            option(to("localhost", port), "cafile", other.ca()),
            "allow_self_signed",
            "1",
        ),
        "certificate",
    );
    ping(option(
        option(to("localhost", port), "verify_peer", "0"),
        "verify_peer_name",
        "0",
    ))
    .unwrap();
}

#[test]
fn a_certificate_for_another_host_is_refused() {
    let authority = Authority::new();
    let (_redis, port) = serve(&authority.issue("elsewhere.test"), None);
    let trusting = || option(to("localhost", port), "cafile", authority.ca());
    refused(trusting(), "not valid for name");
    // The name is checked even if the chain is not, as in PHP.
    refused(
        option(to("localhost", port), "verify_peer", "0"),
        "not valid for name",
    );
    ping(option(trusting(), "peer_name", "elsewhere.test")).unwrap();
    ping(option(trusting(), "verify_peer_name", "0")).unwrap();
    // An address counts as a name, too.
    refused(
        option(to("127.0.0.1", port), "cafile", authority.ca()),
        "not valid for name",
    );
}

#[test]
fn an_expired_certificate_is_refused() {
    let authority = Authority::new();
    let expired = authority.issue_with("localhost", |params| {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    let (_redis, port) = serve(&expired, None);
    refused(
        option(to("localhost", port), "cafile", authority.ca()),
        "xpired",
    );
}

#[test]
fn a_self_signed_certificate_needs_the_option() {
    for is_ca in [IsCa::NoCa, IsCa::Ca(BasicConstraints::Unconstrained)] {
        let folder = tempfile::tempdir().unwrap();
        let files = self_signed(folder.path(), is_ca);
        let (_redis, port) = serve(&files, None);
        refused(to("localhost", port), "certificate");
        ping(option(to("localhost", port), "allow_self_signed", "1")).unwrap();
        // If the file is also named as an authority, the certificate is trusted.
        ping(option(to("localhost", port), "cafile", &files.0)).unwrap();
    }
}

#[test]
fn a_client_shows_its_certificate() {
    let authority = Authority::new();
    let (_redis, port) = serve(&authority.issue("localhost"), Some(&authority.ca()));
    let (certificate, key) = authority.issue("client");
    let trusting = || option(to("localhost", port), "cafile", authority.ca());
    refused(trusting(), "ertificate");
    ping(option(
        option(trusting(), "local_cert", &certificate),
        "local_pk",
        &key,
    ))
    .unwrap();
    // One file may hold both certificate and key, as in PHP.
    let both = authority.folder.path().join("both.pem");
    fs::write(
        &both,
        [fs::read(&certificate).unwrap(), fs::read(&key).unwrap()].concat(),
    )
    .unwrap();
    ping(option(trusting(), "local_cert", &both)).unwrap();
}

#[test]
fn a_client_shows_its_certificate_with_an_encrypted_key() {
    let authority = Authority::new();
    let (_redis, port) = serve(&authority.issue("localhost"), Some(&authority.ca()));
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys");
    let key = fs::read_to_string(keys.join("plain.pem")).unwrap();
    let key = KeyPair::from_pem(&key).unwrap();
    let (certificate, _) = authority.certify("client", &key, |_| {});
    let with = |passphrase: &str| {
        let trusting = option(to("localhost", port), "cafile", authority.ca());
        let shown = option(trusting, "local_cert", &certificate);
        option(shown, "local_pk", keys.join("pbkdf2.pem")).tls_option("passphrase", passphrase)
    };
    ping(with("open sesame").unwrap()).unwrap();
    let error = ping(with("close sesame").unwrap()).unwrap_err();
    assert!(matches!(error, ClientError::Config(_)), "{error}");
    assert!(!format!("{error} {error:?}").contains("sesame"));
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    fs::write(&empty, "").unwrap();
    let authority = Authority::new();
    let (_redis, port) = serve(&authority.issue("localhost"), None);
    for (name, file, word) in [
        ("cafile", &empty, "no PEM certificate"),
        ("cafile", &folder.path().join("absent.pem"), "absent.pem"),
        ("capath", &folder.path().join("absent"), "absent"),
    ] {
        let error = ping(option(to("localhost", port), name, file)).unwrap_err();
        assert!(
            matches!(error, ClientError::Config(_)) && error.to_string().contains(word),
            "{error}"
        );
    }
}

#[test]
fn an_error_says_that_the_server_does_not_speak_tls() {
    let redis = super::redis();
    refused(to("localhost", redis.port()), "use redis://");
    let locked = celery_testkit::RedisOptions::new()
        .password("x")
        .start()
        .unwrap();
    refused(to("localhost", locked.port()), "use redis://");
}

#[test]
fn an_error_says_that_the_server_speaks_tls_only() {
    let authority = Authority::new();
    let client_wanted = authority.ca();
    for ca in [None, Some(client_wanted.as_path())] {
        let (_redis, port) = serve(&authority.issue("localhost"), ca);
        for url in [
            "redis://localhost",
            "redis://:secret@127.0.0.1",
            "redis://u:p@localhost",
        ] {
            let endpoint = RedisEndpoint::from_url(&format!("{url}:{port}/1")).unwrap();
            let mut client = Client::new(endpoint.into(), ClientOptions::default());
            let error = within(Duration::from_secs(5), |wait| client.ping(wait)).unwrap_err();
            // If the server's reset arrives before its alert, the client can only guess.
            assert!(error.to_string().contains("use rediss://"), "{error}");
        }
    }
}

#[test]
fn a_handshake_without_an_answer_ends_in_time() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = built(to("127.0.0.1", listener.local_addr().unwrap().port()));
    let mut client = Client::new(endpoint, ClientOptions::default());
    let error = within(Duration::from_millis(300), |wait| {
        client.publish(&post("a"), Publish::Confirmed, wait)
    })
    .unwrap_err();
    assert!(
        !error.outcome_unknown
            && matches!(
                &*error.cause,
                ClientError::Tls {
                    problem: TlsProblem::Silent,
                    ..
                }
            ),
        "{error}"
    );
}

#[test]
fn a_slow_handshake_ends_in_time() {
    let authority = Authority::new();
    let (_redis, port) = serve(&authority.issue("localhost"), None);
    let proxy = Proxy::to_port(port).unwrap();
    for fault in [
        Fault::Drip(Duration::from_millis(50)),
        Fault::Latency(Duration::from_secs(30)),
    ] {
        proxy.set(fault);
        let builder = option(to("localhost", proxy.port()), "cafile", authority.ca());
        let mut client = Client::new(built(builder), ClientOptions::default());
        let error = within(Duration::from_millis(300), |wait| {
            client.publish(&post("a"), Publish::Confirmed, wait)
        })
        .unwrap_err();
        assert!(!error.outcome_unknown, "{error}");
        assert!(
            matches!(
                &*error.cause,
                ClientError::Connect { .. } | ClientError::Tls { .. }
            ),
            "{fault:?}: {error}"
        );
    }
    // The server itself is fine.
    proxy.set(Fault::None);
    let builder = option(to("localhost", proxy.port()), "cafile", authority.ca());
    ping(builder).unwrap();
}
