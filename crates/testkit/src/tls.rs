//! Certificates made for one test: an authority and a server whose certificate it signed.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

use crate::Error;

/// The files of a private certificate authority and of the certificates that it signed.
#[derive(Debug, Clone)]
pub struct Certificates {
    folder: PathBuf,
}

/// The contents of a server's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ServerName {
    /// `localhost` and `127.0.0.1`, valid for years.
    #[default]
    Right,
    /// The name of another host.
    OtherHost,
    /// The right names, but expired.
    Expired,
    /// The right names, but self-signed.
    SelfSigned,
}

impl Certificates {
    /// Writes `ca.crt`, `ca.key`, `server.crt`, `server.key`, `client.crt` and `client.key` into
    /// `folder`.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Io`] when a file cannot be written, [`Error::Failed`] when no key can be
    /// made.
    pub fn generate(folder: &Path, name: ServerName) -> Result<Self, Error> {
        let certificates = Self {
            folder: folder.to_owned(),
        };
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = authority()?.self_signed(&key).map_err(failed)?;
        certificates.write("ca.crt", &certificate.pem())?;
        certificates.write("ca.key", &key.serialize_pem())?;
        certificates.reissue(name)?;
        let client = params(vec!["client".to_owned()])?;
        certificates.sign("client", &client, Some(&certificates.issuer()?))?;
        Ok(certificates)
    }

    /// Replaces the server's certificate and key by new ones, signed by the same authority.
    ///
    /// # Errors
    ///
    /// Fails like [`Certificates::generate`].
    pub fn reissue(&self, name: ServerName) -> Result<(), Error> {
        let names = match name {
            ServerName::OtherHost => vec!["other.example".to_owned()],
            ServerName::Right | ServerName::Expired | ServerName::SelfSigned => {
                vec!["localhost".to_owned(), "127.0.0.1".to_owned()]
            }
        };
        let mut server = params(names)?;
        if name == ServerName::Expired {
            server.not_before = date_time_ymd(2001, 1, 1);
            server.not_after = date_time_ymd(2002, 1, 1);
        }
        let issuer = match name {
            ServerName::SelfSigned => None,
            _ => Some(self.issuer()?),
        };
        self.sign("server", &server, issuer.as_ref())
    }

    /// Returns the authority's certificate.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// Returns the server's certificate and key.
    #[must_use]
    pub fn server(&self) -> (PathBuf, PathBuf) {
        (
            self.folder.join("server.crt"),
            self.folder.join("server.key"),
        )
    }

    /// Returns a client's certificate and key.
    #[must_use]
    pub fn client(&self) -> (PathBuf, PathBuf) {
        (
            self.folder.join("client.crt"),
            self.folder.join("client.key"),
        )
    }

    fn issuer(&self) -> Result<Issuer<'static, KeyPair>, Error> {
        let key = fs::read_to_string(self.folder.join("ca.key"));
        let key = key.map_err(Error::io("reading ca.key"))?;
        let key = KeyPair::from_pem(&key).map_err(failed)?;
        Ok(Issuer::new(authority()?, key))
    }

    fn sign(
        &self,
        name: &str,
        params: &CertificateParams,
        issuer: Option<&Issuer<'static, KeyPair>>,
    ) -> Result<(), Error> {
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = match issuer {
            Some(issuer) => params.signed_by(&key, issuer),
            None => params.self_signed(&key),
        };
        let certificate = certificate.map_err(failed)?;
        self.write(&format!("{name}.crt"), &certificate.pem())?;
        self.write(&format!("{name}.key"), &key.serialize_pem())
    }

    fn write(&self, name: &str, text: &str) -> Result<(), Error> {
        fs::write(self.folder.join(name), text).map_err(Error::io(format!("writing {name}")))
    }
}

fn authority() -> Result<CertificateParams, Error> {
    let mut authority = params(vec![])?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let name = &mut authority.distinguished_name;
    name.push(DnType::CommonName, "a private authority for tests");
    Ok(authority)
}

fn params(names: Vec<String>) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::new(names).map_err(failed)?;
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2100, 1, 1);
    Ok(params)
}

fn failed(error: rcgen::Error) -> Error {
    Error::Failed(format!("making a certificate: {error}"))
}
