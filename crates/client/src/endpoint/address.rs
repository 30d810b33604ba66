//! The parts of an endpoint: its address and its TLS options. Also the encoding of a text for a
//! URL.

use std::path::PathBuf;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::secret::Secret;

/// The port of Redis if none is given.
pub const DEFAULT_PORT: u16 = 6379;

/// The address of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A name or an address, and a port.
    Tcp {
        /// A host name, an IPv4 address, or an IPv6 address without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// A unix socket.
    Unix(PathBuf),
}

/// The TLS options. The fields are those of PHP's `ssl` stream context, with names in the style of
/// Rust.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsOptions {
    /// PEM file of the authorities to trust (`cafile`, `ssl_ca_certs`). Without it and `ca_path`,
    /// the system's are trusted.
    pub ca_file: Option<PathBuf>,
    /// Directory of PEM files of authorities to trust (`capath`).
    pub ca_path: Option<PathBuf>,
    /// PEM file of the client's certificate chain (`local_cert`, `ssl_certfile`), possibly with its
    /// key.
    pub local_cert: Option<PathBuf>,
    /// PEM file of the client's private key (`local_pk`, `ssl_keyfile`).
    pub local_pk: Option<PathBuf>,
    /// Passphrase of the private key if it is encrypted (`passphrase`).
    pub passphrase: Option<Secret>,
    /// Whether the server's certificate is checked (`verify_peer`, `ssl_cert_reqs`). Default: yes.
    pub verify_peer: bool,
    /// Whether the certificate must be for the host (`verify_peer_name`). Default: yes.
    pub verify_peer_name: bool,
    /// The name expected in the certificate if it differs from the host (`peer_name`).
    pub peer_name: Option<String>,
    /// Whether a self-signed certificate is accepted (`allow_self_signed`). Default: no.
    pub allow_self_signed: bool,
}

impl Default for TlsOptions {
    fn default() -> Self {
        Self {
            ca_file: None,
            ca_path: None,
            local_cert: None,
            local_pk: None,
            passphrase: None,
            verify_peer: true,
            verify_peer_name: true,
            peer_name: None,
            allow_self_signed: false,
        }
    }
}

const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Encodes a text as part of a URL.
pub(super) fn encode(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}
