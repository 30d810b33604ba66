//! Tells the extension whether PHP is thread-safe: its C interface differs.

use std::error::Error;

use ext_php_rs_build::{PHPInfo, find_php};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=PHP");
    println!("cargo::rustc-check-cfg=cfg(php_zts)");
    if PHPInfo::get(&find_php()?)?.thread_safety()? {
        println!("cargo::rustc-cfg=php_zts");
    }
    Ok(())
}
