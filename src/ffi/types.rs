//! The types of parameters, return values and properties, as PHP code writes them.
//!
//! The module also has the error of what cannot be declared.

use std::ffi::{CString, NulError, c_void};
use std::ptr;

use ext_php_rs::ffi;
use ext_php_rs::flags::DataType;
use ext_php_rs::types::ZendStr;
use ext_php_rs::zend::ZendType;

unsafe extern "C" {
    fn malloc(size: usize) -> *mut c_void;
}

/// `_ZEND_TYPE_LIST_BIT`, which is the same in every PHP since 8.2.
const LIST: u32 = 1 << 22;
/// `_ZEND_TYPE_UNION_BIT`, which is the same in every PHP since 8.2.
const UNION: u32 = 1 << 18;
/// `IS_STATIC`, which is the same in every PHP since 8.0.
const IS_STATIC: u32 = 15;

/// The error of a class that could not be declared. The module then refuses to load.
#[derive(Debug)]
pub(crate) struct DeclareError(pub(crate) String);

impl From<NulError> for DeclareError {
    fn from(error: NulError) -> Self {
        DeclareError(error.to_string())
    }
}

/// A type: classes, other types, or a union of both.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Type {
    /// The names of the classes, with `|` between them; empty if there are none.
    classes: &'static str,
    /// The other types: `MAY_BE_*`.
    mask: u32,
}

impl Type {
    /// No type, as parameters of celery-php have it.
    pub(crate) const NONE: Type = Type::of(0);
    pub(crate) const MIXED: Type = Type::of(ffi::MAY_BE_ANY);
    pub(crate) const BOOL: Type = Type::of(ffi::MAY_BE_BOOL);
    pub(crate) const INT: Type = Type::of(1 << ffi::IS_LONG);
    pub(crate) const FLOAT: Type = Type::of(1 << ffi::IS_DOUBLE);
    pub(crate) const STRING: Type = Type::of(1 << ffi::IS_STRING);
    pub(crate) const ARRAY: Type = Type::of(1 << ffi::IS_ARRAY);
    pub(crate) const CALLABLE: Type = Type::of(1 << ffi::IS_CALLABLE);
    pub(crate) const ITERABLE: Type = Type::of(ffi::_ZEND_TYPE_ITERABLE_BIT);
    pub(crate) const VOID: Type = Type::of(1 << ffi::IS_VOID);
    pub(crate) const STATIC: Type = Type::of(1 << IS_STATIC);
    pub(crate) const SELF: Type = Type::class("self");

    const fn of(mask: u32) -> Type {
        Type { classes: "", mask }
    }

    /// Returns the type of a class, or of several: `A|B`.
    pub(crate) const fn class(classes: &'static str) -> Type {
        Type { classes, mask: 0 }
    }

    /// Returns a union with another type. Only one of the two may have classes.
    pub(crate) const fn or(self, other: Type) -> Type {
        Type {
            classes: if self.classes.is_empty() {
                other.classes
            } else {
                self.classes
            },
            mask: self.mask | other.mask,
        }
    }

    /// Returns the type that also allows null.
    pub(crate) const fn nullable(self) -> Type {
        Type {
            classes: self.classes,
            mask: self.mask | ffi::_ZEND_TYPE_NULLABLE_BIT,
        }
    }

    /// Returns the type for the table of a function. The engine reads the names of the classes when
    /// it registers the function.
    pub(super) fn of_argument(self, is_variadic: bool) -> Result<ZendType, DeclareError> {
        let mut made = if self.classes.is_empty() {
            ZendType::empty(false, is_variadic)
        } else {
            let classes = DataType::object(self.classes);
            ZendType::empty_from_type(classes, false, is_variadic, false)
                .ok_or_else(|| DeclareError(format!("the type {} has no name", self.classes)))?
        };
        made.type_mask |= self.mask;
        Ok(made)
    }

    /// Returns the type for a property. The engine frees it with the class.
    pub(super) fn of_property(self) -> Result<ZendType, DeclareError> {
        let named = |name: &str| ZendType {
            ptr: ZendStr::new_interned(name, true).into_raw().cast(),
            type_mask: ffi::_ZEND_TYPE_NAME_BIT,
        };
        let mut made = if self.classes.is_empty() {
            ZendType::empty(false, false)
        } else if self.classes.contains('|') {
            let names: Vec<ZendType> = self.classes.split('|').map(named).collect();
            ZendType {
                ptr: list(&names)?,
                type_mask: LIST | UNION,
            }
        } else {
            named(self.classes)
        };
        made.type_mask |= self.mask;
        Ok(made)
    }
}

/// Returns a `zend_type_list` in memory that the engine frees.
fn list(types: &[ZendType]) -> Result<*mut c_void, DeclareError> {
    // The struct has a 32-bit count, padding, and the types side by side.
    let start = align_of::<ZendType>().max(size_of::<u32>());
    let count = u32::try_from(types.len()).map_err(|error| DeclareError(error.to_string()))?;
    // SAFETY: the memory is large enough for the count and the types, which lie at the offset that
    // C's rules give them.
    unsafe {
        let list = malloc(start + size_of_val(types));
        if list.is_null() {
            return Err(DeclareError(
                "the memory for a type is exhausted".to_owned(),
            ));
        }
        list.cast::<u32>().write(count);
        let first = list.byte_add(start).cast::<ZendType>();
        ptr::copy_nonoverlapping(types.as_ptr(), first, types.len());
        Ok(list)
    }
}

/// Returns a C string that lives as long as the process.
pub(super) fn leaked(text: &str) -> Result<*const std::ffi::c_char, DeclareError> {
    Ok(CString::new(text)?.into_raw().cast_const())
}
