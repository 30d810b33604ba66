//! The configuration of rustls for an endpoint.
//!
//! The provider is ring. It is passed explicitly and never installed as the default of the process,
//! because inside PHP the process belongs to the application. The options have the meaning that
//! they have in PHP's `ssl` stream context; by default, certificate chain and host name are
//! checked.
//!
//! Files are read for every connection, so that a renewed certificate is used at once. Each process
//! reads the system's authorities once.

mod file;
mod key;

use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use self::file::unusable;
use crate::endpoint::TlsOptions;
use crate::error::{ConfigError, TlsProblem};

/// Returns the configuration of rustls for these options.
///
/// # Errors
/// [`ConfigError::File`] names the file that cannot be used, and why.
pub fn client_config(options: &TlsOptions) -> Result<ClientConfig, ConfigError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let (roots, pinned) = if options.verify_peer {
        authorities(options)?
    } else {
        (Arc::new(RootCertStore::empty()), Vec::new())
    };
    let verifier = Verifier {
        provider: provider.clone(),
        roots,
        pinned,
        options: options.clone(),
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ConfigError::File {
            path: "TLS".to_owned(),
            reason: error.to_string(),
        })?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    match &options.local_cert {
        None => Ok(builder.with_no_client_auth()),
        Some(file) => {
            let chain = certificates(file)?;
            let key_file = options.local_pk.as_ref().unwrap_or(file);
            let key = key::private_key(key_file, options.passphrase.as_ref())?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| unusable(key_file, error))
        }
    }
}

/// Returns the name to ask for in the handshake, for which the server's certificate must be valid.
///
/// # Errors
/// [`ConfigError::Value`] if a certificate cannot contain the name.
pub fn server_name(options: &TlsOptions, host: &str) -> Result<ServerName<'static>, ConfigError> {
    let name = options.peer_name.as_deref().unwrap_or(host);
    ServerName::try_from(name.to_owned()).map_err(|_| ConfigError::Value {
        name: "host",
        reason: "it cannot be the name in a certificate",
    })
}

/// Explains to a person why a handshake failed, and what to change.
pub fn explain(error: &rustls::Error) -> TlsProblem {
    use rustls::{AlertDescription, CertificateError, Error};

    let text = error.to_string();
    match error {
        Error::InvalidCertificate(problem) => match problem {
            // The signature is bad if the authority was made anew under its old name.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                TlsProblem::UnknownAuthority(text)
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                TlsProblem::OtherHost(text)
            }
            _ if is_own_authority(error) => TlsProblem::UnknownAuthority(text),
            _ => TlsProblem::Certificate(text),
        },
        // The bytes are not a TLS record but text, Redis' answer to a command that it does not
        // understand.
        Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType) => TlsProblem::NotSpoken,
        Error::AlertReceived(
            AlertDescription::CertificateRequired | AlertDescription::HandshakeFailure,
        ) => TlsProblem::ClientCertificate,
        _ => TlsProblem::Other(text),
    }
}

/// Returns `true` if these are the first bytes of a TLS alert, which a server that expects TLS
/// sends when it receives plain text. No answer of Redis begins with these bytes.
pub fn is_alert(bytes: &[u8]) -> bool {
    /// The content type of alerts, and the major version of every record.
    const ALERT: [u8; 2] = [21, 3];
    bytes.starts_with(&ALERT)
}

type Authorities = (Arc<RootCertStore>, Vec<CertificateDer<'static>>);

/// Returns the authorities to trust, and the certificates from the named files, one of which may be
/// the server's own.
fn authorities(options: &TlsOptions) -> Result<Authorities, ConfigError> {
    let mut named = Vec::new();
    if let Some(file) = &options.ca_file {
        named.extend(certificates(file)?);
    }
    if let Some(folder) = &options.ca_path {
        named.extend(certificates_in(folder)?);
    }
    if options.ca_file.is_none() && options.ca_path.is_none() {
        return Ok((system_authorities(), named));
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(named.iter().cloned());
    Ok((Arc::new(roots), named))
}

/// Returns the system's authorities, read once: that takes milliseconds, and they rarely change
/// while a process runs.
fn system_authorities() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    ROOTS
        .get_or_init(|| {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            Arc::new(roots)
        })
        .clone()
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let all = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match all {
        Ok(all) if all.is_empty() => Err(unusable(file, "it contains no PEM certificate")),
        Ok(all) => Ok(all),
        Err(error) => Err(unusable(file, error)),
    }
}

fn certificates_in(folder: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| unusable(folder, error))? {
        let file = entry.map_err(|error| unusable(folder, error))?.path();
        // Such folders hold other files, too. Files without a certificate are skipped, as OpenSSL
        // does.
        if file.is_file()
            && let Ok(some) = certificates(&file)
        {
            all.extend(some);
        }
    }
    if all.is_empty() {
        return Err(unusable(folder, "it contains no PEM certificate"));
    }
    Ok(all)
}

/// Checks a server's certificate as far as the options require.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    pinned: Vec<CertificateDer<'static>>,
    options: TlsOptions,
}

impl Verifier {
    fn verify_chain(
        &self,
        leaf: &CertificateDer<'_>,
        parsed: &ParsedCertificate<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let algorithms = self.provider.signature_verification_algorithms.all;
        let outcome = verify_server_cert_signed_by_trust_anchor(
            parsed,
            &self.roots,
            intermediates,
            now,
            algorithms,
        );
        let error = match outcome {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        // A certificate that the CA file itself contains is trusted, as by OpenSSL. `openssl req
        // -x509` makes server certificates that are their own authority; webpki refuses them for
        // that reason alone.
        if is_own_authority(&error) && self.pinned.iter().any(|pinned| pinned == leaf) {
            return Ok(());
        }
        if self.options.allow_self_signed && intermediates.is_empty() {
            return self.verify_self_signed(leaf, parsed, now);
        }
        Err(error)
    }

    /// Accepts a certificate as its own authority; its signature and dates are still checked.
    fn verify_self_signed(
        &self,
        leaf: &CertificateDer<'_>,
        parsed: &ParsedCertificate<'_>,
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let mut itself = RootCertStore::empty();
        itself.add(leaf.clone().into_owned())?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        match verify_server_cert_signed_by_trust_anchor(parsed, &itself, &[], now, algorithms) {
            Err(error) if !(is_own_authority(&error) && is_self_issued(leaf)) => Err(error),
            _ => Ok(()),
        }
    }
}

fn is_own_authority(error: &rustls::Error) -> bool {
    let rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other)) = error else {
        return false;
    };
    matches!(
        other.0.downcast_ref(),
        Some(webpki::Error::CaUsedAsEndEntity)
    )
}

fn is_self_issued(certificate: &CertificateDer<'_>) -> bool {
    webpki::EndEntityCert::try_from(certificate)
        .is_ok_and(|parsed| parsed.issuer() == parsed.subject())
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.options.verify_peer || self.options.verify_peer_name {
            let parsed = ParsedCertificate::try_from(leaf)?;
            if self.options.verify_peer {
                self.verify_chain(leaf, &parsed, intermediates, now)?;
            }
            if self.options.verify_peer_name {
                verify_server_name(&parsed, name)?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
