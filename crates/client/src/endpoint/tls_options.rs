//! The TLS options of an endpoint, and their names in PHP and in Celery's URLs.

use std::path::{Path, PathBuf};

use crate::error::ConfigError;
use crate::secret::Secret;

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

impl TlsOptions {
    /// Sets an option by its name in PHP's `ssl` stream context.
    pub(super) fn set_option(&mut self, name: &str, value: &str) -> Result<(), ConfigError> {
        match name {
            "cafile" => self.ca_file = path(value),
            "capath" => self.ca_path = path(value),
            "local_cert" => self.local_cert = path(value),
            "local_pk" => self.local_pk = path(value),
            "passphrase" => {
                self.passphrase = Some(value).filter(|v| !v.is_empty()).map(Secret::new);
            }
            "verify_peer" => self.verify_peer = truth(name, value)?,
            "verify_peer_name" => self.verify_peer_name = truth(name, value)?,
            "peer_name" => self.peer_name = Some(value.to_owned()).filter(|v| !v.is_empty()),
            "allow_self_signed" => self.allow_self_signed = truth(name, value)?,
            _ => {
                return Err(ConfigError::UnknownOption {
                    name: name.to_owned(),
                });
            }
        }
        Ok(())
    }

    /// Sets the authority to trust if the options name none.
    pub(crate) fn set_default_ca_file(&mut self, file: &Path) {
        if self.ca_file.is_none() && self.ca_path.is_none() {
            self.ca_file = Some(file.to_owned());
        }
    }

    /// Sets an option by the name of its parameter in Celery's URLs: `ssl_cert_reqs` and the like.
    /// Returns what was set, as for [`set_option`](Self::set_option).
    pub(crate) fn set_parameter(
        &mut self,
        name: &str,
        value: &str,
    ) -> Result<Vec<(&'static str, String)>, ConfigError> {
        let given = |option| vec![(option, value.to_owned())];
        let said = |option, truth| (option, if truth { "1" } else { "" }.to_owned());
        let options = match name {
            "ssl_cert_reqs" => {
                let word = value.to_ascii_lowercase();
                match word.strip_prefix("cert_").unwrap_or(&word) {
                    // A client of Python's ssl module treats `optional` as `required`.
                    "required" | "optional" => vec![said("verify_peer", true)],
                    "none" => vec![said("verify_peer", false), said("verify_peer_name", false)],
                    _ => {
                        return Err(ConfigError::Value {
                            name: "ssl_cert_reqs",
                            reason: "it must be required, optional or none",
                        });
                    }
                }
            }
            "ssl_ca_certs" => given("cafile"),
            "ssl_ca_path" => given("capath"),
            "ssl_certfile" => given("local_cert"),
            "ssl_keyfile" => given("local_pk"),
            "ssl_check_hostname" => vec![said("verify_peer_name", truth(name, value)?)],
            _ => {
                return Err(ConfigError::UnknownOption {
                    name: name.to_owned(),
                });
            }
        };
        for (option, value) in &options {
            self.set_option(option, value)?;
        }
        Ok(options)
    }
}

fn path(value: &str) -> Option<PathBuf> {
    Some(value)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

pub(crate) fn truth(name: &str, value: &str) -> Result<bool, ConfigError> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "" | "0" | "false" | "no" | "off" => Ok(false),
        _ => Err(ConfigError::NotATruthValue {
            name: name.to_owned(),
        }),
    }
}
