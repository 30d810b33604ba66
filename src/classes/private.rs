//! The private constructor of classes whose objects only the extension makes.

use crate::ffi::call::{Call, handler};
use crate::ffi::class::{Method, method};
use crate::ffi::throw::{Kind, Thrown};

/// Declares the constructor. PHP refuses `new`; reflection could call it.
pub(crate) fn constructor() -> Method {
    method("__construct", handler!(refuse), []).made_private()
}

fn refuse(_call: &mut Call<'_>) -> Result<(), Thrown> {
    Err(Thrown::new(
        Kind::Error,
        "Only the extension makes objects of this class.",
    ))
}
