//! Refuses a URL with a password in a setting that does not expect one.
//!
//! Most settings are shown – in the banner, in the log, in the names of keys – and would show the
//! password with them.

use celery_client::mask::is_secret_url;

use super::declaration::Settings;
use super::value::ConfigError;

impl Settings {
    /// Returns an error that names the first setting whose value is a URL that belongs in another
    /// setting.
    ///
    /// SQL tasks are not checked: a statement may have any text.
    pub(super) fn refuse_misplaced_urls(&self) -> Result<(), ConfigError> {
        for (setting, text) in self.texts() {
            if !setting.is_url() && is_secret_url(&text) {
                let cause =
                    "the value is a URL, which belongs in broker, result_backend or database";
                return Err(ConfigError::new(setting, cause));
            }
        }
        Ok(())
    }
}
