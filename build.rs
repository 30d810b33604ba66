//! Detects two properties of PHP's C interface: whether PHP is thread-safe, and whether it defers
//! the fatal error of the memory limit (see `src/ffi/bailout.rs`).

use std::error::Error;
use std::path::Path;
use std::process::Command;

use ext_php_rs_build::{PHPInfo, find_php, path_from_env};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=PHP");
    println!("cargo::rerun-if-env-changed=PHP_CONFIG");
    println!("cargo::rustc-check-cfg=cfg(php_zts)");
    println!("cargo::rustc-check-cfg=cfg(php_delayed_oom)");
    if PHPInfo::get(&find_php()?)?.thread_safety()? {
        println!("cargo::rustc-cfg=php_zts");
    }
    if has_delayed_oom()? {
        println!("cargo::rustc-cfg=php_delayed_oom");
    }
    // PHP's own symbols are found when it loads the extension. Other linkers allow that by default.
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "macos") {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-undefined,dynamic_lookup");
    }
    Ok(())
}

/// Returns `true` if the executor's globals have the field `delayed_oom`. The version does not show
/// that, because distributions patch the field in.
fn has_delayed_oom() -> Result<bool, Box<dyn Error>> {
    let config = path_from_env("PHP_CONFIG").unwrap_or_else(|| "php-config".into());
    let includes = String::from_utf8(Command::new(config).arg("--includes").output()?.stdout)?;
    for folder in includes.split_whitespace() {
        let header = Path::new(folder.trim_start_matches("-I")).join("Zend/zend_globals.h");
        if header.exists() {
            println!("cargo::rerun-if-changed={}", header.display());
            return Ok(std::fs::read_to_string(&header)?.contains("delayed_oom"));
        }
    }
    Err("PHP's header Zend/zend_globals.h was not found: install PHP's development files".into())
}
