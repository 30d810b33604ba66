//! Reads the client's private key, which may be encrypted with a passphrase.
//!
//! Encrypted keys must have the PKCS#8 form (`BEGIN ENCRYPTED PRIVATE KEY`), which OpenSSL has
//! written since 1.0. Supported are AES keys derived with PBKDF2 or scrypt. The derivation runs for
//! every connection and no deadline can interrupt it, so this module limits its cost. The older
//! form, which OpenSSL calls traditional, is refused with an error that names the command to
//! convert it.

use std::path::Path;

use pkcs8::pkcs5::pbes2::Kdf;
use pkcs8::{EncryptedPrivateKeyInfoRef, SecretDocument};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::file::unusable;
use crate::error::ConfigError;
use crate::secret::Secret;

const BEGIN: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----";
const END: &str = "-----END ENCRYPTED PRIVATE KEY-----";
/// Text that both forms of an encrypted key contain.
const ENCRYPTED: &str = "ENCRYPTED";
/// Limit for the rounds of PBKDF2, which then take some tenths of a second. OpenSSL's default is
/// 2,048, OWASP recommends 600,000.
const MAX_ROUNDS: u32 = 1_000_000;
/// Limit for the product of the parameters of scrypt: eight times OpenSSL's default, which takes
/// 128 MiB.
const MAX_COST: u64 = 1 << 20;
const CONVERT: &str = "store it by `openssl pkcs8 -topk8 -v2 aes-256-cbc`";

/// Returns the first private key in a PEM file.
pub(super) fn private_key(
    file: &Path,
    passphrase: Option<&Secret>,
) -> Result<PrivateKeyDer<'static>, ConfigError> {
    let bytes = std::fs::read(file).map_err(|error| unusable(file, error))?;
    PrivateKeyDer::from_pem_slice(&bytes).or_else(|error| {
        let text = String::from_utf8_lossy(&bytes);
        let reason = match (encrypted(&text), passphrase) {
            (Some(section), Some(passphrase)) => match decrypt(section, passphrase) {
                Ok(key) => {
                    return Ok(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into());
                }
                Err(reason) => reason,
            },
            (Some(_), None) => {
                "the private key is encrypted, and no passphrase was given".to_owned()
            }
            (None, _) if text.contains(ENCRYPTED) => {
                format!("the private key is encrypted in a way that is not supported: {CONVERT}")
            }
            (None, _) => error.to_string(),
        };
        Err(unusable(file, reason))
    })
}

/// Returns the section that holds an encrypted key. Other sections, such as a certificate, may
/// precede it.
fn encrypted(text: &str) -> Option<&str> {
    let from = &text[text.find(BEGIN)?..];
    from.get(..from.find(END)? + END.len())
}

/// Decrypts a key. No error repeats the passphrase, because the passphrase is never parsed.
fn decrypt(section: &str, passphrase: &Secret) -> Result<SecretDocument, String> {
    let broken = |error: &dyn std::fmt::Display| format!("the private key is damaged: {error}");
    let (_, document) = SecretDocument::from_pem(section).map_err(|error| broken(&error))?;
    let key = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes())
        .map_err(|error| broken(&error))?;
    let scheme = key.encryption_algorithm.pbes2();
    let affordable = scheme.is_some_and(|scheme| match &scheme.kdf {
        Kdf::Pbkdf2(kdf) => kdf.iteration_count <= MAX_ROUNDS,
        Kdf::Scrypt(kdf) => {
            let blocks = u64::from(kdf.block_size) * u64::from(kdf.parallelization);
            blocks.saturating_mul(kdf.cost_parameter) <= MAX_COST
        }
        _ => false,
    });
    if !affordable {
        return Err(format!(
            "the private key is encrypted with an algorithm that is not supported, or too many rounds of one: {CONVERT}"
        ));
    }
    key.decrypt(passphrase.reveal()).map_err(|error| match error {
        pkcs8::Error::EncryptedPrivateKey(pkcs8::pkcs5::Error::UnsupportedAlgorithm { .. }) => {
            format!("the private key is encrypted with an algorithm that is not supported: {CONVERT}")
        }
        _ => "the private key does not open with this passphrase".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a test key. OpenSSL 3.0 wrote one key plain and in several encrypted forms.
    fn key(name: &str, passphrase: Option<&str>) -> Result<PrivateKeyDer<'static>, String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys");
        let passphrase = passphrase.map(Secret::new);
        private_key(&folder.join(name), passphrase.as_ref()).map_err(|error| error.to_string())
    }

    #[test]
    fn keys_open_with_their_passphrase() {
        let plain = key("plain.pem", None).unwrap();
        for name in ["plain.pem", "pbkdf2.pem", "scrypt.pem"] {
            assert_eq!(
                key(name, Some("open sesame")),
                Ok(plain.clone_key()),
                "{name}"
            );
        }
    }

    #[test]
    fn an_error_says_why_a_key_does_not_open() {
        for (name, passphrase, words) in [
            (
                "pbkdf2.pem",
                Some("close sesame"),
                "does not open with this passphrase",
            ),
            (
                "scrypt.pem",
                Some("close sesame"),
                "does not open with this passphrase",
            ),
            ("pbkdf2.pem", None, "no passphrase was given"),
            ("sha1.pem", Some("open sesame"), CONVERT),
            ("traditional.pem", Some("open sesame"), CONVERT),
            ("absent.pem", Some("open sesame"), "absent.pem"),
        ] {
            let error = key(name, passphrase).unwrap_err();
            assert!(error.contains(words), "{name}: {error}");
            assert!(!error.contains("sesame"), "{error}");
        }
    }

    #[test]
    fn rounds_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("costly.pem");
        let scheme = pkcs8::pkcs5::pbes2::Parameters::generate_pbkdf2_sha256_aes256cbc(
            MAX_ROUNDS + 1,
            b"salt",
            [0; 16],
        );
        let key = pkcs8::EncryptedPrivateKeyInfoOwned {
            encryption_algorithm: scheme.unwrap().into(),
            encrypted_data: pkcs8::der::asn1::OctetString::new([0; 16]).unwrap(),
        };
        let document = SecretDocument::try_from(&key).unwrap();
        let pem = document.to_pem("ENCRYPTED PRIVATE KEY", pkcs8::LineEnding::default());
        std::fs::write(&file, pem.unwrap()).unwrap();
        let error = private_key(&file, Some(&Secret::new("x"))).unwrap_err();
        assert!(error.to_string().contains("too many rounds"), "{error}");
    }

    #[test]
    fn a_damaged_key_does_no_harm() {
        for section in [
            format!("{BEGIN}\n{END}\n"),
            format!("{BEGIN}\nAAAA\n{END}\n"),
            format!("{BEGIN}\n###\n{END}\n"),
        ] {
            let reason = decrypt(&section, &Secret::new("x")).unwrap_err();
            assert!(reason.contains("damaged"), "{reason}");
        }
        assert_eq!(encrypted(&format!("{END}{BEGIN}")), None);
    }
}
